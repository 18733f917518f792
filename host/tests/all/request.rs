//! Requests and their replies.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Client, Reach, Setup, eventually, weir, within};

fn outcome(answer: &Value) -> &str {
    answer["outcome"].as_str().unwrap_or_default()
}

async fn responder(router: &Reach) -> Client {
    let mut calc = router.client("calc").await;
    calc.subscribe("svc/#").await;
    calc
}

/// The next request's reply topic.
async fn asked(calc: &mut Client) -> String {
    let request = calc.message().await;
    let topic = request["reply_to"].as_str().unwrap_or_else(|| panic!("{request}"));
    assert!(topic.starts_with("$reply/") && topic.len() >= "$reply/".len() + 22, "{topic}");
    topic.to_owned()
}

async fn until_waiting(router: &Reach, wanted: f64) {
    let what = format!("{wanted} requests wait");
    let look = async || (router.metric("weir_requests_waiting").await == wanted).then_some(());
    eventually(&what, look).await;
}

const REQUEST: &str = r#"{"topic":"svc/add","data":[1,2],"timeout_ms":60000}"#;

fn request(id: impl Into<Value>) -> Value {
    json!({"action": "request", "id": id.into(), "topic": "svc/add", "data": [1, 2], "timeout_ms": 60_000})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_reply_is_the_answer_and_nobody_else_sees_it() {
    let router = Setup::open().start().await;
    let mut calc = responder(&router).await;
    let (mut page, mut reader) = (router.client("page").await, router.client("reader").await);
    reader.subscribe("#").await;
    for topic in ["$reply/#", "$reply/+"] {
        let denied = reader.ask(json!({"action": "subscribe", "topic": topic})).await;
        assert_eq!(outcome(&denied), "denied", "{denied}");
    }
    assert!(page.send(&request(9)).await);
    let reply_to = asked(&mut calc).await;
    // What is behind the request does not wait for its reply.
    assert_eq!(page.ask(json!({"action": "ping"})).await["ok"], true);
    let reply = json!({"action": "publish", "topic": reply_to, "data": {"sum": 3}, "level": "logged",
                       "headers": {"from": "admin"}});
    let told = calc.ask(reply.clone()).await;
    let messages = json!([{"topic": reply_to}]);
    assert_eq!(
        (outcome(&told), &told["level"], &told["messages"]),
        ("accepted", &json!("routed"), &messages)
    );
    assert!(told["note"].as_str().unwrap().contains("not logged"), "{told}");
    let answer = page.next().await;
    assert_eq!((&answer["id"], &answer["ok"], outcome(&answer)), (&json!(9), &json!(true), "accepted"));
    let inner = &answer["reply"];
    assert_eq!((&inner["topic"], &inner["from"]), (&json!(reply_to), &json!("calc")), "{answer}");
    assert_eq!((&inner["data"], &inner["content_type"]), (&json!({"sum": 3}), &json!("application/json")));
    assert!(inner["time_us"].as_u64().unwrap() > 0 && inner.get("offset").is_none(), "{answer}");
    let late = calc.ask(reply).await;
    assert_eq!((outcome(&late), &late["reason"]), ("denied", &json!("nobody waits for this reply")));
    assert_eq!(outcome(&calc.publish_at("logged", "end", json!(0)).await), "accepted");
    assert_eq!(reader.message().await["reply_to"], reply_to);
    assert_eq!(reader.message().await["topic"], "end", "the reply went nowhere else");
    let logged: Vec<_> = reader.history("#").await.iter().map(|message| message["topic"].clone()).collect();
    assert_eq!(logged, ["svc/add", "end"]);
    assert_eq!(router.metric("weir_requests_waiting").await, 0.0);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_asks_and_http_replies() {
    let router = Setup::open().start().await;
    let mut calc = responder(&router).await;
    let reach = router.reach.clone();
    let page = tokio::spawn(async move { reach.http("POST", "/v1/request", &[], REQUEST).await });
    let reply_to = asked(&mut calc).await;
    let path = format!("/v1/publish?topic={reply_to}&client_id=calc");
    let told = router.http("POST", &path, &[("content-type", "text/plain")], "three").await;
    assert_eq!((told.status, &told.json["messages"]), (201, &json!([{"topic": reply_to}])), "{told:?}");
    let answer = page.await.unwrap();
    assert_eq!((answer.status, outcome(&answer.json)), (200, "accepted"), "{answer:?}");
    let inner = &answer.json["reply"];
    assert_eq!((&inner["text"], &inner["from"]), (&json!("three"), &json!("calc")), "{answer:?}");
    let late = router.http("POST", &path, &[], "four").await;
    assert_eq!((late.status, outcome(&late.json)), (403, "denied"), "{late:?}");

    let brief = r#"{"topic":"svc/add","data":1,"timeout_ms":1}"#;
    let unanswered = router.http("POST", "/v1/request", &[], brief).await;
    assert_eq!((unanswered.status, outcome(&unanswered.json)), (504, "unanswered"), "{unanswered:?}");
    assert_eq!(unanswered.json["reason"], "nobody replied within 1 ms");
    let refused = router.http("POST", "/v1/request", &[], r#"{"topic":"$x","data":1}"#).await;
    assert_eq!((refused.status, outcome(&refused.json)), (403, "denied"), "{refused:?}");
    for (path, body) in [
        ("/v1/request", "[]"),
        ("/v1/request", r#"{"topic":"a","data":1,"level":"logged"}"#),
        ("/v1/request", r#"{"topic":"a","data":1,"reply_to":"b"}"#),
        ("/v1/request", r#"{"topic":"a","data":1,"timeout_ms":0}"#),
        ("/v1/request", r#"{"topic":"a","data":1,"timeout_ms":60001}"#),
        ("/v1/request?topic=a", r#"{"topic":"a","data":1}"#),
    ] {
        let refused = router.http("POST", path, &[], body).await;
        assert_eq!((refused.status, outcome(&refused.json)), (400, "invalid"), "{body}: {refused:?}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_comes_too_late_is_denied() {
    let router = Setup::open().start().await;
    let mut calc = responder(&router).await;
    let mut page = router.client("page").await;
    let mut brief = request("brief");
    brief["timeout_ms"] = json!(1);
    let answer = page.ask(brief).await;
    assert_eq!((&answer["ok"], outcome(&answer)), (&json!(false), "unanswered"), "{answer}");
    assert_eq!(answer["reason"], "nobody replied within 1 ms");
    let reply_to = asked(&mut calc).await;
    assert_eq!(outcome(&calc.publish(&reply_to, json!(3)).await), "denied");
    assert!(page.drain().await.is_empty());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_accepted_is_said_at_once() {
    let dedupe = "plugin = \"stock:dedupe\"\ntopics = [\"svc/add\"]\n[config]\nby = \"payload\"\n";
    let setup = Setup::open().binding("dedupe", dedupe);
    let router = setup.config(|config| config.limits.message_bytes = 100).start().await;
    let mut page = router.client("page").await;
    assert_eq!(outcome(&page.publish("svc/add", json!([1, 2])).await), "accepted");
    // Each would wait for a minute otherwise.
    for (topic, data, expected) in [
        ("svc/add", json!([1, 2]), "filtered"),
        ("$SYS/a", json!(1), "denied"),
        ("$reply/a", json!(1), "denied"),
        ("a/+", json!(1), "invalid"),
        ("a", json!("x".repeat(100)), "too-large"),
    ] {
        let frame = json!({"action": "request", "topic": topic, "data": data, "timeout_ms": 60_000});
        let answer = page.ask(frame).await;
        assert_eq!(outcome(&answer), expected, "{topic}: {answer}");
    }
    assert!(page.send(&json!({"action": "request", "topic": "a", "data": 1})).await);
    let error = page.event("error").await;
    assert!(error["reason"].as_str().unwrap().starts_with("`id` is missing"), "{error}");
    assert_eq!(router.metric("weir_requests_waiting").await, 0.0);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_replies_without_the_token_or_listens_with_it() {
    let config = "[config]\npresence = true\n";
    let router = Setup::new().guest("doorman").binding("doorman", config).start().await;
    let mut calc = responder(&router).await;
    let (mut page, mut thief) = (router.client("page").await, router.client("thief").await);
    thief.subscribe("$reply/#").await;
    assert!(page.send(&request(1)).await);
    let reply_to = asked(&mut calc).await;
    thief.subscribe(&reply_to).await;
    let other = format!("{}A", reply_to.get(..reply_to.len() - 1).unwrap());
    let forged = ["$reply/", "$reply/x", "$reply/AAAAAAAAAAAAAAAAAAAAAA", "$reply/a/b", other.as_str()];
    for topic in forged.into_iter().filter(|topic| *topic != reply_to) {
        let denied = thief.publish(topic, json!("forged")).await;
        assert_eq!(outcome(&denied), "denied", "{topic}: {denied}");
    }
    let denied = thief.publish("$other", json!(1)).await;
    assert_eq!(outcome(&denied), "denied", "whatever an auth plugin allows: {denied}");
    for (key, value) in [("retain", json!(true)), ("reply_to", json!("$reply/mine"))] {
        let mut frame = json!({"action": "publish", "topic": reply_to, "data": 1});
        frame[key] = value;
        assert_eq!(outcome(&calc.ask(frame).await), "invalid", "{key}");
    }
    assert_eq!(outcome(&calc.publish(&reply_to, json!("true")).await), "accepted");
    assert_eq!(page.next().await["reply"]["data"], "true");
    assert!(thief.drain().await.is_empty());
    // A topic of one's own to reply to is anybody's to give.
    let own = json!({"action": "publish", "topic": "svc/own", "data": 1, "reply_to": "answers/page"});
    assert_eq!(outcome(&page.ask(own.clone()).await), "accepted");
    assert_eq!(calc.message().await["reply_to"], "answers/page");
    for bad in ["$reply/AAAAAAAAAAAAAAAAAAAAAA", "$SYS/a", "a/+"] {
        let mut frame = own.clone();
        frame["reply_to"] = json!(bad);
        assert_eq!(outcome(&page.ask(frame).await), "invalid", "{bad}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_is_admitted_like_any_message() {
    let setup = Setup::open().config(|config| {
        config.limits.message_bytes = 100;
        config.limits.publishes_per_s = 2;
    });
    let router = setup.start().await;
    let mut calc = responder(&router).await;
    let mut page = router.client("page").await;
    assert!(page.send(&request(1)).await);
    let reply_to = asked(&mut calc).await;
    let large = calc.publish(&reply_to, json!("x".repeat(100))).await;
    assert_eq!(outcome(&large), "too-large", "{large}");
    let mut guesser = router.client("guesser").await;
    let guess = |id| json!({"action": "publish", "id": id, "topic": "$reply/x", "data": 1});
    assert!(guesser.send_all((0..50).map(guess)).await);
    let mut limited = 0;
    for _ in 0..50 {
        match outcome(&guesser.next().await) {
            "denied" => {}
            "rate-limited" => limited += 1,
            other => panic!("{other}"),
        }
    }
    assert!(limited > 0, "50 at once, where 2 in a second are accepted");
    assert_eq!(
        outcome(&calc.publish(&reply_to, json!(3)).await),
        "accepted",
        "the refused one did not use it up"
    );
    assert_eq!(page.next().await["reply"]["data"], 3);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_requests_of_a_connection_may_wait() {
    let router = Setup::open().start().await;
    let mut calc = responder(&router).await;
    let (mut page, mut other) = (router.client("page").await, router.client("page").await);
    assert!(page.send_all((0..257).map(request)).await);
    let refused = page.next().await;
    assert_eq!((&refused["id"], outcome(&refused)), (&json!(256), "overloaded"), "{refused}");
    let reason = "256 requests of this connection wait for their reply: at most 256 may";
    assert_eq!(refused["reason"], reason);
    assert_eq!(router.metric("weir_requests_waiting").await, 256.0);
    // Nobody else suffers, and each that is answered makes room.
    assert!(other.send(&request("other")).await);
    for id in 0..256 {
        let reply_to = asked(&mut calc).await;
        assert_eq!(outcome(&calc.publish(&reply_to, json!(id)).await), "accepted");
        let answer = page.next().await;
        assert_eq!((&answer["id"], &answer["reply"]["data"]), (&json!(id), &json!(id)), "{answer}");
    }
    let last = asked(&mut calc).await;
    assert_eq!(outcome(&calc.publish(&last, json!(3)).await), "accepted");
    assert_eq!(other.next().await["reply"]["data"], 3);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_leave_room_for_other_answers() {
    let router = Setup::open().config(|config| config.limits.queue_messages = 16).start().await;
    let mut page = router.client("page").await;
    assert!(page.send_all((0..5).map(request)).await);
    assert_eq!(outcome(&page.next().await), "overloaded", "the fifth of four");
    for n in 0..20 {
        assert_eq!(outcome(&page.publish("a", json!(n)).await), "accepted");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_gone_waits_no_more() {
    let router = Setup::keyed().start().await;
    let (key, id) = router.key("page", &["svc/#"], &[], "").await;
    let (all, _) = router.key("calc", &[], &["#"], "").await;
    let mut calc = router.keyed(&all).await;
    calc.subscribe("svc/#").await;
    // A WebSocket that is cut.
    let mut page = router.keyed(&key).await;
    assert!(page.send(&request(1)).await);
    let cut = asked(&mut calc).await;
    drop(page);
    until_waiting(&router, 0.0).await;
    // An HTTP client whose connection breaks. One that only closes may have half-closed: it waits for its timeout.
    let mut stream = within("a connection", TcpStream::connect(router.http)).await.unwrap();
    let (key_line, length) = (format!("x-api-key: {key}"), REQUEST.len());
    let head =
        format!("POST /v1/request HTTP/1.1\r\nhost: a\r\n{key_line}\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{REQUEST}").as_bytes()).await.unwrap();
    let hung_up = asked(&mut calc).await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    until_waiting(&router, 0.0).await;
    // A key that is revoked.
    let mut page = router.keyed(&key).await;
    assert!(page.send(&request(1)).await);
    let revoked = asked(&mut calc).await;
    router.admin("DELETE", &format!("/v1/keys/{id}"), "").await;
    for topic in [cut, hung_up, revoked] {
        let denied = calc.publish(&topic, json!("secret")).await;
        assert_eq!(outcome(&denied), "denied", "{denied}");
    }
    assert_eq!(page.closed().await, (1008, "key revoked".to_owned()));
    until_waiting(&router, 0.0).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_router_answers_what_waits() {
    let router = Setup::open().start().await;
    let mut calc = responder(&router).await;
    let mut page = router.client("page").await;
    assert!(page.send(&request(1)).await);
    asked(&mut calc).await;
    let reach = router.reach.clone();
    let http = tokio::spawn(async move { reach.http("POST", "/v1/request", &[], REQUEST).await });
    asked(&mut calc).await;
    router.begin_stop();
    let answer = page.next().await;
    assert_eq!((&answer["id"], outcome(&answer)), (&json!(1), "shutting-down"), "{answer}");
    assert!(answer["reason"].as_str().unwrap().contains("nobody has replied so far"), "{answer}");
    assert_eq!(page.closed().await.0, 1001);
    let answer = http.await.unwrap();
    assert_eq!((answer.status, outcome(&answer.json)), (503, "shutting-down"), "{answer:?}");
    router.stop().await;
}

/// Exit code, standard output and standard error of `weir request svc/add [1,2] MORE`.
async fn command(router: &Reach, more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = weir();
    command.args(["request", "svc/add", "[1,2]", "--url", &format!("ws://{}", router.http)]).args(more);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_prints_the_reply() {
    let router = Setup::open().start().await;
    let mut calc = responder(&router).await;
    let reach = router.reach.clone();
    let asking = tokio::spawn(async move { command(&reach, &["--timeout", "60s"]).await });
    let reply_to = asked(&mut calc).await;
    calc.publish(&reply_to, json!({"sum": 3})).await;
    assert_eq!(asking.await.unwrap(), (Some(0), "{\"sum\":3}\n".into(), String::new()));
    let (code, out, error) = command(&router, &["--timeout", "1ms"]).await;
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(error.contains("unanswered: nobody replied within 1 ms"), "{error}");
    router.stop().await;
}
