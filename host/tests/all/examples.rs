//! The examples for other systems' clients, each started by the command in its first line.

use std::path::{Path, PathBuf};

use crate::clients::program::packaged;

/// The script behind the command in its first line.
fn example(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    let script = root.join(format!("examples/{name}/run.py"));
    let text = std::fs::read_to_string(&script).unwrap();
    let command = format!("python3 examples/{name}/run.py");
    assert!(text.lines().next().is_some_and(|line| line.ends_with(&command)), "{}", script.display());
    script
}

/// The program that the tests were built with.
fn weir() -> (&'static str, String) {
    ("WEIR", env!("CARGO_BIN_EXE_weir").to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_and_a_page_of_paikea() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("weir.toml");
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    let ports = "[http]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
        [paikea]\ndevice = \"127.0.0.1:0\"\npage = \"127.0.0.1:0\"\n";
    std::fs::write(&config, ports).unwrap();
    let said = packaged(&example("paikea")).with("--config").with(&config).run(&[weir()]).await;
    for wanted in ["'wifi/net/ip': '192.168.4.2'", "'info': 'Done'", "'error': 'Malformed Request'"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_with_two_who_talk_and_one_who_listens() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("weir.toml");
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    let ports = "[http]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
        [rooms]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(&config, ports).unwrap();
    let said = packaged(&example("rooms")).with("--config").with(&config).run(&[weir()]).await;
    for wanted in [r#"board: {"message": "dinner is ready", "identity": "cook""#, "thank you, cook"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picloud_event_appears_in_a_room_and_on_a_paikea_page() {
    let said = packaged(&example("bridge")).run(&[weir()]).await;
    let picloud = r#"picloud: {"action":"publish","event":"lobby","data":"come in""#;
    let room = r#"room: {"message": "open", "identity": "bell""#;
    for wanted in [r#"page: {"picloud/door":"open"}"#, room, picloud] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_and_a_subscriber_of_picloud() {
    let said = packaged(&example("picloud")).run(&[weir(), ("PORT", "0".to_owned())]).await;
    assert_eq!(said.matches("subscriber: load ").count(), 3, "{said}");
}
