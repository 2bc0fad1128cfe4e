//! Reloads that a changed file begins, and those that a clock does.

use transom::demo::Backend as Library;

use super::{HIDDEN, Reloading, SHOWN, write};
use crate::support::backend::Backend;
use crate::support::{Directory, Gateway, eventually, http as client, soon};

const WATCHED: &str = "reload: { watch: true }\n";

async fn generation(reloading: &Reloading) -> u64 {
    reloading.sample("transom_config_generation").await
}

#[tokio::test]
async fn changed_file_is_loaded_and_a_broken_one_is_not() {
    let backend = Backend::echo().await;
    let reloading = Reloading::start(&backend, &format!("{WATCHED}{HIDDEN}")).await;
    assert_eq!(reloading.get("/v1/items/7").await, 404);
    reloading.write(&format!("{WATCHED}{SHOWN}"));
    eventually("the file is loaded", async || generation(&reloading).await == 2).await;
    assert_eq!(reloading.get("/v1/items/7").await, 200);
    reloading.write(&format!("{WATCHED}surfaces: ["));
    let rejected = "transom_config_reload_total{result=\"rejected\"}";
    eventually("the file is refused", async || reloading.sample(rejected).await == 1).await;
    assert_eq!(reloading.get("/v1/items/7").await, 200);
    reloading.write(&format!("{WATCHED}{HIDDEN}"));
    eventually("the file is mended", async || generation(&reloading).await == 3).await;
    // A broken file is told once, however long it lies there.
    assert_eq!(reloading.sample(rejected).await, 1);
    reloading.write(&format!("reload: {{ watch: false }}\n{HIDDEN}"));
    eventually("nobody watches from now on", async || generation(&reloading).await == 4).await;
    reloading.write(SHOWN);
    reloading.gateway.hang_up();
    eventually("who asks is heard", async || generation(&reloading).await == 5).await;
}

/// As Kubernetes mounts a ConfigMap: `transom.yaml` → `..data/transom.yaml`, `..data` → a directory that is replaced.
#[tokio::test]
async fn swapped_link_of_a_config_map_is_a_change() {
    let backend = Backend::echo().await;
    let directory = Directory::new("config-map");
    let root = directory.path();
    let mount = |name: &str, sections: &str| {
        std::fs::create_dir(root.join(name)).expect("a directory of its own");
        let text = super::text(&backend.url(), &format!("{WATCHED}{sections}"));
        std::fs::write(root.join(name).join("transom.yaml"), text).expect("writable");
        std::os::unix::fs::symlink(name, root.join("..next")).expect("ours");
        std::fs::rename(root.join("..next"), root.join("..data")).expect("ours");
    };
    mount("..one", HIDDEN);
    std::os::unix::fs::symlink("..data/transom.yaml", root.join("transom.yaml")).expect("ours");
    let file = root.join("transom.yaml");
    let gateway = Gateway::start(&["--config", file.to_str().expect("UTF-8")]).await;
    let get = async || {
        soon(client::send(gateway.address, client::request("GET", "/v1/items/7"), "")).await.status.as_u16()
    };
    assert_eq!(get().await, 404);
    mount("..two", SHOWN);
    std::fs::remove_dir_all(root.join("..one")).expect("ours");
    eventually("the new map is loaded", async || get().await == 200).await;
}

#[tokio::test]
async fn changed_descriptors_are_loaded() {
    let backend = Backend::echo().await;
    let directory = Directory::new("sets");
    let proto = |path: &str| {
        format!(
            "syntax = \"proto3\"; package a; import \"google/api/annotations.proto\"; import \"m.proto\";\n\
             service S {{ rpc Get(M) returns (M) {{ option (google.api.http) = {{ get: \"{path}\" }}; }} }}\n"
        )
    };
    let message =
        |field: &str| format!("syntax = \"proto3\"; package a; message M {{ string {field} = 1; }}\n");
    write(&directory, "m.proto", &message("x"));
    write(&directory, "a.proto", &proto("/v1/a"));
    let file = directory.path().join("a.proto");
    let sections = format!("{WATCHED}descriptors: [{{ proto: {file:?} }}]\n");
    let reloading = Reloading::start(&backend, &sections).await;
    assert_eq!((reloading.get("/v1/a").await, reloading.get("/v1/a?x=1").await), (200, 200));
    write(&directory, "a.proto", &proto("/v1/b"));
    eventually("the file is loaded", async || reloading.get("/v1/b").await == 200).await;
    // What it imports is watched, too.
    write(&directory, "m.proto", &message("y"));
    eventually("the import is loaded", async || reloading.get("/v1/b?y=1").await == 200).await;
    assert_eq!(reloading.get("/v1/b?x=1").await, 400);
}

#[tokio::test]
async fn changed_secret_is_loaded() {
    let backend = Backend::echo().await;
    let directory = Directory::new("secrets");
    write(&directory, "token", "first");
    let file = directory.path().join("token");
    let token = format!("listeners: {{ admin: {{ token: \"file:{}\" }} }}\n", file.display());
    let reloading = Reloading::start(&backend, &format!("{WATCHED}{token}")).await;
    let page = async |token: &str| {
        let request = client::request("GET", "/config").header("authorization", format!("Bearer {token}"));
        soon(client::send(reloading.gateway.admin, request, "")).await.status.as_u16()
    };
    assert_eq!((page("first").await, page("second").await), (200, 401));
    write(&directory, "token", "second");
    eventually("the other token holds", async || page("second").await == 200).await;
    assert_eq!(page("first").await, 401);
}

#[tokio::test]
async fn backend_that_cannot_describe_itself_again_is_taken_at_its_word() {
    let library = Library::start(transom::demo::Library::default()).expect("a free port");
    let backend = Backend::echo().await;
    let url = library.url();
    let sections = format!("descriptors: [{{ reflect: {url:?}, refresh: 1s }}]\n");
    let reloading = Reloading::start(&backend, &sections).await;
    let unchanged = "transom_config_reload_total{result=\"unchanged\"}";
    eventually("it is asked again", async || reloading.sample(unchanged).await >= 1).await;
    assert_eq!(reloading.sample("transom_descriptor_fetch_failures_total").await, 0);
    drop(library);
    let failures = "transom_descriptor_fetch_failures_total";
    eventually("it is asked in vain", async || reloading.sample(failures).await >= 1).await;
    let answer = reloading.post().await;
    assert_eq!((answer.status.as_u16(), &answer.json()["result"]), (200, &"unchanged".into()));
    let message = answer.json()["warnings"][0]["message"].to_string();
    assert!(message.contains("what it said before goes on"), "{message}");
    assert_eq!(generation(&reloading).await, 1);
}
