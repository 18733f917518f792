//! The plugins folder: what is put there goes live as a whole or not at all, and the list says why not.

use std::io::Write;

use serde_json::{Value, json};

use crate::harness::{Client, Router, Setup, version, wasm};

/// What the live version writes into a message's header.
async fn stamp(writer: &mut Client, reader: &mut Client) -> Value {
    assert_eq!(writer.publish("t", json!(1)).await["outcome"], "accepted");
    reader.message().await["headers"]["stamp"].clone()
}

async fn stamped() -> (Router, Client, Client) {
    let router = Setup::open().guest_as("stamp-a", "stamp").start().await;
    let (writer, mut reader) = (router.client("writer").await, router.client("reader").await);
    reader.subscribe("t").await;
    (router, writer, reader)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_copied_slowly_is_never_half_loaded() {
    let (router, mut writer, mut reader) = stamped().await;
    assert_eq!(stamp(&mut writer, &mut reader).await, "a");
    let bytes = wasm("stamp-b");
    let mut file = std::fs::File::create(router.folders.plugins().join("stamp.wasm")).unwrap();
    let old = version("stamp-a");
    for piece in bytes.chunks(bytes.len() / 20) {
        file.write_all(piece).unwrap();
        // Each look takes a while, more than a closed file needs to settle all in all.
        for _ in 0..5 {
            assert_eq!(stamp(&mut writer, &mut reader).await, "a");
            let listed = router.plugin("stamp").await;
            assert_eq!((&listed["state"], &listed["version"]), (&json!("active"), &json!(old)), "{listed}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    drop(file);
    router.until_live("stamp", "stamp-b").await;
    assert_eq!(stamp(&mut writer, &mut reader).await, "b");
    assert!(router.metric("weir_plugin_load_failures_total").await < 0.5, "no part of it was ever tried");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_load_leaves_the_old_version_and_is_listed_with_the_reason() {
    let (router, mut writer, mut reader) = stamped().await;
    let old = version("stamp-a");
    let mut cut = wasm("stamp-b");
    cut.truncate(cut.len() / 2);
    for (bytes, reason) in [
        (b"no component at all".to_vec(), "not a WebAssembly component"),
        (b"\0asm\x01\0\0\0".to_vec(), "core module"),
        (cut, "cut off"),
        (wasm("two-kinds"), "exactly one is accepted"),
        (wasm("wrong-import"), "wasi:sockets"),
    ] {
        router.folders.replace("stamp.wasm", &bytes);
        let wanted = |plugin: &Value| {
            plugin["state"] == "failed" && plugin["reason"].as_str().is_some_and(|said| said.contains(reason))
        };
        let listed = router.until_plugin("stamp", wanted).await;
        assert_eq!(listed["version"], *old, "{listed}");
        assert!(listed["reason"].as_str().unwrap().contains("serves on"), "{listed}");
        assert_eq!(stamp(&mut writer, &mut reader).await, "a");
    }
    router.folders.replace("stamp.wasm", &wasm("stamp-b"));
    router.until_live("stamp", "stamp-b").await;
    assert_eq!(stamp(&mut writer, &mut reader).await, "b");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_binding_file_is_refused_with_its_line() {
    let (router, mut writer, mut reader) = stamped().await;
    for (text, reason) in [
        ("order = 1\ntopic = [\"t\"]\n", "stamp.toml:2"),
        ("topics = [\"a/#/b\"]\n", "a/#/b"),
        ("[config]\nlable = \"x\"\n", "lable"),
        ("order = \n", "stamp.toml:1"),
    ] {
        router.folders.write("stamp.toml", text);
        let wanted = |plugin: &Value| {
            plugin["state"] == "failed" && plugin["reason"].as_str().is_some_and(|said| said.contains(reason))
        };
        router.until_plugin("stamp", wanted).await;
        assert_eq!(stamp(&mut writer, &mut reader).await, "a", "{text}");
    }
    router.folders.write("stamp.toml", "[config]\nlabel = \"-labelled\"\n");
    router.until_plugin("stamp", |plugin| plugin["state"] == "active").await;
    assert_eq!(stamp(&mut writer, &mut reader).await, "a-labelled");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_the_file_unbinds_the_plugin() {
    let (router, mut writer, mut reader) = stamped().await;
    assert_eq!(stamp(&mut writer, &mut reader).await, "a");
    router.folders.remove("stamp.wasm");
    router.until_plugin("stamp", Value::is_null).await;
    assert_eq!(stamp(&mut writer, &mut reader).await, Value::Null);
    router.folders.replace("stamp.wasm", &wasm("stamp-b"));
    router.until_live("stamp", "stamp-b").await;
    assert_eq!(stamp(&mut writer, &mut reader).await, "b");
    // Switched off by its binding file, it is gone as well.
    router.folders.write("stamp.toml", "enabled = false\n");
    router.until_plugin("stamp", |plugin| plugin["state"] != "active").await;
    assert_eq!(stamp(&mut writer, &mut reader).await, Value::Null);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_a_broken_plugin_is_a_start_without_it() {
    let setup = Setup::open().guest_as("two-kinds", "broken").guest_as("stamp-a", "stamp");
    let router = setup.start().await;
    let listed = router.plugin("broken").await;
    assert_eq!(listed["state"], "failed", "{listed}");
    let (mut writer, mut reader) = (router.client("writer").await, router.client("reader").await);
    reader.subscribe("t").await;
    assert_eq!(stamp(&mut writer, &mut reader).await, "a");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_was_live_and_does_not_load_after_a_restart_lets_nothing_through() {
    let setup = Setup::open().guest("stamp-a").guest("keep").binding("keep", "topics = [\"guarded/#\"]\n");
    let router = setup.start().await;
    let mut client = router.client("device").await;
    assert_eq!(client.publish("guarded/1", json!(1)).await["outcome"], "accepted");
    let folders = router.stop().await;
    folders.replace("keep.wasm", b"no component");
    let router = Setup::over(&folders).start().await;
    let listed = router.plugin("keep").await;
    assert_eq!(listed["state"], "failed");
    assert!(listed["reason"].as_str().unwrap().contains("its policy holds"), "{listed}");
    let mut client = router.client("device").await;
    assert_eq!(client.publish("guarded/1", json!(1)).await["outcome"], "plugin-failed");
    assert_eq!(client.publish("other", json!(1)).await["outcome"], "accepted");
    // Taking it away is meant as such; a name that no plugin can have is told, not passed over.
    folders.remove("keep.toml");
    folders.remove("keep.wasm");
    folders.replace("keep_2.wasm", b"whatever");
    router
        .until_plugin("keep_2", |plugin| {
            plugin["reason"].as_str().is_some_and(|why| why.contains("rename the file"))
        })
        .await;
    assert_eq!(client.publish("guarded/1", json!(1)).await["outcome"], "accepted");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_stays_with_the_file_that_has_it() {
    let setup = Setup::keyed().guest("misbehave");
    let router = setup.start().await;
    let denied = router.http("POST", "/v1/publish", &[], r#"{"topic":"a","data":1}"#).await;
    assert_eq!(denied.status, 401);
    // Sorted before the owner, after it, over a bare component, and as another kind.
    for (file, text) in [
        ("aa.toml", "name = \"api-key\"\nplugin = \"stock:open\"\n"),
        ("zz.toml", "name = \"misbehave\"\nplugin = \"stock:latest\"\n"),
    ] {
        router.folders.write(file, text);
        let stem = file.trim_end_matches(".toml");
        let listed = router.until_plugin(stem, |plugin| plugin["state"] == "failed").await;
        assert!(listed["reason"].as_str().unwrap().contains("belongs to"), "{listed}");
    }
    router.folders.write("api-key.toml", "plugin = \"stock:latest\"\n");
    router.until_plugin("api-key", |plugin| plugin["state"] == "failed").await;
    for _ in 0..2 {
        let denied = router.http("POST", "/v1/publish", &[], r#"{"topic":"a","data":1}"#).await;
        assert_eq!(denied.status, 401, "{}", denied.text);
        assert_eq!(router.plugin("misbehave").await["kind"], "filter");
    }
    // Nor does a restart hand it over.
    router.folders.write("api-key.toml", "plugin = \"stock:api-key\"\n");
    let folders = router.stop().await;
    let router = Setup::over(&folders).start().await;
    let denied = router.http("POST", "/v1/publish", &[], r#"{"topic":"a","data":1}"#).await;
    assert_eq!(denied.status, 401, "{}", denied.text);
    assert_eq!(router.plugin("misbehave").await["kind"], "filter");
    router.stop().await;
}
