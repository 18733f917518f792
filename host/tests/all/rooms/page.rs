//! The page of a room in a real browser, which is asked by its own debugger what it shows.

use std::net::SocketAddr;

use serde_json::{Value, json};
use weir::config::Rooms;

use super::{endpoint, open, room, word};
use crate::clients::program::chromium;
use crate::harness::{Setup, Socket, eventually, http};

/// A page under the debugger.
struct Tab {
    socket: tokio::sync::Mutex<Socket>,
}

impl Tab {
    /// The tab of the browser that listens there.
    async fn of(debugger: SocketAddr) -> Self {
        let target = eventually("the browser's page", async || {
            let list = http::try_request(debugger, "GET", "/json/list", &[], "").await.ok()?.json;
            let page = list.as_array()?.iter().find(|tab| tab["type"] == "page")?.clone();
            let url = page["webSocketDebuggerUrl"].as_str()?.to_owned();
            Some(url.split_once(&debugger.to_string())?.1.to_owned())
        })
        .await;
        Self { socket: tokio::sync::Mutex::new(Socket::open(debugger, &target, &[]).await) }
    }

    /// What an expression is in the page.
    async fn evaluate(&self, expression: &str) -> Value {
        let mut socket = self.socket.lock().await;
        let parameters = json!({"expression": expression, "returnByValue": true});
        socket.say(json!({"id": 1, "method": "Runtime.evaluate", "params": parameters}).to_string()).await;
        loop {
            let answer = socket.json().await;
            if answer["id"] == 1 {
                return answer["result"]["result"]["value"].clone();
            }
        }
    }

    async fn until(&self, expression: &str) {
        eventually(expression, async || (self.evaluate(expression).await == true).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_talks_shows_who_and_when_and_comes_back() {
    let setup = Setup::new();
    let folders = std::sync::Arc::clone(&setup.folders);
    // A port that the next router can have as well.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    setup.write_config(&format!("[rooms]\nlisten = \"{port}\"\n"));
    let child = setup.spawn().await;
    let key = room(&child.reach).await;
    let code = endpoint(&child.reach, &key, "r1", "readwrite", "page <b>").await;
    let other = endpoint(&child.reach, &key, "r1", "readwrite", "other").await;
    let mut socket = open(&child.reach, &other).await;

    let debugger = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let browser = chromium(&format!("http://{port}/room/{code}/"))
        .with(format!("--remote-debugging-port={}", debugger.port()))
        .start();
    let tab = Tab::of(debugger).await;
    tab.until("document.getElementById('state').textContent === 'connected'").await;
    socket.say(word("<img src=x> hi")).await;
    socket.json().await;
    tab.until("document.querySelectorAll('#log li').length === 1").await;
    let line = tab.evaluate("document.querySelector('#log li').textContent").await;
    let line = line.as_str().unwrap();
    assert!(line.starts_with("other (") && line.ends_with("): <img src=x> hi"), "{line}");
    assert_eq!(tab.evaluate("document.querySelectorAll('#log img').length").await, 0, "text, no markup");
    let say = "document.getElementById('message').value = 'from the page';
        document.querySelector('#say button').click()";
    tab.evaluate(say).await;
    let came = socket.json().await;
    assert_eq!((&came["message"], &came["identity"]), (&json!("from the page"), &json!("page <b>")));
    tab.until("document.querySelectorAll('#log li').length === 2").await;

    child.kill();
    tab.until("document.getElementById('state').textContent.startsWith('not connected, next try in ')").await;
    let child = setup.spawn().await;
    tab.until("document.getElementById('state').textContent === 'connected'").await;
    let mut socket = open(&child.reach, &other).await;
    socket.say(word("again")).await;
    tab.until("document.querySelector('#log li:last-child').textContent.endsWith('): again')").await;
    drop(browser);
    child.kill();
    drop(folders);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_page_leads_to_a_room() {
    let router = Setup::new().config(|config| config.rooms = Some(Rooms::default())).start().await;
    let key = room(&router).await;
    let code = endpoint(&router, &key, "r1", "read", "reader").await;
    let debugger = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let browser = chromium(&format!("http://{}/main/", router.gateways["rooms"]))
        .with(format!("--remote-debugging-port={}", debugger.port()))
        .start();
    let tab = Tab::of(debugger).await;
    tab.until("document.readyState === 'complete' && document.getElementById('enter') !== null").await;
    let enter = format!(
        "document.getElementById('code').value = '{code}'; document.querySelector('#enter button').click()"
    );
    tab.evaluate(&enter).await;
    tab.until("document.getElementById('state')?.textContent === 'connected'").await;
    let path = tab.evaluate("location.pathname").await;
    assert_eq!(path, format!("/main/room/{code}/"));
    drop(browser);
    router.stop().await;
}
