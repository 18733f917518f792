//! Names with passwords: whom they let in, over MQTT and HTTP, and how they end.

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir::config::Mqtt;

use crate::clients::program::{foreign, packaged};
use crate::harness::{Answer, PATIENCE, Reach, Setup, weir};

const PASSWORD: &str = "correct horse";

fn serving(setup: Setup) -> Setup {
    setup.config(|config| {
        config.mqtt = Some(Mqtt { listen: "127.0.0.1:0".parse().unwrap(), ..Mqtt::default() });
        config.limits.failed_logins = 0;
    })
}

async fn create(router: &Reach, name: &str, more: Value) -> Answer {
    let scope = format!("{name}/#");
    let mut asked = json!({"name": name, "publish": [scope], "subscribe": [scope], "password": PASSWORD});
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    router.admin("POST", "/v1/logins", &asked.to_string()).await
}

/// A connection on which CONNECT of version 5 was sent, and the reason code of CONNACK.
async fn connect(router: &Reach, user: &str, password: &str) -> (TcpStream, u8) {
    let mut rest = b"\x00\x04MQTT\x05\xc2\x00\x3c\x00\x00\x01a".to_vec();
    for field in [user, password] {
        rest.extend(u16::try_from(field.len()).unwrap().to_be_bytes());
        rest.extend(field.as_bytes());
    }
    let packet = [&[0x10, u8::try_from(rest.len()).unwrap()], &rest[..]].concat();
    let mut stream = TcpStream::connect(router.gateways["mqtt"]).await.unwrap();
    stream.write_all(&packet).await.unwrap();
    let said = packet_of(&mut stream).await;
    assert_eq!(said[0], 0x20, "{said:x?}");
    (stream, said[3])
}

async fn packet_of(stream: &mut TcpStream) -> Vec<u8> {
    let read = async {
        let mut said = vec![0; 2];
        stream.read_exact(&mut said).await.unwrap();
        said.resize(2 + usize::from(said[1]), 0);
        stream.read_exact(&mut said[2..]).await.unwrap();
        said
    };
    tokio::time::timeout(PATIENCE, read).await.expect("a packet")
}

/// What a name and a password get of the HTTP listener for a publish to `TOPIC/a`.
async fn publish(router: &Reach, user: &str, password: &str) -> (u16, Value) {
    use base64::Engine;
    let both = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let header = format!("Basic {both}");
    let body = json!({"topic": format!("{user}/a"), "data": 1}).to_string();
    let answer = router.http("POST", "/v1/publish", &[("authorization", &header)], &body).await;
    (answer.status, answer.json["outcome"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_comes_in_with_the_right_password_only() {
    let router = serving(Setup::keyed()).start().await;
    assert_eq!(create(&router, "cellar", json!({})).await.status, 201);
    let address = router.reach.gateways["mqtt"].to_string();
    let said = packaged(&foreign().join("logins.py")).run(&[("HOST", address)]).await;
    assert!(said.contains("paho is content"), "{said}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_ends_its_sessions_when_it_changes_or_goes() {
    let router = serving(Setup::keyed()).start().await;
    let made = create(&router, "cellar", json!({})).await;
    assert_eq!(
        (made.status, &made.json["origin"], &made.json["password"]),
        (201, &json!("sensor"), &json!(null))
    );
    assert!(!made.text.contains(PASSWORD) && !made.text.contains("argon2"), "{made:?}");
    create(&router, "attic", json!({})).await;
    let (mut first, code) = connect(&router, "cellar", PASSWORD).await;
    assert_eq!(code, 0);
    let (mut other, code) = connect(&router, "attic", PASSWORD).await;
    assert_eq!(code, 0);
    let changed = router.admin("POST", "/v1/logins/cellar/password", "").await;
    let new = changed.json["password"].as_str().expect("a password that the router chose").to_owned();
    let goodbye = packet_of(&mut first).await;
    assert_eq!((goodbye[0], goodbye[2]), (0xe0, 0x87), "{goodbye:x?}");
    assert!(String::from_utf8_lossy(&goodbye).contains("login changed"), "{goodbye:x?}");
    assert_eq!(connect(&router, "cellar", PASSWORD).await.1, 0x86, "also if it was known to be right");
    let (mut second, code) = connect(&router, "cellar", &new).await;
    assert_eq!(code, 0);

    let folders = router.stop().await;
    let router = serving(Setup::over(&folders)).start().await;
    assert_eq!(packet_of(&mut second).await[0], 0xe0, "the router said that it stopped");
    assert_eq!(packet_of(&mut other).await[0], 0xe0);
    let (mut third, code) = connect(&router, "cellar", &new).await;
    assert_eq!(code, 0, "over a restart");
    let deleted = router.admin("DELETE", "/v1/logins/cellar", "").await;
    assert_eq!((deleted.status, &deleted.json["connections_closed"]), (200, &json!(1)), "{deleted:?}");
    assert_eq!(packet_of(&mut third).await[0], 0xe0);
    assert_eq!(connect(&router, "cellar", &new).await.1, 0x86);
    let folders = router.stop().await;
    let router = serving(Setup::over(&folders)).start().await;
    assert_eq!(connect(&router, "cellar", &new).await.1, 0x86, "nor after another restart");
    assert_eq!(connect(&router, "attic", PASSWORD).await.1, 0);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_takes_a_name_and_a_password_as_basic() {
    let router = serving(Setup::keyed()).start().await;
    assert_eq!(publish(&router, "cellar", PASSWORD).await, (401, json!("unauthenticated")));
    create(&router, "cellar", json!({})).await;
    assert_eq!(publish(&router, "cellar", PASSWORD).await, (201, json!("accepted")));
    for (user, password) in [("cellar", "wrong"), ("cellar", ""), ("attic", PASSWORD), ("", PASSWORD)] {
        assert_eq!(publish(&router, user, password).await, (401, json!("unauthenticated")), "{user}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_comes_back_at_once_is_let_in() {
    let router = serving(Setup::keyed()).start().await;
    create(&router, "cellar", json!({})).await;
    let all = (0..200).map(|_| publish(&router, "cellar", PASSWORD));
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer, (201, json!("accepted")));
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_guesses_must_wait_and_who_is_known_need_not() {
    let setup = serving(Setup::keyed()).config(|config| config.limits.failed_logins = 3);
    let router = setup.start().await;
    create(&router, "cellar", json!({})).await;
    create(&router, "attic", json!({})).await;
    assert_eq!(connect(&router, "cellar", PASSWORD).await.1, 0);
    // One a second is forgiven: guesses at once are not.
    let mut busy = 0;
    while busy == 0 {
        let guesses =
            (0..20).map(async |number| connect(&router, "cellar", &format!("guess {number}")).await.1);
        for code in futures_util::future::join_all(guesses).await {
            assert!([0x86, 0x89].contains(&code), "{code:x}");
            busy += usize::from(code == 0x89);
        }
    }
    assert_eq!(connect(&router, "cellar", PASSWORD).await.1, 0, "it was right before");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_login_is_refused_in_words() {
    let setup = serving(Setup::keyed()).config(|config| config.accounts.logins = 1);
    let router = setup.start().await;
    for (name, more, status, words) in [
        ("a/b", json!({}), 400, "accepted is one topic level"),
        ("a", json!({"password": "short"}), 400, "accepted are 8 to 1024"),
        ("a", json!({"password": "x".repeat(1025)}), 400, "accepted are 8 to 1024"),
        ("a", json!({"origin": "cat"}), 400, "accepted are device, page, sensor, service"),
        ("a", json!({"tenant": "lab"}), 404, "there is no tenant"),
        ("a", json!({"password": "short", "weak": true}), 201, ""),
        ("a", json!({}), 409, "exists already"),
        ("b", json!({}), 409, "accounts.logins"),
    ] {
        let answer = create(&router, name, more).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.text.contains(words), "{answer:?}");
    }
    for (method, path) in [("DELETE", "/v1/logins/b"), ("POST", "/v1/logins/b/password")] {
        assert_eq!(router.admin(method, path, "").await.status, 404);
    }
    assert_eq!(connect(&router, "a", "short").await.1, 0);
    router.stop().await;
}

/// `weir login …` on a folder, with what is typed.
async fn login(setup: &Setup, arguments: &str, typed: &str) -> Output {
    let mut command = weir();
    command.arg("login").args(arguments.split(' ')).arg("--data").arg(setup.folders.data());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let typed = typed.to_owned();
    let run = move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_make_logins_before_and_beside_a_running_server() {
    let setup = serving(Setup::keyed());
    let made = login(&setup, "create cellar --publish cellar/# --password-stdin", "correct horse\n").await;
    assert!(made.status.success() && made.stdout.is_empty(), "{made:?}");
    let generated = login(&setup, "create attic --publish attic/#", "").await;
    let generated = String::from_utf8(generated.stdout).unwrap().trim().to_owned();
    assert_eq!(generated.len(), 32);
    let folders = setup.folders.clone();
    let router = setup.start().await;
    assert_eq!(connect(&router, "cellar", PASSWORD).await.1, 0);
    assert_eq!(connect(&router, "attic", &generated).await.1, 0);

    let setup = Setup::over(&folders);
    let admin = format!("--admin {}", router.reach.admin);
    let file = folders.root().join("password");
    std::fs::write(&file, "another horse\r\n").unwrap();
    let changed =
        login(&setup, &format!("passwd cellar --password-file {} {admin}", file.display()), "").await;
    assert!(changed.status.success(), "{changed:?}");
    assert_eq!(connect(&router, "cellar", PASSWORD).await.1, 0x86);
    assert_eq!(connect(&router, "cellar", "another horse").await.1, 0);
    let listed = login(&setup, &format!("list {admin}"), "").await;
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("attic   main    sensor"), "{listed}");
    let deleted = login(&setup, &format!("delete attic {admin}"), "").await;
    assert!(deleted.status.success(), "{deleted:?}");
    assert_eq!(connect(&router, "attic", &generated).await.1, 0x86);
    router.stop().await;
}
