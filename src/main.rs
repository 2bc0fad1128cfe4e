//! The binary: an allocator, and what the command line asks for.

use std::process::ExitCode;

/// The codec allocates nothing and the protocols little; what is left is faster here than in libc.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    transom::cli::run()
}
