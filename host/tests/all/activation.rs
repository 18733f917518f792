//! From a file to a component: every step refuses with its own words, the cheap ones before anything is compiled, and
//! compiling hurts nobody.

use std::path::Path;
use std::time::Duration;

use minisign::KeyPair;
use minisign_verify::PublicKey;
use serde_json::{Value, json};
use wasmparser::{Parser, Payload};
use weir::config::{Compile, SignedKind, Trust, TrustedKey};
use weir::plugin::Engine;

use crate::harness::{Folders, Router, Setup, eventually, version, wasm, weir};

/// A setup whose compiled code nobody shares: what it compiles, it compiles itself.
fn alone(setup: Setup) -> Setup {
    std::fs::remove_file(setup.folders.data().join("compiled")).unwrap();
    setup
}

/// Waits until the binding is listed as failed, for a reason that begins with the stage and has this part.
async fn refused(router: &Router, name: &str, stage: &str, part: &str) -> Value {
    let wanted = |plugin: &Value| {
        let reason = plugin["reason"].as_str().unwrap_or_default();
        plugin["state"] == "failed" && reason.starts_with(&format!("{stage}: ")) && reason.contains(part)
    };
    router.until_plugin(name, wanted).await
}

async fn compilations(router: &Router) -> u64 {
    router.metric("weir_plugin_compilations_total").await as u64
}

/// Puts a plugin into the folder whose code is not in any cache, since its text is nobody else's.
fn put_unique(folders: &Folders, name: &str, guest: &str) {
    let mut bytes = wasm(guest);
    let text = folders.root().display().to_string();
    section(&mut bytes, 0, &[&[1, b'x'][..], text.as_bytes()].concat());
    folders.replace(name, &bytes);
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

fn section(to: &mut Vec<u8>, id: u8, body: &[u8]) {
    to.push(id);
    to.extend(leb(body.len()));
    to.extend(body);
}

/// A good filter that also holds a module of 100,000 functions: seconds of compiling, half a gigabyte of memory, and
/// nothing wrong with it.
fn bomb() -> Vec<u8> {
    const FUNCTIONS: usize = 100_000;
    // No locals; the argument, twenty times added to itself.
    let body = [&[0, 0x20, 0][..], &[0x20, 0, 0x6a].repeat(20), &[0x0b]].concat();
    let body = [leb(body.len()), body].concat();
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 1, &[1, 0x60, 1, 0x7f, 1, 0x7f]);
    section(&mut module, 3, &[leb(FUNCTIONS), vec![0; FUNCTIONS]].concat());
    section(&mut module, 10, &[leb(FUNCTIONS), body.repeat(FUNCTIONS)].concat());
    let mut component = wasm("keep");
    section(&mut component, 1, &module);
    component
}

/// The same component with its longest function overwritten.
fn damaged(guest: &str) -> Vec<u8> {
    let mut bytes = wasm(guest);
    let functions = Parser::new(0).parse_all(&bytes).filter_map(|payload| match payload.unwrap() {
        Payload::CodeSectionEntry(body) => Some(body.range()),
        _ => None,
    });
    let longest = functions.max_by_key(|range| range.len()).unwrap();
    let middle = (longest.start + longest.end) / 2;
    bytes[middle..middle + 16].fill(0xff);
    bytes
}

/// The same component for another version of the contract.
fn of_version(guest: &str, version: &str) -> Vec<u8> {
    let mut bytes = wasm(guest);
    let (old, new) = (b"weir:plugin/filter@0.1.0", format!("weir:plugin/filter@{version}"));
    let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(old)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_refuses_with_its_name_and_the_cheap_ones_before_anything_is_compiled() {
    let setup = alone(Setup::open()).config(|config| config.plugin.file_bytes = 1 << 20);
    put_unique(&setup.folders, "stamp.wasm", "stamp-a");
    let router = setup.start().await;
    let serving = router.plugin("stamp").await;
    assert_eq!(serving["state"], "active", "{serving}");
    let before = compilations(&router).await;
    assert_eq!(before, 2, "`open` and `stamp`");
    let precompiled = Engine::new(None).unwrap().wasm().precompile_component(&wasm("stamp-b")).unwrap();
    let half = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() / 2);
        bytes
    };
    for (bytes, stage, part) in [
        (vec![0; (1 << 20) + 1], "size", "at most 1048576 are accepted"),
        (Vec::new(), "format", "(it is empty)"),
        (b"#!/bin/sh\necho component".to_vec(), "format", "(it does not begin with"),
        (b"\0asm\x01\0\0\0".to_vec(), "format", "(it is a core module)"),
        (precompiled, "format", "(it is precompiled code)"),
        (half(wasm("stamp-b")), "format", "(it is damaged or cut off"),
        (b"\0asm\x0d\0\x01\0".to_vec(), "kind", "exports none of"),
        (wasm("two-kinds"), "kind", "exactly one is accepted"),
        (of_version("keep", "0.9.0"), "kind", "exports weir:plugin/filter@0.9.0, this router speaks"),
        (wasm("wrong-import"), "imports", "wasi:sockets"),
    ] {
        router.folders.replace("stamp.wasm", &bytes);
        let listed = refused(&router, "stamp", stage, part).await;
        assert_eq!(listed["version"], serving["version"], "the old one serves on: {listed}");
    }
    assert_eq!(compilations(&router).await, before);
    // What only the compiler sees, it says, and leaves the router alone.
    router.folders.replace("stamp.wasm", &damaged("stamp-b"));
    refused(&router, "stamp", "compile", "does not compile").await;
    assert_eq!(compilations(&router).await, before + 1);
    let text = router.admin("GET", "/metrics", "").await.text;
    for (step, count) in [("size", 1), ("format", 5), ("kind", 3), ("imports", 1), ("compile", 1)] {
        let line = format!("weir_plugin_load_failures_total{{step=\"{step}\"}} {count}");
        assert!(text.contains(&line), "{line}\n{text}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compile_bomb_is_stopped_by_the_limit_that_it_meets_while_messages_pass() {
    let hangs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/compilers/hangs.sh");
    let defaults = Compile::default;
    // What the start needs is compiled before.
    Setup::open().start().await.stop().await;
    for (compiler, limits, part) in [
        (
            None,
            Compile { cpu: Duration::from_secs(1), ..defaults() },
            "more processor time than the 1s that compile.cpu",
        ),
        (
            None,
            Compile { memory_bytes: 64 << 20, ..defaults() },
            "more memory than the 67108864 bytes that compile.memory_bytes",
        ),
        (
            Some(hangs),
            Compile { deadline: Duration::from_secs(2), ..defaults() },
            "more time than the 2s that compile.deadline",
        ),
    ] {
        let router = Setup::open().config(|config| {
            config.compile = limits;
            config.compiler = compiler.or(config.compiler.take());
        });
        let router = router.start().await;
        let (mut writer, mut reader) = (router.client("writer").await, router.client("reader").await);
        reader.subscribe("t").await;
        let before = compilations(&router).await;
        router.folders.replace("bomb.wasm", &bomb());
        for number in 0.. {
            assert_eq!(writer.publish("t", json!(number)).await["outcome"], "accepted");
            assert_eq!(reader.message().await["data"], number);
            if !router.plugin("bomb").await.is_null() {
                break;
            }
        }
        assert_eq!(compilations(&router).await, before + 1);
        refused(&router, "bomb", "compile", part).await;
        // It is not tried again, and others are still compiled by the rules.
        router.folders.write("other.toml", "plugin = \"stock:dedupe\"\n");
        router.until_plugin("other", |plugin| !plugin.is_null()).await;
        assert_eq!(router.plugin("bomb").await["state"], "failed");
        router.stop().await;
    }
}

/// The niceness of each thread of each compiler that this process has started.
fn nicenesses() -> Vec<Vec<i64>> {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let us = std::process::id().to_string();
    let field = |stat: &str, at: usize| {
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(at)).map(str::to_owned)
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|process| process.path());
    let compilers = processes.filter(|process| {
        field(&read(&process.join("stat")), 1).as_ref() == Some(&us)
            && read(&process.join("cmdline")).contains("compile-plugin")
    });
    let threads = compilers.map(|process| {
        let tasks = std::fs::read_dir(process.join("task")).into_iter().flatten().flatten();
        let nice = |task: std::fs::DirEntry| field(&read(&task.path().join("stat")), 16)?.parse().ok();
        tasks.filter_map(nice).collect()
    });
    threads.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_long_to_compile_gives_way_with_all_of_its_threads() {
    let router = Setup::open().start().await;
    router.folders.replace("bomb.wasm", &bomb());
    eventually("a compiler all of whose threads give way", async || {
        let gives_way = |threads: &Vec<i64>| !threads.is_empty() && threads.iter().all(|nice| *nice == 10);
        nicenesses().iter().any(gives_way).then_some(())
    })
    .await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_does_not_wait_for_a_compiler() {
    let hangs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/compilers/hangs.sh");
    // What the start needs is compiled before.
    let folders = Setup::open().start().await.stop().await;
    let hanging = Setup::over(&folders).config(|config| {
        config.compiler = Some(hangs);
        config.compile.deadline = Duration::from_secs(600);
    });
    let router = hanging.start().await;
    put_unique(&router.folders, "keep.wasm", "keep");
    eventually("the compiler is at work", async || (compilations(&router).await == 1).then_some(())).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_compiled_once_is_not_compiled_again() {
    let setup = Setup::open().guest("keep").guest("same").guest_as("keep", "keep-2");
    // Another stack is another engine, and the same code.
    let setup =
        alone(setup.guest_as("keep", "keep-3").binding("keep-3", "[limits]\nstack_bytes = \"256KiB\"\n"));
    let compiled = setup.folders.data().join("compiled");
    let router = setup.start().await;
    for name in ["open", "keep", "same", "keep-2", "keep-3"] {
        let listed = router.plugin(name).await;
        assert_eq!(listed["state"], "active", "{listed}");
    }
    assert_eq!(compilations(&router).await, 3, "one for each component");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&compiled).unwrap());
    assert_eq!(mode & 0o777, 0o700);
    let folders = router.stop().await;
    let router = Setup::over(&folders).start().await;
    assert_eq!(router.plugin("keep").await["state"], "active");
    assert_eq!(compilations(&router).await, 0);
    let folders = router.stop().await;
    // Without a compiler that works, the router says so and does not compile by itself.
    put_unique(&folders, "new.wasm", "keep");
    let setup = Setup::over(&folders).config(|config| config.compiler = Some("/bin/true".into()));
    let router = setup.start().await;
    assert_eq!(router.plugin("keep").await["state"], "active");
    refused(&router, "new", "engine", "has put nothing into the cache").await;
    let folders = router.stop().await;
    let setup = Setup::over(&folders).config(|config| config.compiler = Some("/nowhere/weir".into()));
    let router = setup.start().await;
    refused(&router, "new", "engine", "cannot start the compiler /nowhere/weir").await;
    router.stop().await;
}

#[test]
fn a_cache_that_others_may_write_is_not_used() {
    let setup = alone(Setup::open());
    let compiled = setup.folders.data().join("compiled");
    std::fs::create_dir(&compiled).unwrap();
    std::fs::set_permissions(&compiled, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let ended = weir().arg("serve").arg("--config").arg(setup.write_config("")).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("others may write it (mode 777"), "{said}");
}

/// A key that may sign these kinds, and what the configuration says of it.
fn trusted(kinds: &[SignedKind]) -> (KeyPair, TrustedKey) {
    let key = KeyPair::generate_unencrypted_keypair().unwrap();
    let public = PublicKey::from_base64(&key.pk.to_base64()).unwrap();
    (key, TrustedKey { public, kinds: kinds.to_vec() })
}

fn sign(key: &KeyPair, bytes: &[u8]) -> String {
    minisign::sign(None, &key.sk, bytes, None, None).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_a_trusted_key_signed_goes_live() {
    let (filters, filter_key) = trusted(&[SignedKind::Filter]);
    let (doors, auth_key) = trusted(&[SignedKind::Auth]);
    let (stranger, _) = trusted(&[]);
    let trust = Trust { require_signatures: true, keys: vec![filter_key, auth_key] };
    let router = Setup::open().config(|config| config.trust = trust).start().await;
    assert_eq!(router.plugin("open").await["state"], "active", "stock plugins need no signature");
    let bytes = wasm("keep");
    router.folders.replace("keep.wasm", &bytes);
    refused(&router, "keep", "signature", "keep.wasm.minisig is missing").await;
    let good = sign(&filters, &bytes);
    for (text, part) in [
        (sign(&stranger, &bytes), "a key that is not trusted"),
        (good.split_at(good.len() / 2).0.to_owned(), "is damaged"),
        (sign(&filters, b"something else"), "does not match keep.wasm"),
        (sign(&doors, &bytes), "not trusted for filter plugins"),
        ("x".repeat(20_000), "cannot be read"),
    ] {
        router.folders.replace("keep.wasm.minisig", text.as_bytes());
        refused(&router, "keep", "signature", part).await;
    }
    router.folders.replace("keep.wasm.minisig", good.as_bytes());
    router.until_live("keep", "keep").await;
    // A signature that changes is looked at, also when the plugin does not change.
    router.folders.replace("keep.wasm.minisig", sign(&stranger, &bytes).as_bytes());
    let listed = refused(&router, "keep", "signature", "a key that is not trusted").await;
    assert_eq!(listed["version"], version("keep"), "it serves on: {listed}");
    router.folders.replace("keep.wasm.minisig", good.as_bytes());
    router.until_live("keep", "keep").await;
    // One that is in use is no reason to take the same without a signature.
    router.folders.replace("again.wasm", &bytes);
    refused(&router, "again", "signature", "again.wasm.minisig is missing").await;
    router.stop().await;
}

#[test]
fn weir_check_takes_the_same_steps_and_warns_of_a_folder_that_all_may_write() {
    let setup = Setup::open().guest("keep").guest("two-kinds");
    let (key, _) = trusted(&[]);
    let config = setup.write_config(&format!(
        "[trust]\nrequire_signatures = true\n[[trust.key]]\npublic = \"{}\"\nkinds = [\"filter\"]\n",
        key.pk.to_base64()
    ));
    let check = || {
        let ended = weir().arg("check").arg("--config").arg(&config).output().unwrap();
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    let (code, said) = check();
    assert!(code == Some(1) && said.contains("keep.wasm.minisig is missing"), "{said}");
    assert!(said.contains("two-kinds.wasm.minisig is missing"), "a signature comes before the kind: {said}");
    setup.folders.write("keep.wasm.minisig", &sign(&key, &wasm("keep")));
    setup.folders.write("two-kinds.wasm.minisig", &sign(&key, &wasm("two-kinds")));
    let (code, said) = check();
    assert!(code == Some(1) && said.contains("exactly one is accepted") && !said.contains("keep"), "{said}");
    setup.folders.remove("two-kinds.wasm");
    assert_eq!(check(), (Some(0), String::new()));
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(setup.folders.plugins(), open).unwrap();
    let (code, said) = check();
    assert!(code == Some(0) && said.contains("warning: ") && said.contains("(mode 777)"), "{said}");
}
