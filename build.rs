//! Compiles `proto/`, for the demo backend and for asking external authorization services: protox reads the
//! files, so that no `protoc` is needed.
//!
//! Nothing outside `OUT_DIR` is written. `descriptors/`, which the gateway reads, is checked in, and a test holds it
//! equal to what `proto/` compiles to.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    compile(
        "demo.rs",
        &[
            "library/v1/library.proto",
            "writers/v1/writers.proto",
            "reviews/v1/reviews.proto",
            "google/rpc/error_details.proto",
            "google/rpc/status.proto",
        ],
    )?;
    compile("ext_authz.rs", &["envoy/service/auth/v3/external_auth.proto"])?;
    Ok(())
}

/// Compiles files and what they import into one file of modules.
fn compile(include: &str, files: &[&str]) -> Result<(), Box<dyn Error>> {
    // Each has a directory of its own: what both import is generated for both.
    let directory = PathBuf::from(std::env::var("OUT_DIR")?).join(include.trim_end_matches(".rs"));
    std::fs::create_dir_all(&directory)?;
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(false);
    compiler.open_files(files)?;
    tonic_prost_build::configure()
        .out_dir(directory)
        .include_file(include)
        .btree_map(".")
        .bytes(".")
        .emit_rerun_if_changed(false)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
