//! All that is no game: the other sockets, presence, files.

use serde_json::json;

use super::*;
use crate::harness::{Answer, request, within};

async fn open(router: &Router, path: &str) -> Socket {
    Socket::open(router.gateways["ganomics"], path, &[("origin", "https://anywhere.example")]).await
}

async fn get(router: &Router, path: &str) -> Answer {
    request(router.gateways["ganomics"], "GET", path, &[], String::new()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_are_answered_by_a_word_and_receipts_by_none() {
    let router = router("").await;
    for path in ["/ws", "/ws/"] {
        let mut socket = open(&router, path).await;
        socket.say(r#"{"demand":"ping","deviceId":"d"}"#).await;
        assert_eq!(socket.text().await, "pong");
        socket.say(r#"{"demand":"ping","userId":7}"#).await;
        assert_eq!(socket.text().await, "pong");
        socket.say(r#"{"demand":"receipt_confirmation","concernedDemand":"choice","t":1,"userId":7}"#).await;
        assert!(socket.settle().await.is_empty());
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_bound_to_its_tablets_number() {
    let router = router("flavour = \"newest\"").await;
    let mut socket = open(&router, "/ws/identity/").await;
    for number in [json!(3), json!("4")] {
        socket.say(json!({"deviceId": "d", "tabletNumber": number}).to_string()).await;
        assert_eq!(socket.text().await, "Done!");
    }
    for wrong in
        ["{", "{}", r#"{"deviceId":"d"}"#, r#"{"tabletNumber":1}"#, r#"{"deviceId":"d","tabletNumber":"x"}"#]
    {
        let mut socket = open(&router, "/ws/identity/").await;
        socket.say(wrong).await;
        assert_eq!(socket.hear().await, died(), "{wrong}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_network_check_tells_its_times_and_registering_nothing() {
    let router = router("").await;
    let mut check = open(&router, "/ws/check_network/").await;
    for said in ["{}", "1", r#"{"any":"json"}"#] {
        check.say(said).await;
        let times = json!({"timeOut": 30_000, "reconnectTime": 1_000, "delayRequest": 1_000});
        assert_eq!(check.json().await, times);
    }
    check.say("no json").await;
    assert_eq!(check.hear().await, died());
    let mut register = open(&router, "/ws/register").await;
    register.say("whatever").await;
    assert!(register.settle().await.is_empty());
    router.stop().await;
}

/// The table that shows all this, at some time.
async fn table(socket: &mut Socket, shows: &[&str]) {
    let look = async {
        loop {
            let body = socket.json().await;
            let html = body["html"].as_str().expect("a table");
            assert!(html.starts_with("<table>") && html.ends_with("</table>"), "{html}");
            if shows.iter().all(|wanted| html.contains(wanted)) {
                return;
            }
        }
    };
    within(&format!("a table with {shows:?}"), look).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_see_again_and_again_who_is_connected() {
    let setup = setup("").config(|config| {
        let connected = std::time::Duration::from_secs(3_600);
        config.ganomics = Some(Ganomics { connected, ..Ganomics::default() });
    });
    let router = setup.start().await;
    let mut early = open(&router, "/ws/connection/").await;
    assert!(early.settle().await.is_empty(), "who says nothing is no member");
    early.say("{}").await;
    table(&mut early, &["<table>"]).await;
    let mut tablet = open(&router, "/ws/").await;
    tablet.say(r#"{"demand":"ping","deviceId":"<d1>"}"#).await;
    tablet.text().await;
    let mut identity = open(&router, "/ws/identity/").await;
    identity.say(r#"{"deviceId":"d2","tabletNumber":12}"#).await;
    identity.text().await;
    let mut late = open(&router, "/ws/connection/").await;
    late.say("\"any JSON\"").await;
    let rows = ["<td></td><td>&lt;d1&gt;</td><td>yes</td>", "<td>12</td><td>d2</td><td>yes</td>"];
    table(&mut early, &rows).await;
    table(&mut late, &rows).await;
    late.say("no JSON").await;
    loop {
        match late.hear().await {
            Heard::Text(_) => {}
            end => break assert_eq!(end, died()),
        }
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_come_from_the_folder_alone() {
    let setup = setup("");
    let folder = setup.folders.root().join("static");
    std::fs::create_dir_all(folder.join("css")).unwrap();
    let large: String = "0123456789abcdef".repeat(16 * 1024);
    std::fs::write(folder.join("css/a.css"), &large).unwrap();
    std::fs::write(setup.folders.root().join("secret.txt"), "s").unwrap();
    std::os::unix::fs::symlink(setup.folders.root().join("secret.txt"), folder.join("link.txt")).unwrap();
    let setup = setup.config(|config| config.ganomics.as_mut().unwrap().files = Some(folder));
    let router = setup.start().await;
    let answer = get(&router, "/static/css/a.css").await;
    assert_eq!((answer.status, answer.text == large), (200, true));
    assert_eq!(answer.header("content-type"), "text/css; charset=utf-8");
    assert_eq!(answer.header("content-length"), large.len().to_string());
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    for path in [
        "/static/",
        "/static/css",
        "/static/../secret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/link.txt",
        "/other",
    ] {
        assert_eq!(get(&router, path).await.status, 404, "{path}");
    }
    let head = request(router.gateways["ganomics"], "HEAD", "/static/css/a.css", &[], String::new()).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    let post = request(router.gateways["ganomics"], "POST", "/static/css/a.css", &[], String::new()).await;
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD"));
    let page = get(&router, "/").await;
    assert!(page.status == 200 && page.text.contains("/ws/connection/"));
    assert_eq!(get(&router, "/ws/").await.status, 426, "that is for WebSockets");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_long_ends_its_connection() {
    let router = router("").await;
    let init = r#"{"demand":"init","deviceId":"d"}"#;
    let said = |bytes: usize| init.to_owned() + &" ".repeat(bytes - init.len());
    let mut socket = open(&router, "/ws/").await;
    socket.say(said(1024 * 1024)).await;
    assert_eq!(socket.json().await["userId"], 1);
    socket.say(said(1024 * 1024 + 1)).await;
    assert_eq!(socket.hear().await, died());
    let mut socket = open(&router, "/ws/").await;
    socket.say(said(1024 * 1024 + 1024 + 1)).await;
    match socket.hear().await {
        Heard::Closed(1009, reason) => assert!(!reason.is_empty()),
        other => panic!("no 1009, but {other:?}"),
    }
    router.stop().await;
}
