//! What each policy makes of each way in which a plugin does not keep a message: it says no, or it fails.

use serde_json::json;

use crate::harness::{Router, Setup, eventually};

/// The guest `misbehave` under each policy, on a topic of the policy's name.
pub const POLICIES: &str = "\
[[binding]]\nname = \"deny\"\ntopics = [\"deny\"]\non-error = \"deny\"\n
[[binding]]\nname = \"pass\"\ntopics = [\"pass\"]\non-error = \"pass\"\n
[[binding]]\nname = \"drop\"\ntopics = [\"drop\"]\non-error = \"drop\"\n
[[binding]]\nname = \"dead-letter\"\ntopics = [\"dead-letter\"]\non-error = \"dead-letter\"\n
[[binding]]\nname = \"disconnect\"\ntopics = [\"disconnect\"]\non-error = \"disconnect\"\n";

/// Outcomes under deny, pass, drop, dead-letter, disconnect.
const FAILED: [&str; 5] = ["plugin-failed", "accepted", "filtered", "dead-lettered", "plugin-failed"];

/// What the plugin does, how its calls are counted, what comes of it.
const TABLE: [(&str, &str, &str, [&str; 5]); 5] = [
    ("keeps", "fine", "keep", ["accepted"; 5]),
    // Its own decision: no policy has a say in it.
    ("said no", "no", "drop", ["filtered"; 5]),
    ("trap", "panic", "trap", FAILED),
    ("timeout", "loop", "timeout", FAILED),
    ("memory", "allocate", "trap", FAILED),
];

/// Publishes on the topic of each policy and checks what comes of it.
async fn check(router: &Router, case: &str, payload: &str, outcomes: [&str; 5]) {
    for (topic, outcome) in ["deny", "pass", "drop", "dead-letter", "disconnect"].into_iter().zip(outcomes) {
        let mut client = router.client("writer").await;
        let mut reader = router.client("reader").await;
        reader.subscribe(topic).await;
        let answer = client.publish(topic, json!(payload)).await;
        assert_eq!(answer["outcome"], outcome, "{case} under {topic}: {answer}");
        if outcome == "plugin-failed" {
            let reason = answer["reason"].as_str().unwrap();
            assert!(reason.contains(topic), "it names the plugin: {answer}");
            assert!(!reason.contains("misbehave panics"), "its words are the operator's: {answer}");
        }
        if (topic, outcome) == ("disconnect", "plugin-failed") {
            let (code, reason) = client.closed().await;
            assert!(code == 1011 && reason.contains("disconnect"), "{case}: {code} {reason}");
        }
        let heard = reader.drain().await.len();
        assert_eq!(heard, usize::from(outcome == "accepted"), "{case} under {topic}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_policy_has_its_outcome_for_every_failure() {
    let router = Setup::open().guest("misbehave").binding("misbehave", POLICIES).start().await;
    for (case, payload, end, outcomes) in TABLE {
        check(&router, case, payload, outcomes).await;
        for plugin in ["deny", "pass", "drop", "dead-letter", "disconnect"] {
            let calls = router.calls(plugin, end).await;
            assert!(calls > 0, "{case} of {plugin} is counted as {end}");
        }
    }
    let letters = eventually("three dead letters are on the disk", async || {
        let letters = router.admin("GET", "/v1/dead", "").await.json["dead"].clone();
        Some(letters).filter(|letters| letters.as_array().is_some_and(|all| all.len() == 3))
    });
    let letters = letters.await.to_string();
    for part in
        ["memory allocation of", "took longer than", "misbehave panics on dead-letter", "[in function"]
    {
        assert!(letters.contains(part), "{part} in {letters}");
    }
    // The component is gone and its bindings still ask for it: until the restart the old one serves.
    let folders = router.stop().await;
    folders.remove("misbehave.wasm");
    let router = Setup::over(&folders).start().await;
    check(&router, "missing file", "fine", FAILED).await;
    router.stop().await;
}
