//! One case of the codec bench, run a given number of times, for `scripts/bench-instructions` to count.
//!
//! `instructions mixed|list json_to_wire|wire_to_json transom|dynamic TIMES`; without arguments it prints the
//! sizes of the cases.

#[path = "../benches/workload/mod.rs"]
mod workload;

use std::hint::black_box;
use std::io::{self, Write};

use workload::Case;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [case, direction, codec, times] = arguments[..] else {
        for (name, case) in [("mixed", Case::mixed()), ("list", Case::list())] {
            let (json, wire) = (case.json.len(), case.wire.len());
            writeln!(io::stdout(), "{name}: {json} bytes of JSON, {wire} on the wire")?;
        }
        return Ok(());
    };
    let case = if case == "list" { Case::list() } else { Case::mixed() };
    let run = match (direction, codec) {
        ("json_to_wire", "transom") => Case::read,
        ("json_to_wire", _) => Case::read_dynamic,
        (_, "transom") => Case::write,
        _ => Case::write_dynamic,
    };
    let mut out = Vec::new();
    for _ in 0..times.parse().map_err(io::Error::other)? {
        out.clear();
        run(black_box(&case), &mut out);
        black_box(&out);
    }
    Ok(())
}
