//! The codec against `DynamicMessage` with serde_json, on the same bytes: `cargo bench --bench codec`.
//!
//! Wall time is noisy on a shared machine; `scripts/bench-instructions` counts instructions instead.

mod workload;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use workload::Case;

fn codec(criterion: &mut Criterion) {
    for (name, case) in [("mixed", Case::mixed()), ("list", Case::list())] {
        let runs = [
            ("json_to_wire", "transom", Case::read as fn(&Case, &mut Vec<u8>)),
            ("json_to_wire", "dynamic", Case::read_dynamic),
            ("wire_to_json", "transom", Case::write),
            ("wire_to_json", "dynamic", Case::write_dynamic),
        ];
        for (direction, codec, run) in runs {
            let mut group = criterion.benchmark_group(format!("{name}/{direction}"));
            group.throughput(Throughput::Bytes(case.json.len() as u64));
            let mut out = Vec::new();
            group.bench_function(codec, |bencher| {
                bencher.iter(|| {
                    out.clear();
                    run(black_box(&case), &mut out);
                });
            });
            group.finish();
        }
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
