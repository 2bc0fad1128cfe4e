//! Compiles `proto/` for the demo backend: protox reads the files, so that no `protoc` is needed.
//!
//! Nothing outside `OUT_DIR` is written. `descriptors/library.binpb`, which the gateway reads, is checked in,
//! and a test holds it equal to what `proto/` compiles to.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(false);
    compiler.open_files([
        "library/v1/library.proto",
        "google/rpc/error_details.proto",
        "google/rpc/status.proto",
    ])?;
    tonic_prost_build::configure()
        .include_file("demo.rs")
        .btree_map(".")
        .bytes(".")
        .emit_rerun_if_changed(false)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
