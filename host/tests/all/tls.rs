//! Listeners that speak TLS: all that a plain one does, and certificates that change under open connections.

use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_tungstenite::tungstenite::Message;
use weir::config::{Config, Mqtt, Overrides, Picloud, Tls};

use crate::harness::secure::{accepting, certificate, fixture, place, replace, shown, trusting};
use crate::harness::{Client, Router, Setup, eventually, request_over, weir, within};

/// Longer than any test waits.
const NEVER: Duration = Duration::from_secs(3_600);

fn files(of: &str) -> Tls {
    Tls::new(fixture(&format!("{of}.pem")), fixture(&format!("{of}.key")))
}

/// Everybody gets in, over TLS.
fn sealed() -> Setup {
    Setup::open().config(|config| config.http.tls = Some(files("server")))
}

async fn client(router: &Router, name: &str) -> Client {
    let url = format!("wss://{}/v1/ws?client_id={name}", router.http);
    Client::over(Box::new(trusting(router.http).await), &url, &[]).await.unwrap()
}

async fn connected(router: &Router) -> usize {
    let answer = router.admin("GET", "/v1/connections", "").await;
    answer.json["connections"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plain_listener_does_one_with_tls_does_too() {
    let router = sealed().start().await;
    let mut reader = client(&router, "reader").await;
    reader.subscribe("t/#").await;
    let body = r#"{"topic":"t/http","data":1}"#;
    let headers = [("host", "localhost")];
    let answer = request_over(trusting(router.http).await, "POST", "/v1/publish", &headers, body).await;
    assert_eq!(answer.unwrap().status, 201);
    assert_eq!(reader.message().await["data"], 1);
    // More than sockets and TLS hold, to one who does not read meanwhile.
    let mut writer = client(&router, "writer").await;
    let large = "x".repeat(300_000);
    for n in 0..10 {
        assert_eq!(writer.publish(&format!("t/{n}"), json!(large)).await["ok"], true);
    }
    for n in 0..10 {
        let message = reader.message().await;
        assert_eq!((&message["topic"], &message["data"]), (&json!(format!("t/{n}")), &json!(large)));
    }
    router.begin_stop();
    assert_eq!(reader.closed().await.0, 1001);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listeners_of_other_systems_clients_speak_tls_too() {
    let picloud = Picloud { tls: Some(files("server")), ..Picloud::default() };
    let mqtt = Mqtt { tls: Some(files("server")), ..Mqtt::default() };
    let tables = |config: &mut Config| (config.picloud, config.mqtt) = (Some(picloud), Some(mqtt));
    let router = Setup::open().config(tables).start().await;
    let connect = async || trusting(router.gateways["picloud"]).await;
    let url = "wss://localhost/subscribe?clientName=pi";
    let (mut pi, _) = tokio_tungstenite::client_async(url, connect().await).await.unwrap();
    pi.send(Message::text(r#"{"action":"subscribe","event":"e"}"#)).await.unwrap();
    // Answered once it has subscribed.
    pi.send(Message::Ping(Vec::new().into())).await.unwrap();
    assert!(matches!(within("a pong", pi.next()).await, Some(Ok(Message::Pong(_)))));
    let headers = [("host", "localhost"), ("x-api-client-name", "ada")];
    let body = r#"{"event":"e","data":"howdy"}"#;
    let answer = request_over(connect().await, "POST", "/publish", &headers, body).await.unwrap();
    assert_eq!(answer.status, 201);
    let heard = within("the event", pi.next()).await.unwrap().unwrap();
    assert!(heard.to_text().unwrap().contains("howdy"), "{heard:?}");
    let mut sensor = trusting(router.gateways["mqtt"]).await;
    sensor.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a").await.unwrap();
    let mut connack = [0; 4];
    within("CONNACK", sensor.read_exact(&mut connack)).await.unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0], "accepted");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_ends_as_tls_wants_it() {
    let router = sealed().start().await;
    let mut stream = trusting(router.http).await;
    stream.write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    // Without its last word, TLS takes an end for an attack.
    within("the end", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let mut stream = trusting(router.http).await;
    let upgrade = "GET /v1/ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // With a close frame behind it.
    stream.write_all(&[upgrade.as_bytes(), &[0x88, 0x80, 1, 2, 3, 4]].concat()).await.unwrap();
    let mut answer = Vec::new();
    within("the end", stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101 ") && answer.ends_with(&[0x88, 0x00]), "{answer:?}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_2_and_1_3_with_http_1_1_are_spoken() {
    let router = sealed().start().await;
    let connect = async || TcpStream::connect(router.http).await.unwrap();
    for version in [&TLS12, &TLS13] {
        let stream = accepting(connect().await, &[version], &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let answer = request_over(stream, "GET", "/nothing", &[("host", "x")], "").await.unwrap();
        assert_eq!(answer.status, 404);
    }
    assert!(accepting(connect().await, &[&TLS13], &["h2"]).await.is_err());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_plain_http_is_told() {
    let router = sealed().start().await;
    let mut stream = TcpStream::connect(router.http).await.unwrap();
    let large = format!("POST / HTTP/1.1\r\nhost: x\r\n\r\n{}", "x".repeat(10_000));
    stream.write_all(large.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    within("the answer", read).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("call it https"), "{answer}");
    // Any other noise has just its end.
    let mut stream = TcpStream::connect(router.http).await.unwrap();
    stream.write_all(&[0; 100]).await.unwrap();
    drop(within("the end", stream.read_to_end(&mut Vec::new())).await);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_is_never_finished_is_cut() {
    let setup = sealed().config(|config| {
        config.limits.first_byte = NEVER;
        config.limits.headers = Duration::from_millis(300);
    });
    let router = setup.start().await;
    let mut stream = TcpStream::connect(router.http).await.unwrap();
    stream.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    drop(within("the end", stream.read_to_end(&mut Vec::new())).await);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_takes_a_place_and_holds_nobody_up() {
    let setup = sealed().config(|config| {
        config.limits.connections = 2;
        (config.limits.first_byte, config.limits.headers) = (NEVER, NEVER);
    });
    let router = setup.start().await;
    let mut begun = TcpStream::connect(router.http).await.unwrap();
    begun.write_all(&[0x16, 3, 1]).await.unwrap();
    let mut second = client(&router, "second").await;
    second.subscribe("t").await;
    // All places are taken: this one ends, though it says nothing.
    let mut third = TcpStream::connect(router.http).await.unwrap();
    drop(within("the end", third.read_to_end(&mut Vec::new())).await);
    drop(begun);
    let place = async || {
        let stream = TcpStream::connect(router.http).await.ok()?;
        accepting(stream, &[&TLS13], &[]).await.ok()
    };
    eventually("the place is free", place).await;
    router.stop().await;
}

async fn until(stream: &mut TlsStream<TcpStream>, word: &str) {
    let mut seen = String::new();
    while !seen.contains(word) {
        seen.push(char::from(within("an event", stream.read_u8()).await.unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_events_ends_with_who_is_gone_and_not_with_who_only_listens() {
    let router = sealed().start().await;
    let mut stream = trusting(router.http).await;
    stream.write_all(b"GET /v1/subscribe?topic=t HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    until(&mut stream, "event: subscribed").await;
    stream.shutdown().await.unwrap();
    let mut writer = client(&router, "writer").await;
    for n in 0..5 {
        writer.publish("t", json!(format!("event-{n}."))).await;
        until(&mut stream, &format!("event-{n}.")).await;
    }
    assert_eq!(connected(&router).await, 2);
    drop(stream);
    writer.publish("t", json!(6)).await;
    eventually("it has ended", async || (connected(&router).await == 1).then_some(())).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_under_open_connections() {
    let setup = Setup::open();
    let tls = place(&setup.folders, "server");
    let folder = setup.folders.root().to_owned();
    let router = setup.config(|config| config.http.tls = Some(tls.clone())).start().await;
    let mut old = client(&router, "old").await;
    old.subscribe("t").await;
    let until = async |name: &str| {
        let wanted = certificate(name);
        let look = async || (shown(router.http).await == wanted).then_some(());
        eventually("the certificate is renewed", look).await;
    };
    replace(&tls, "renewed");
    until("renewed.pem").await;
    assert_eq!(old.publish("t", json!(1)).await["ok"], true);
    assert_eq!(old.message().await["data"], 1);
    // As certbot does it: the name leads elsewhere.
    for (file, to) in [(&tls.cert, "server.pem"), (&tls.key, "server.key")] {
        let link = folder.join("link");
        std::os::unix::fs::symlink(fixture(to), &link).unwrap();
        std::fs::rename(link, file).unwrap();
    }
    until("server.pem").await;
    assert_eq!(old.publish("t", json!(2)).await["ok"], true);
    assert_eq!(old.message().await["data"], 2);
    let renewed = router.sample("weir_certificate_renewals_total", &[("listener", "http")]).await;
    assert_eq!(renewed, 2.0);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_cannot_be_used_changes_nothing() {
    let setup = Setup::open();
    let tls = place(&setup.folders, "server");
    let router = setup.config(|config| config.http.tls = Some(tls.clone())).start().await;
    let until = async |refused: f64| {
        let look = async || {
            let now = router.sample("weir_certificate_refused", &[("listener", "http")]).await;
            (now == refused).then_some(())
        };
        eventually("the metric tells", look).await;
    };
    // The certificate alone: its key is another one.
    std::fs::copy(fixture("renewed.pem"), &tls.cert).unwrap();
    until(1.0).await;
    assert_eq!(shown(router.http).await, certificate("server.pem"));
    std::fs::remove_file(&tls.key).unwrap();
    std::fs::write(&tls.cert, "no certificate").unwrap();
    assert_eq!(shown(router.http).await, certificate("server.pem"));
    replace(&tls, "renewed");
    until(0.0).await;
    assert_eq!(shown(router.http).await, certificate("renewed.pem"));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reads_certificates_again_and_never_ends_the_router() {
    let setup = Setup::open();
    let router = setup.spawn().await;
    router.hang_up();
    assert_eq!(router.reach.http("GET", "/nothing", &[], "").await.status, 404);
    drop(router);
    place(&setup.folders, "server");
    setup.write_config("[http.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n");
    let router = setup.spawn().await;
    router.hang_up();
    let look = async || router.log().contains("the certificate is the one in use").then_some(());
    eventually("it was read again", look).await;
    assert_eq!(shown(router.reach.http).await, certificate("server.pem"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_finds_its_way_to_listeners_with_tls() {
    let setup = Setup::open();
    place(&setup.folders, "renewed");
    let site = "listen = \"127.0.0.1:0\"\nbase_path = \"/weir\"\nproxy_protocol = true\n\
                tls = { cert = \"cert.pem\", key = \"key.pem\" }\n";
    let text = format!("[http]\n{site}[admin]\n{site}[proxy]\ntrusted = [\"127.0.0.1\"]\n");
    let config = setup.folders.root().join("weir.toml");
    std::fs::write(&config, text).unwrap();
    let verb = |arguments: &[&str]| {
        let mut command = weir();
        command.args(arguments).arg("--config").arg(&config).stderr(Stdio::null());
        command
    };
    let _server = Killed(verb(&["serve"]).spawn().unwrap());
    let lists = async || {
        let output = verb(&["connection", "list", "--json"]).output().unwrap();
        output.status.success().then_some(())
    };
    eventually("the admin listener answers", lists).await;
    let addresses = std::fs::read_to_string(setup.folders.data().join("addresses.json")).unwrap();
    let http = serde_json::from_str::<serde_json::Value>(&addresses).unwrap()["http"].clone();
    let http = http.as_str().unwrap();
    let published = async || {
        let output = verb(&["pub", "--http", http, "t", "1"]).output().unwrap();
        output.status.success().then_some(())
    };
    eventually("a message is published", published).await;
    // Another certificate than that of the file is not accepted, whoever shows it.
    let other = setup.folders.root().join("other.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let paths = [("cert.pem", fixture("server.pem")), ("key.pem", fixture("server.key"))];
    let text = paths.iter().fold(text, |text, (name, path)| text.replace(name, path.to_str().unwrap()));
    std::fs::write(&other, text).unwrap();
    let output = weir().args(["connection", "list", "--config"]).arg(&other).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("shows another certificate than"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_goes_by_authorities_elsewhere() {
    let router = sealed().start().await;
    let url = format!("wss://{}", router.http);
    let publish = |authorities: &str| {
        let mut command = weir();
        command.args(["pub", "--url", &url, "t", "1"]).env("SSL_CERT_FILE", fixture(authorities));
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let output = publish("ca.pem").await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = publish("renewed.pem").await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("TLS failed: invalid peer certificate"), "{said}");
    router.stop().await;
}

/// A process that ends with its test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn certificates_that_cannot_be_used_are_named_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["server.pem", "server.key", "renewed.key"] {
        std::fs::copy(fixture(name), path(name)).unwrap();
    }
    std::fs::write(path("empty.pem"), "").unwrap();
    std::fs::write(path("wrong.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    std::fs::write(path("locked.key"), locked).unwrap();
    let file = path("weir.toml");
    let check = |table: &str, cert: &str, key: &str| {
        let text = format!("shards = 1\n[{table}.tls]\ncert = \"{cert}\"\nkey = \"{key}\"\n");
        std::fs::write(&file, text).unwrap();
        let config = Config::load(Some(&file), Overrides::default()).unwrap();
        let prefix = format!("{}/", folder.path().display());
        config.check_certificates(Some(&file)).map_err(|error| error.to_string().replace(&prefix, ""))
    };
    assert_eq!(check("http", "server.pem", "server.key"), Ok(()));
    for (cert, key, wanted) in [
        ("none.pem", "server.key", "weir.toml:3: http.tls.cert: none.pem: cannot be read: No such file"),
        (".", "server.key", "weir.toml:3: http.tls.cert: .: cannot be read: not a regular file"),
        ("empty.pem", "server.key", "weir.toml:3: http.tls.cert: empty.pem: there is no certificate in it"),
        ("server.key", "server.key", "weir.toml:3: http.tls.cert: server.key: there is no certificate in it"),
        ("wrong.pem", "server.key", "weir.toml:3: http.tls.cert: wrong.pem: no certificate for TLS"),
        ("server.pem", "none.key", "weir.toml:4: http.tls.key: none.key: cannot be read: No such file"),
        ("server.pem", "server.pem", "weir.toml:4: http.tls.key: server.pem: there is no private key in it"),
        ("server.pem", "locked.key", "weir.toml:4: http.tls.key: locked.key: the key has a password"),
        (
            "server.pem",
            "renewed.key",
            "weir.toml:4: http.tls.key: renewed.key: the key does not belong to the certificate in server.pem",
        ),
    ] {
        let found = check("http", cert, key).unwrap_err();
        assert!(found.starts_with(wanted), "{cert} {key}\n wanted {wanted}\n found  {found}");
    }
    assert!(check("admin", "x", "y").unwrap_err().starts_with("weir.toml:3: admin.tls.cert: x: cannot"));
    let output = weir().args(["check", "--config"]).arg(&file).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("weir.toml:3: admin.tls.cert: "), "{said}");
}
