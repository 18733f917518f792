//! `docs/protocol.md` says what is true.

use serde_json::Value;

use crate::harness::Setup;

const PAGE: &str = include_str!("../../../../docs/protocol.md");

/// What comes back: the status, if it is an HTTP answer, and the JSON.
type Back = (Option<u16>, Value);

/// `"*"` in what is expected stands for any value.
fn same(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::String(any), _) if any == "*" => true,
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|found| same(value, found)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (a, b) => a == b,
    }
}

/// What is sent, and what comes back in any order.
fn steps() -> Vec<(&'static str, Vec<Back>)> {
    let (_, session) = PAGE.split_once("```session\n").unwrap();
    let (session, _) = session.split_once("```").unwrap();
    let mut steps: Vec<(&str, Vec<Back>)> = Vec::new();
    for line in session.lines() {
        match line.split_at(2) {
            ("> ", sent) => steps.push((sent, Vec::new())),
            ("< ", back) => steps.last_mut().unwrap().1.push(expectation(back)),
            _ => panic!("{line}"),
        }
    }
    steps
}

/// `201 {...}` or `{...}`.
fn expectation(line: &str) -> Back {
    let status = line.split_once(' ').and_then(|(status, body)| Some((status.parse().ok()?, body)));
    let (status, body) = status.map_or((None, line), |(status, body)| (Some(status), body));
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {line}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worked_session_is_true() {
    let router = Setup::open().start().await;
    let mut client = router.client("anybody").await;
    let steps = steps();
    assert!(steps.len() > 15, "{} steps", steps.len());
    for (sent, mut expected) in steps {
        let mut found: Vec<Back> = Vec::new();
        let parts: Vec<_> = sent.splitn(3, ' ').collect();
        match parts[..] {
            [method @ ("GET" | "POST"), path, ref body @ ..] => {
                let body = body.first().copied().unwrap_or_default();
                let answer = router.http(method, path, &[], body).await;
                found.push((Some(answer.status), answer.json));
            }
            _ => assert!(client.send_text(sent.to_owned()).await),
        }
        while found.len() < expected.len() {
            found.push((None, client.next().await));
        }
        for (status, value) in found {
            let at = expected.iter().position(|(s, e)| *s == status && same(e, &value));
            let at =
                at.unwrap_or_else(|| panic!("{sent}\n  came: {status:?} {value}\n  expected: {expected:?}"));
            expected.remove(at);
        }
    }
    assert!(client.drain().await.is_empty(), "something else came");
    router.stop().await;
}

#[test]
fn all_json_on_the_page_is_json() {
    let blocks = PAGE.split("```json\n").skip(1).map(|block| block.split("```").next().unwrap());
    let lines: Vec<_> = blocks.flat_map(str::lines).collect();
    assert!(lines.len() > 10, "{} lines", lines.len());
    for line in lines {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}
