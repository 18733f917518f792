//! The deployment of tenta and hermes, as far as it can be looked at without Docker.

use std::path::Path;

use serde_json::Value;

use super::deployed;
use crate::clients::program::{foreign, packaged};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_containers_of_tenta_and_hermes_are_made_of_what_is_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/sensors");
    let script = packaged(&foreign().join("yaml_as_json.py")).with(folder.join("compose.yml"));
    let compose: Value = serde_json::from_str(&script.run(&[]).await).unwrap();
    for service in ["tenta", "hermes"] {
        let of = &compose["services"][service];
        assert_eq!(of["profiles"][0], service);
        let context = folder.join(of["build"]["context"].as_str().unwrap());
        assert!(context.join(of["build"]["dockerfile"].as_str().unwrap()).is_file());
        let volume = of["volumes"][0].as_str().unwrap().split(':').next().unwrap();
        assert!(compose["volumes"].get(volume).is_some());
        let words = of["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
        let known = crate::harness::weir().args(words.chain(["--help"])).output().unwrap();
        assert!(known.status.success(), "{}", String::from_utf8_lossy(&known.stderr));
    }
}

#[test]
fn the_examples_of_variables_name_those_that_the_router_reads() {
    let source = include_str!("../../../src/cli/gateways/tenta.rs");
    for (file, first) in [("tenta.env", "ENVIRONMENT"), ("hermes.env", "HERMES_ENVIRONMENT")] {
        let text = deployed(&format!("sensors/{file}"));
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let names: Vec<_> = lines.map(|line| line.split_once('=').unwrap().0).collect();
        assert!(names.len() > 6 && names[0] == first, "{names:?}");
        for name in names {
            assert!(source.contains(&format!("\"{name}\"")), "nobody reads {name} of {file}");
        }
    }
}

#[test]
fn the_image_holds_what_the_checkout_builds() {
    let text = deployed("Dockerfile");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
    assert!(text.contains(&format!("FROM rust:{}-", rust.trim_matches('"'))), "as the workspace asks for");
    assert!(text.contains("cargo xtask plugins && cargo build --release --locked --package weir"));
    assert!(text.contains("\nUSER weir\n") && text.contains("ENTRYPOINT [\"weir\"]"));
}
