//! TypeScript that `openapi-typescript` (npm) generates from the document that the gateway serves: `client.ts`
//! compiles with it under `tsc --strict`, and calls all services of the demo with `openapi-fetch`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::demo::Demo;
use crate::support::{Directory, missing, require};

/// Where `.ci/run` installs packages, if it has these.
pub(super) fn packages(names: &[&str]) -> Option<PathBuf> {
    if !require("node", Command::new("node").arg("--version")) {
        return None;
    }
    let folder = std::env::var_os("TRANSOM_NPM")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/npm"), PathBuf::from)
        .join("node_modules");
    if let Some(name) = names.iter().find(|name| !folder.join(name).exists()) {
        missing(format_args!("`{name}` is not installed in `{}`", folder.display()));
        return None;
    }
    Some(folder)
}

/// Runs a program of a package in a directory; it must succeed.
async fn node(directory: &Path, script: &str, arguments: &[&str]) -> String {
    let mut node = Command::new("node");
    node.arg(script).args(arguments).current_dir(directory);
    let output = tokio::task::spawn_blocking(move || node.output()).await.expect("the thread lives");
    let output = output.expect("node runs");
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{script} {arguments:?}: {out}{err}");
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_types_compile_and_tell_the_truth() {
    let Some(packages) = packages(&["openapi-typescript", "openapi-fetch", "typescript"]) else { return };
    let demo = Demo::start().await;
    let url = demo.gateway();
    let directory = Directory::new("typescript");
    let folder = directory.path();
    std::os::unix::fs::symlink(&packages, folder.join("node_modules")).expect("the directory is writable");
    for (name, text) in [("client.ts", include_str!("client.ts")), ("package.json", r#"{"type": "module"}"#)]
    {
        std::fs::write(folder.join(name), text).expect("the directory is writable");
    }
    let document = format!("{url}/openapi.json");
    node(folder, "node_modules/openapi-typescript/bin/cli.js", &[&document, "-o", "demo.d.ts"]).await;
    let strict = ["--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes"];
    let target = ["--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom", "client.ts"];
    node(folder, "node_modules/typescript/bin/tsc", &[&strict[..], &target].concat()).await;
    let told = node(folder, "client.js", &[url]).await;
    assert_eq!(told, "the demo answers as its types say\n");
}
