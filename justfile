# The tasks of this repository; `just` lists them.

_list:
    @just --list --unsorted

# What a commit must pass
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# All tests, or those that match
test *filter:
    cargo test {{ filter }}

# Criterion: access, codec, router, binding
bench *filter:
    cargo bench {{ filter }}

# Instructions per message against DynamicMessage + serde_json (needs valgrind)
bench-instructions:
    scripts/bench-instructions

# Instructions of a cache's hit beside a miss, of a GraphQL query beside a GET (needs valgrind)
bench-ratios *arguments:
    scripts/bench-ratios {{ arguments }}

# CPU, latency and memory beside Envoy in front of the same backend
bench-gateway *arguments:
    scripts/bench-gateway {{ arguments }}

# Google's protobuf conformance suite
conformance *arguments:
    scripts/conformance {{ arguments }}

# The curl lines that the demo prints
try-demo:
    cargo build --release
    scripts/try-demo

# All of googleapis: routes, time to start, memory
scale:
    cargo build --release
    scripts/scale

# Random input, guided by coverage (needs cargo-bolero; `-e afl` on a stable compiler)
fuzz target="codec_fuzz::json_in" *arguments:
    cargo bolero test {{ target }} {{ arguments }}

# Licences, sources, advisories
deny:
    cargo deny check
