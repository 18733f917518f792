//! `GET /v1/trace` and `weir trace`: every stage of messages, live, whatever becomes of them.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, Reach, Setup, eventually, weir, within};

/// A trace over the admin listener.
struct Trace {
    body: Incoming,
    rest: Vec<u8>,
    connection: tokio::task::JoinHandle<hyper::Result<()>>,
}

impl Trace {
    /// Err: the refusal's status and words.
    async fn begin(router: &Reach, query: &str) -> Result<Self, (u16, String)> {
        let stream = within("a connection", TcpStream::connect(router.admin)).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = Request::get(format!("/v1/trace?{query}"))
            .header("host", router.admin.to_string())
            .header("authorization", format!("Bearer {}", router.token));
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = within("the trace's head", sender.send_request(request)).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body();
        if status != 200 {
            let bytes = body.collect().await.unwrap().to_bytes();
            let refusal: Value = serde_json::from_slice(&bytes).unwrap();
            return Err((status, refusal["reason"].as_str().unwrap().to_owned()));
        }
        let mut trace = Self { body, rest: Vec::new(), connection };
        assert_eq!(trace.next().await.unwrap()["event"], "tracing");
        Ok(trace)
    }

    /// The next line that says something; none at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.len() > 1 {
                    return Some(serde_json::from_slice(&line).unwrap());
                }
            }
            let frame = within("a line of the trace", self.body.frame()).await?;
            self.rest.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
    }

    async fn message(&mut self) -> Value {
        let line = self.next().await.unwrap();
        assert_eq!(line["event"], "message", "{line}");
        line
    }

    /// Goes away without a word.
    fn hang_up(self) {
        self.connection.abort();
    }
}

/// The outcome, and the plugin of the last step and its verdict, if there is one.
fn last(traced: &Value) -> (&str, &str, &str) {
    let word = |value| Value::as_str(value).unwrap_or_default();
    let step = traced["steps"].as_array().unwrap().last().unwrap_or(&Value::Null);
    (word(&traced["outcome"]), word(&step["plugin"]), word(&step["verdict"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_traced_whatever_becomes_of_them() {
    let setup = Setup::keyed()
        .guest("misbehave")
        .binding("misbehave", "topics = [\"t/dead\"]\non-error = \"dead-letter\"\n")
        .guest("counter")
        .binding("counter", "topics = [\"t/full\"]\n[config]\nlimit = 0\n")
        .guest("reroute")
        .config(|config| config.limits.message_bytes = 1_000);
    let router = setup.start().await;
    let (key, _) = router.key("writer", &["t/#", "u"], &[], "").await;
    let mut writer = router.keyed(&key).await;
    let mut trace = Trace::begin(&router, "pattern=t/%23&per_s=1000").await.unwrap();
    let to = |topic: &str| json!({"to": [topic], "how": "replace"});
    for (topic, data, outcome, plugin, verdict) in [
        ("t/a", json!(1), "accepted", "reroute", "unchanged"),
        ("t/a", to("t/b"), "accepted", "api-key", "allow"),
        ("t/a", to("elsewhere"), "denied", "api-key", "deny"),
        ("t/full", json!(1), "filtered", "counter", "drop"),
        ("t/dead", json!("panic"), "dead-lettered", "misbehave", "trap"),
        ("t/a", json!("x".repeat(1_000)), "too-large", "", ""),
    ] {
        assert_eq!(writer.publish("u", json!(1)).await["outcome"], "accepted", "not traced");
        let answer = writer.publish(topic, data).await;
        assert_eq!(answer["outcome"], outcome, "{answer}");
        let traced = trace.message().await;
        assert_eq!(traced["topic"], topic, "{traced}");
        assert_eq!(last(&traced), (outcome, plugin, verdict), "{traced}");
        assert_eq!((&traced["from"], &traced["gateway"]), (&json!("writer"), &json!("http")), "{traced}");
        assert!(traced["us"].as_f64().unwrap() > 0.0, "{traced}");
        assert!(!traced.to_string().contains("\"payload\":"), "nobody asked for payloads: {traced}");
        if outcome == "accepted" {
            let place = &answer["messages"][0];
            let expected =
                json!([{"topic": place["topic"], "place": [place["log"], place["epoch"], place["offset"]]}]);
            assert_eq!(traced["messages"], expected);
        }
    }
    // Nobody is asked twice; a connection's permission is remembered.
    writer.publish("t/a", json!(1)).await;
    let traced = trace.message().await;
    assert_eq!(traced["steps"][0]["reason"], "remembered", "{traced}");
    assert!(traced["steps"][0].get("us").is_none(), "{traced}");
    // What waits for the disk is traced when it is answered.
    writer.publish_at("logged", "t/a", json!(1)).await;
    assert_eq!(trace.message().await["outcome"], "accepted");
    router.stop().await;
    assert!(trace.next().await.is_none(), "it ends with the router");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_are_shown_as_long_as_each_trace_wants_them() {
    let router = Setup::open().guest("same").start().await;
    let mut client = router.client("ada").await;
    let mut none = Trace::begin(&router, "pattern=a&payload=0").await.unwrap();
    let mut some = Trace::begin(&router, "pattern=a&payload=1").await.unwrap();
    let mut few = Trace::begin(&router, "pattern=a&payload=1&payload_bytes=3").await.unwrap();
    let text = "x".repeat(300);
    client.ask(json!({"action": "publish", "topic": "a", "text": text})).await;
    for (trace, length) in [(&mut none, None), (&mut some, Some(256)), (&mut few, Some(3))] {
        let traced = trace.message().await;
        for seen in [&traced, &traced["steps"][1]["in"], &traced["steps"][1]["out"][0]] {
            assert_eq!(seen["payload"]["text"].as_str().map(str::len), length, "{traced}");
            assert_eq!(seen["bytes"], 300, "{traced}");
        }
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_too_fast_is_counted() {
    let router = Setup::open().start().await;
    let mut client = router.client("ada").await;
    let mut slow = Trace::begin(&router, "pattern=a&per_s=1").await.unwrap();
    let mut sampled = Trace::begin(&router, "pattern=a&per_s=1000&sample=5").await.unwrap();
    let frames = (0..20).map(|n| json!({"action": "publish", "id": n, "topic": "a", "data": n}));
    assert!(client.send_all(frames).await);
    for _ in 0..20 {
        assert_eq!(client.next().await["outcome"], "accepted");
    }
    let (mut shown, mut missed) = (0, 0);
    while shown + missed < 20 {
        let line = slow.next().await.unwrap();
        match line["event"].as_str().unwrap() {
            "message" => shown += 1,
            _ => missed += line["missed"].as_u64().unwrap(),
        }
    }
    assert!(shown >= 1 && missed >= 1 && shown + missed == 20, "{shown} and {missed}");
    for _ in 0..4 {
        sampled.message().await;
    }
    client.publish("a", json!(20)).await;
    router.stop().await;
    assert!(sampled.next().await.is_none(), "of 21 messages every fifth, and none is missed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_traces_run_at_a_time() {
    let router = Setup::open().start().await;
    let mut traces = Vec::new();
    for _ in 0..8 {
        traces.push(Trace::begin(&router, "pattern=%23").await.unwrap());
    }
    let (status, reason) = Trace::begin(&router, "pattern=%23").await.err().unwrap();
    assert_eq!((status, &*reason), (503, "8 traces run already, which is the most at a time: end one first"));
    // One whose watcher has gone makes room, though nobody publishes.
    traces.remove(0).hang_up();
    let ninth =
        eventually("room for another", async || Trace::begin(&router, "pattern=%23").await.ok()).await;
    traces.push(ninth);
    let mut client = router.client("ada").await;
    client.publish("a", json!(1)).await;
    for trace in &mut traces {
        assert_eq!(trace.message().await["topic"], "a");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_is_the_operators_and_says_what_it_accepts() {
    let router = Setup::open().start().await;
    for (query, part) in [
        ("", "missing field `pattern`"),
        ("pattern=a/%23/b", "pattern \"a/#/b\""),
        ("pattern=a&payload=2", "payload 2: 0 to 1 are accepted"),
        ("pattern=a&payload=1&payload_bytes=4097", "payload_bytes 4097: 0 to 4096 are accepted"),
        ("pattern=a&sample=0", "sample 0: 1 to"),
        ("pattern=a&per_s=0", "per_s 0: 1 to 1000 are accepted"),
        ("pattern=a&per_s=1001", "per_s 1001: 1 to 1000 are accepted"),
        ("pattern=a&patern=b", "unknown field `patern`"),
    ] {
        let (status, reason) = Trace::begin(&router, query).await.err().unwrap();
        assert!(status == 400 && reason.contains(part), "{query}: {status} {reason}");
    }
    let anybody = crate::harness::request(router.admin, "GET", "/v1/trace?pattern=a", &[], "").await;
    assert_eq!(anybody.status, 401, "{anybody:?}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_shows_a_block_for_each_message() {
    let router = Setup::open().guest("same").start().await;
    let mut client = router.client("ada").await;
    for json in [false, true] {
        let mut command = weir();
        command.args(["trace", "t/#", "--count", "2", "--payload", "--rate", "1000"]);
        command.args(["--admin", &router.admin.to_string()]).arg("--data").arg(router.folders.data());
        command.args(json.then_some("--json")).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap());
        let begun = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            said.read_line(&mut line).map(|_| (line, said))
        });
        let (line, _said) = within("the trace", begun).await.unwrap().unwrap();
        assert_eq!(line, "tracing t/#; Ctrl-C ends\n");
        for text in ["\u{1b}[31mred\nforged", "second"] {
            client.ask(json!({"action": "publish", "topic": "t/a", "text": text})).await;
        }
        let ended = tokio::task::spawn_blocking(move || {
            let mut out = String::new();
            process.stdout.take().unwrap().read_to_string(&mut out).unwrap();
            (process.wait().unwrap(), out)
        });
        let (status, out) = tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap();
        assert!(status.success(), "{status}: {out}");
        if json {
            let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(lines.len(), 2, "{out}");
            assert_eq!(lines[1]["payload"], json!({"text": "second"}), "{out}");
            continue;
        }
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines.len(), 2 * 6, "{out}");
        assert!(lines[0].ends_with("Z  t/a  from ada over http  15 B"), "{out}");
        assert_eq!(lines[1], "  \\u{1b}[31mred\\nforged", "nothing steers the terminal: {out}");
        assert!(lines[2].starts_with("  auth open@") && lines[2].contains("… allow "), "{out}");
        assert!(lines[3].starts_with("  transform same@") && lines[3].ends_with(" µs 15→15 B t/a"), "{out}");
        assert!(lines[4].starts_with("  = accepted in ") && lines[4].contains(": t/a at default:"), "{out}");
        assert_eq!(lines[5], "", "{out}");
    }
    router.stop().await;
}
