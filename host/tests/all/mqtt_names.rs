//! Clients that a certificate names.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use weir::config::{ClientAuth, Mqtt, Tls};

use crate::harness::secure::{fixture, named};
use crate::harness::{Router, Setup, request_over, within};

const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";

fn asking(client_auth: ClientAuth) -> Setup {
    let client_ca = Some(fixture("clients.pem"));
    let tls = Tls { client_ca, client_auth, ..Tls::new(fixture("server.pem"), fixture("server.key")) };
    Setup::keyed().config(|config| {
        config.http.tls = Some(tls.clone());
        config.mqtt = Some(Mqtt { tls: Some(tls), ..Mqtt::default() });
    })
}

/// The return code of CONNACK; none: the connection ended before.
async fn connack(stream: std::io::Result<TlsStream<TcpStream>>) -> Option<u8> {
    let mut stream = stream.ok()?;
    let mut said = [0; 4];
    let talk = async {
        stream.write_all(CONNECT).await?;
        stream.read_exact(&mut said).await
    };
    within("CONNACK, or the end", talk).await.ok()?;
    Some(said[3])
}

async fn mqtt(router: &Router, certificate: Option<&str>) -> Option<u8> {
    connack(named(router.reach.gateways["mqtt"], certificate).await).await
}

async fn login(router: &Router, name: &str) {
    let login = json!({"name": name, "publish": ["#"]});
    assert_eq!(router.admin("POST", "/v1/logins", &login.to_string()).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_stands_for_the_login_of_its_name() {
    let router = asking(ClientAuth::Required).start().await;
    login(&router, "cellar").await;
    assert_eq!(
        mqtt(&router, Some("cellar")).await,
        Some(0),
        "by its common name, over an authority in between"
    );
    assert_eq!(mqtt(&router, Some("attic")).await, Some(5), "there is no such login");
    login(&router, "attic.example").await;
    assert_eq!(mqtt(&router, Some("attic")).await, Some(0), "by its first DNS name");
    assert_eq!(mqtt(&router, None).await, None, "a certificate must be shown");
    assert_eq!(mqtt(&router, Some("renewed")).await, None, "of this authority");
    let body = r#"{"topic":"a","data":1}"#;
    let over = named(router.http, Some("cellar")).await.unwrap();
    let answer = request_over(over, "POST", "/v1/publish", &[("host", "localhost")], body).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    router.admin("DELETE", "/v1/logins/cellar", "").await;
    assert_eq!(mqtt(&router, Some("cellar")).await, Some(5));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_optional_certificate_must_be_right_if_it_is_shown() {
    let router = asking(ClientAuth::Optional).start().await;
    login(&router, "cellar").await;
    assert_eq!(mqtt(&router, Some("cellar")).await, Some(0));
    assert_eq!(mqtt(&router, None).await, Some(5), "nobody knows it");
    assert_eq!(mqtt(&router, Some("renewed")).await, None);
    let (key, _) = router.key("k", &["#"], &[], "").await;
    let over = named(router.http, None).await.unwrap();
    let headers = [("host", "localhost"), ("x-api-key", key.as_str())];
    let answer =
        request_over(over, "POST", "/v1/publish", &headers, r#"{"topic":"a","data":1}"#).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    router.stop().await;
}
