//! One case of the codec bench, run a given number of times, for `scripts/bench-instructions` to count.
//!
//! `instructions mixed|list json_to_wire|wire_to_json transom|dynamic TIMES`, or
//! `instructions rules Plain|Standard|Expressions read|check TIMES`; without arguments it prints the sizes of the
//! cases.

#[path = "../benches/workload/rules.rs"]
mod rules;
#[path = "../benches/workload/mod.rs"]
mod workload;

use std::hint::black_box;
use std::io::{self, Write};

use rules::Request;
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
    let times: usize = times.parse().map_err(io::Error::other)?;
    if case == "rules" {
        let request = Request::of(direction);
        let run = if codec == "read" { Request::read } else { Request::check };
        repeat(times, |out| run(black_box(&request), out));
        return Ok(());
    }
    let case = if case == "list" { Case::list() } else { Case::mixed() };
    let run = match (direction, codec) {
        ("json_to_wire", "transom") => Case::read,
        ("json_to_wire", _) => Case::read_dynamic,
        (_, "transom") => Case::write,
        _ => Case::write_dynamic,
    };
    repeat(times, |out| run(black_box(&case), out));
    Ok(())
}

fn repeat(times: usize, run: impl Fn(&mut Vec<u8>)) {
    let mut out = Vec::new();
    for _ in 0..times {
        out.clear();
        run(&mut out);
        black_box(&out);
    }
}
