//! Devices and pages over TLS, without a proxy.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use weir::config::{Paikea, Tls};

use super::{devices, pages};
use crate::harness::secure::{fixture, trusting};
use crate::harness::{Setup, Socket, within};

type Sealed = WebSocketStream<TlsStream<TcpStream>>;

async fn open(address: SocketAddr, key: &str) -> Sealed {
    let url = format!("wss://{address}{key}");
    let (socket, _) = tokio_tungstenite::client_async(url, trusting(address).await).await.unwrap();
    socket
}

async fn say(socket: &mut Sealed, text: &str) {
    within("room to send", socket.send(text.into())).await.unwrap();
}

async fn hear(socket: &mut Sealed) -> Message {
    within("what comes next", socket.next()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_and_pages_speak_tls_each_on_their_own_listener() {
    let setup = Setup::new();
    let log = setup.folders.root().join("log");
    let tls = || Some(Tls::new(fixture("server.pem"), fixture("server.key")));
    let paikea = Paikea { device_tls: tls(), page_tls: tls(), log: log.clone(), ..Paikea::default() };
    let router = setup.config(|config| config.paikea = Some(paikea)).start().await;
    let mut device = open(devices(&router), "/iam1?x=1").await;
    let mut page = open(pages(&router), "/iam1?x=1").await;
    // The last one is longer than what TLS takes at once.
    let long = "x".repeat(1 << 20);
    for text in ["{\"info\":\"Done\"}", "", &long] {
        say(&mut device, text).await;
        assert!(hear(&mut page).await == text.into());
    }
    say(&mut page, r#"["GET","wifi",[]]"#).await;
    assert_eq!(hear(&mut device).await, r#"["GET","wifi",[]]"#.into());
    let mut newer = open(devices(&router), "/iam1?x=1").await;
    match hear(&mut device).await {
        Message::Close(Some(close)) => assert_eq!((u16::from(close.code), &*close.reason), (1000, "")),
        other => panic!("no close, but {other:?}"),
    }
    say(&mut page, "to the newer one").await;
    assert_eq!(hear(&mut newer).await, "to the newer one".into());
    for address in [devices(&router), pages(&router)] {
        assert_eq!(Socket::try_open(address, "/iam1", &[]).await.err(), Some(400), "TLS is not optional");
    }
    let _folders = router.stop().await;
    let text = std::fs::read_to_string(log.join("device_server.log")).unwrap();
    for line in [
        "]: > /iam1?x=1/ {\"info\":\"Done\"}\n",
        "]: > /iam1?x=1/ \n",
        "]: < /iam1?x=1/ [\"GET\",\"wifi\",[]]\n",
        "]: < /iam1?x=1/ to the newer one\n",
    ] {
        assert!(text.contains(line), "{line}");
    }
}
