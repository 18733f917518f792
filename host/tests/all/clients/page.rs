//! A page in a real browser, which uses the ES module and misses nothing through ten restarts of the router.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::program::{chromium, clients};
use super::stage::Stage;
use crate::harness::{Client, Setup, eventually, within};

const RESTARTS: usize = 10;
/// Numbers that the page must see before the router is ended again.
const BETWEEN: usize = 50;
/// Numbers that wait for their answer at the same time.
const WINDOW: u64 = 16;

/// What the page has told of itself.
#[derive(Default)]
struct Told {
    seen: Vec<u64>,
    opened: u64,
    failures: Vec<Value>,
}

type Report = Arc<Mutex<Told>>;

/// Serves the page and the module, and takes the page's reports.
async fn serve_page(listener: TcpListener, router: SocketAddr, report: Report) {
    let read = |name: &str| std::fs::read_to_string(clients().join(name)).expect("a file of clients/");
    let page = read("test/page.html").replace("ROUTER", &format!("ws://{router}"));
    let (html, script) = ((CONTENT_TYPE, "text/html"), (CONTENT_TYPE, "text/javascript"));
    let module = read("weir.js");
    let site = axum::Router::new()
        .route("/", get(async || ([html], page)))
        .route("/weir.js", get(async || ([script], module)))
        .route("/report", post(take_report))
        .with_state(report);
    #[expect(clippy::disallowed_methods, reason = "nobody but our own browser calls it")]
    axum::serve(listener, site).await.expect("the page's server goes on");
}

async fn take_report(State(report): State<Report>, Json(told): Json<Value>) {
    let mut report = report.lock().expect("not poisoned");
    let array = |key: &str| told[key].as_array().cloned().unwrap_or_default();
    report.seen.extend(array("seen").iter().filter_map(Value::as_u64));
    report.failures.extend(array("failures"));
    report.opened = told["opened"].as_u64().unwrap_or_default().max(report.opened);
}

/// Publishes numbers from 0 on until it is told to stop; what got no answer is sent again with the same id.
/// Returns how many the router has accepted, which are all that it was given.
async fn publish_numbers(router: SocketAddr, stop: watch::Receiver<bool>) -> u64 {
    let mut open: Vec<u64> = Vec::new();
    let mut next = 0;
    loop {
        let Ok(mut client) = Client::try_connect(router, "?client_id=counter", &[]).await else {
            tokio::time::sleep(crate::harness::LOOK).await;
            continue;
        };
        loop {
            if open.is_empty() {
                if *stop.borrow() {
                    return next;
                }
                open.extend(next..next + WINDOW);
                next += WINDOW;
            }
            let frame = |n: &u64| json!({"action": "publish", "id": n, "topic": "page/numbers", "data": n, "message_id": n.to_string(), "level": "logged"});
            let mut connected = client.send_all(open.iter().map(frame)).await;
            let mut answers = open.len();
            while connected && answers > 0 {
                match client.try_next().await {
                    Some(answer) if answer["outcome"] == "accepted" => {
                        open.retain(|n| answer["id"] != *n);
                        answers -= 1;
                    }
                    Some(answer) => {
                        assert_eq!(answer["outcome"], "shutting-down", "{answer}");
                        answers -= 1;
                    }
                    None => connected = false,
                }
            }
            if !open.is_empty() {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_misses_nothing_through_ten_restarts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let site = format!("http://{}", listener.local_addr().expect("its address"));
    let mut stage = Stage::new(Setup::open(), &format!("origins = [\"{site}\"]")).await;
    let report = Report::default();
    let server = tokio::spawn(serve_page(listener, stage.address(), Arc::clone(&report)));
    let browser = chromium(&site).start();
    let told = || report.lock().expect("not poisoned");
    let what = "the page has subscribed";
    eventually(what, async || (told().opened > 0).then_some(())).await;
    let (stop, stopped) = watch::channel(false);
    let publisher = tokio::spawn(publish_numbers(stage.address(), stopped));
    for restart in 0..RESTARTS {
        let before = told().seen.len();
        let what = format!("the page sees more, after {restart} restarts: {}", browser.output());
        eventually(&what, async || (told().seen.len() >= before + BETWEEN).then_some(())).await;
        if restart % 2 == 0 {
            stage.kill();
        } else {
            stage.stop().await;
        }
        stage.up().await;
    }
    let before = told().seen.len();
    eventually("the page sees more", async || (told().seen.len() >= before + BETWEEN).then_some(())).await;
    stop.send(true).expect("the publisher listens");
    let published = within("the publisher's end", publisher).await.expect("it did not panic");
    eventually("the page sees the last number", async || {
        (told().seen.last() >= Some(&(published - 1))).then_some(())
    })
    .await;
    let told = told();
    assert_eq!(told.failures, Vec::<Value>::new());
    assert!(told.opened as usize > RESTARTS, "it connected {} times", told.opened);
    let expected: Vec<u64> = (0..published).collect();
    let wrong = told.seen.iter().zip(&expected).position(|(seen, expected)| seen != expected);
    let around = wrong.map(|at| &told.seen[at.saturating_sub(3)..(at + 5).min(told.seen.len())]);
    assert_eq!(around, None, "each number once, in order");
    assert_eq!(told.seen.len(), expected.len());
    server.abort();
}
