//! Behind a proxy: whom sessions come from, and below which path a listener answers.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir::config::{ForwardedHeader, Tls};

use crate::harness::secure::{accepting, fixture};
use crate::harness::{Client, Router, Setup, request, request_over, within};

/// Everybody gets in, and these peers may speak for others.
fn trusting(networks: &[&str]) -> Setup {
    let trusted = networks.iter().map(|network| network.parse().unwrap()).collect();
    Setup::open().config(|config| config.proxy.trusted = trusted)
}

/// The address that the router knows of the only connection.
async fn address(router: &Router) -> String {
    let answer = router.admin("GET", "/v1/connections", "").await;
    let all = answer.json["connections"].as_array().unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]["address"].as_str().unwrap().to_owned()
}

/// The address of a session whose handshake has these headers.
async fn seen(router: &Router, headers: &[(&str, &str)]) -> String {
    let mut client = Client::connect(router.http, "?client_id=c", headers).await;
    client.subscribe("t").await;
    let address = address(router).await;
    drop(client);
    let gone = async || {
        let answer = router.admin("GET", "/v1/connections", "").await;
        answer.json["connections"].as_array().unwrap().is_empty().then_some(())
    };
    crate::harness::eventually("it is gone", gone).await;
    address
}

async fn until_nobody_is_connected(router: &Router) {
    let gone = async || {
        let answer = router.admin("GET", "/v1/connections", "").await;
        answer.json["connections"].as_array().unwrap().is_empty().then_some(())
    };
    crate::harness::eventually("nobody is connected", gone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_trusted_proxy_may_say_whom_it_speaks_for() {
    let headers = [("x-forwarded-for", "203.0.113.66, 203.0.113.7"), ("forwarded", "for=203.0.113.8")];
    for (trusted, header, wanted) in [
        (&[][..], ForwardedHeader::XForwardedFor, "127.0.0.1"),
        (&["10.0.0.0/8"][..], ForwardedHeader::XForwardedFor, "127.0.0.1"),
        (&["127.0.0.1"][..], ForwardedHeader::XForwardedFor, "203.0.113.7"),
        (&["127.0.0.0/8", "203.0.113.7"][..], ForwardedHeader::XForwardedFor, "203.0.113.66"),
        (&["127.0.0.1"][..], ForwardedHeader::Forwarded, "203.0.113.8"),
    ] {
        let router = trusting(trusted).config(|config| config.proxy.header = header).start().await;
        assert_eq!(seen(&router, &headers).await, wanted, "{trusted:?}");
        router.stop().await;
    }
}

/// A router that wants the PROXY protocol.
async fn behind(networks: &[&str]) -> Router {
    trusting(networks).config(|config| config.http.proxy_protocol = true).start().await
}

async fn send(router: &Router, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(router.http).await.unwrap();
    stream.write_all(header).await.unwrap();
    stream
}

fn version_2() -> Vec<u8> {
    let address = [198, 51, 100, 9, 127, 0, 0, 1, 0x10, 0, 0x1f, 0x90];
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &address].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_protocol_says_whom_a_connection_comes_from() {
    let router = behind(&["127.0.0.1", "203.0.113.1"]).await;
    let url = format!("ws://{}/v1/ws?client_id=c", router.http);
    let next = [("x-forwarded-for", "192.0.2.44")];
    for (header, headers, wanted) in [
        (b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 8080\r\n".to_vec(), &next[..], "198.51.100.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 8080\r\n".to_vec(), &[], "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), &[], "127.0.0.1"),
        (version_2(), &[], "198.51.100.9"),
        // A trusted proxy behind a trusted one.
        (b"PROXY TCP4 203.0.113.1 127.0.0.1 4711 8080\r\n".to_vec(), &next[..], "192.0.2.44"),
    ] {
        let stream = send(&router, &header).await;
        let mut client = Client::over(Box::new(stream), &url, headers).await.unwrap();
        assert_eq!(client.ask(json!({"action": "ping"})).await["ok"], true);
        assert_eq!(address(&router).await, wanted);
        drop(client);
        until_nobody_is_connected(&router).await;
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_sound_header_of_a_trusted_proxy_there_is_no_connection() {
    let get = &b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n"[..];
    let good = &b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 8080\r\n"[..];
    let end = async |router: &Router, bytes: &[u8]| {
        let mut stream = send(router, bytes).await;
        let mut rest = Vec::new();
        drop(within("the end", stream.read_to_end(&mut rest)).await);
        assert_eq!(rest, b"", "{}", String::from_utf8_lossy(bytes));
    };
    let router = behind(&["127.0.0.1"]).await;
    for bad in
        [&b"PROXY TCP4 nonsense\r\n"[..], b"PROXY \x16\x03\n", &[0; 50], b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"]
    {
        end(&router, &[bad, get].concat()).await;
    }
    end(&router, get).await;
    router.stop().await;
    let router = behind(&["10.0.0.0/8"]).await;
    end(&router, &[good, get].concat()).await;
    router.stop().await;
    let setup = trusting(&["127.0.0.1"]).config(|config| {
        config.http.proxy_protocol = true;
        config.limits.headers = std::time::Duration::from_millis(300);
    });
    let router = setup.start().await;
    end(&router, &good[..20]).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_protocol_comes_before_tls() {
    let setup = trusting(&["127.0.0.1"]).config(|config| {
        config.http.proxy_protocol = true;
        config.http.tls = Some(Tls::new(fixture("server.pem"), fixture("server.key")));
    });
    let router = setup.start().await;
    for header in [&b"PROXY TCP4 198.51.100.9 127.0.0.1 4711 8080\r\n"[..], &version_2()] {
        let stream = send(&router, header).await;
        let version = &tokio_rustls::rustls::version::TLS13;
        let stream = accepting(stream, &[version], &[]).await.unwrap();
        let url = format!("ws://{}/v1/ws?client_id=c", router.http);
        let mut client = Client::over(Box::new(stream), &url, &[]).await.unwrap();
        assert_eq!(client.ask(json!({"action": "ping"})).await["ok"], true);
        let answer = router.admin("GET", "/v1/connections", "").await;
        assert_eq!(answer.json["connections"][0]["address"], "198.51.100.9");
        drop(client);
        until_nobody_is_connected(&router).await;
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_with_a_base_path_answers_below_it_alone() {
    let setup = Setup::open().config(|config| config.http.base_path = "/weir/".parse().unwrap());
    let router = setup.start().await;
    let url = format!("ws://{}/weir/v1/ws?client_id=reader", router.http);
    let connect = async || Box::new(TcpStream::connect(router.http).await.unwrap());
    let mut reader = Client::over(connect().await, &url, &[]).await.unwrap();
    reader.subscribe("t").await;
    let body = r#"{"topic":"t","data":1}"#;
    let post = async |path: &str| request(router.http, "POST", path, &[], body).await;
    assert_eq!(post("/weir/v1/publish").await.status, 201);
    assert_eq!(reader.message().await["data"], 1);
    let absolute = format!("http://{}/weir/v1/publish?client_id=a", router.http);
    let stream = TcpStream::connect(router.http).await.unwrap();
    let answer = request_over(stream, "POST", &absolute, &[("host", "x")], body).await.unwrap();
    assert_eq!(answer.status, 201);
    for path in ["/v1/publish", "/", "/weird/v1/publish", "/WEIR/v1/publish", "/%77eir/v1/publish"] {
        let answer = post(path).await;
        assert_eq!((answer.status, &answer.json["outcome"]), (404, &json!("not-found")), "{path}");
        assert!(answer.text.contains("below /weir"), "{}", answer.text);
    }
    assert!(post("/weir").await.text.contains("/v1/ws"), "the listener's own 404");
    let plain = Client::try_connect(router.http, "", &[]).await;
    assert_eq!(plain.err(), Some(404));
    router.stop().await;
}
