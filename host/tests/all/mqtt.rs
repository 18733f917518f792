//! MQTT, spoken by clients that were made by others, and byte by byte.

use std::process::{Command, Stdio};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir::config::{Mqtt, Tls};

use crate::clients::program::{foreign, packaged};
use crate::harness::secure::fixture;
use crate::harness::{Router, Setup};

fn serving(setup: Setup) -> Setup {
    setup.config(|config| {
        config.mqtt = Some(Mqtt { listen: "127.0.0.1:0".parse().unwrap(), ..Mqtt::default() });
    })
}

fn address(router: &Router) -> String {
    router.reach.gateways["mqtt"].to_string()
}

/// Runs all checks of paho: in WebSocket or not, over TLS or not.
async fn paho(websocket: bool, tls: bool) {
    let files = || tls.then(|| Tls::new(fixture("server.pem"), fixture("server.key")));
    let sealed = serving(Setup::open()).config(|config| {
        config.http.tls = files();
        config.mqtt.as_mut().unwrap().tls = files();
    });
    let router = sealed.start().await;
    let (host, transport) = match websocket {
        true => (router.http.to_string(), "websockets"),
        false => (address(&router), "tcp"),
    };
    let mut environment = vec![("HOST", host), ("TRANSPORT", transport.to_owned())];
    environment.extend(tls.then(|| ("CA", fixture("ca.pem").display().to_string())));
    let said = packaged(&foreign().join("mqtt.py")).run(&environment).await;
    assert!(said.contains("paho is content"), "{said}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_finds_all_that_it_knows_in_both_versions() {
    paho(false, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_finds_the_same_over_websocket() {
    paho(true, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_finds_the_same_over_tls_and_websocket_over_tls() {
    paho(false, true).await;
    paho(true, true).await;
}

/// `mosquitto_sub` or `mosquitto_pub`, at this router.
fn mosquitto(program: &str, router: &Router, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    let port = router.reach.gateways["mqtt"].port().to_string();
    command.args(["-h", "127.0.0.1", "-p", &port]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquittos_clients_and_the_native_ones_share_topics() {
    let router = serving(Setup::open()).start().await;
    let mut client = router.client("ada").await;
    client.subscribe("from/#").await;
    let published = |version: &str, qos: &str| {
        let topic = format!("from/{version}/{qos}");
        let status = mosquitto(
            "mosquitto_pub",
            &router,
            &["-V", version, "-q", qos, "-r", "-t", &topic, "-m", "21.5"],
        )
        .status()
        .expect("mosquitto_pub, of the Debian package mosquitto-clients");
        assert!(status.success());
        topic
    };
    for version in ["311", "5"] {
        for qos in ["0", "1", "2"] {
            let topic = published(version, qos);
            let message = client.message().await;
            assert_eq!((&message["topic"], &message["data"]), (&json!(topic), &json!(21.5)), "{message}");
        }
    }
    for version in ["311", "5"] {
        let arguments = ["-V", version, "-q", "2", "-t", "from/+/+", "-C", "6", "-F", "%t %q %r %p"];
        let output = mosquitto("mosquitto_sub", &router, &arguments).output().unwrap();
        let mut lines: Vec<_> =
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        let retained = |version| (0..3).map(move |qos| format!("from/{version}/{qos} {qos} 1 21.5"));
        assert_eq!(lines, retained("311").chain(retained("5")).collect::<Vec<_>>());
    }
    router.stop().await;
}

/// Sends bytes, and returns what comes back until the router ends the connection.
async fn answer(router: &Router, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(router.reach.gateways["mqtt"]).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is reset has ended, too.
    let read = tokio::time::timeout(crate::harness::PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the router ends the connection");
    answer
}

const CONNECT_3: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
const CONNECT_5: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_mqtt_ends_the_connection() {
    let router = serving(Setup::open()).start().await;
    for bytes in [
        // Not a CONNECT first; no protocol; a length of five bytes; a packet that is too large.
        &b"\x30\x03\x00\x01a"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x10\xff\xff\xff\xff\x01",
        b"\x10\xff\xff\xff\x7f",
    ] {
        assert_eq!(answer(&router, bytes).await, b"", "{bytes:?}");
    }
    // Version 3.1.1 has no words; version 5 says why it ends.
    for (packet, code) in [
        // A second CONNECT, a topic with a wildcard, QoS 3, an unknown alias, a SUBSCRIBE without patterns.
        (CONNECT_5, 0x82),
        (b"\x30\x06\x00\x03a/#\x00", 0x90),
        (b"\x36\x06\x00\x01a\x00\x01\x00", 0x81),
        (b"\x30\x06\x00\x00\x03\x23\x00\x01", 0x94),
        (b"\x82\x03\x00\x01\x00", 0x82),
    ] {
        let said = answer(&router, &[CONNECT_5, packet].concat()).await;
        assert_eq!(&said[..1], b"\x20", "CONNACK first: {said:x?}");
        let goodbye = &said[2 + usize::from(said[1])..];
        assert_eq!((goodbye[0], goodbye[2]), (0xe0, code), "{packet:x?}: {said:x?}");
        if packet != CONNECT_5 {
            assert_eq!(&answer(&router, &[CONNECT_3, packet].concat()).await[..4], b"\x20\x02\x00\x00");
        }
    }
    router.stop().await;
}
