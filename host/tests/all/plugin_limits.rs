//! Every limit of a plugin has its effect, is named in the error, and is shown with its use.

use serde_json::{Value, json};

use crate::harness::{Client, Router, Setup, eventually};

/// A guest under one limit, as the binding of this name and for the topic of this name.
fn limited(name: &str, limit: &str) -> String {
    format!(
        "[[binding]]\nname = \"{name}\"\ntopics = [\"{name}\"]\non-error = \"dead-letter\"\n\
         [binding.limits]\n{limit}\n"
    )
}

async fn hits(router: &Router, plugin: &str, limit: &str) -> f64 {
    router.sample("weir_plugin_limit_hits_total", &[("plugin", plugin), ("limit", limit)]).await
}

async fn used(router: &Router, plugin: &str, limit: &str) -> f64 {
    router.sample("weir_plugin_limit_used", &[("plugin", plugin), ("limit", limit)]).await
}

/// The message becomes a dead letter, for this reason.
async fn refused(router: &Router, client: &mut Client, topic: &str, data: Value, said: &str) {
    let answer = client.publish(topic, data).await;
    assert_eq!(answer["outcome"], "dead-lettered", "{topic}: {answer}");
    let newest = async || {
        let letters = router.admin("GET", "/v1/dead", "").await.json;
        letters["dead"].as_array()?.iter().find(|letter| letter["topic"] == topic).cloned()
    };
    let letter = eventually("the dead letter", newest).await;
    let reason = letter["reason"].as_str().unwrap();
    assert!(reason.contains(said), "{topic}: {said:?} in {reason:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_over_a_limit_fails_in_its_name_and_is_counted() {
    let cases = [
        ("memory", "memory_bytes = '8MiB'", "allocate", "limit 8388608 (plugin.memory_bytes)", 2.0),
        ("stack", "stack_bytes = '32KiB'", "recurse", "more than 32768 bytes (plugin.stack_bytes)", 2.0),
        ("hostcall", "hostcall_bytes = '1MiB'", "flood", "more than 1048576 bytes to the host", 2.0),
        ("output", "output_bytes = '1MiB'", "flood", "6291456 bytes: at most 1048576 are accepted", 2.0),
        ("time", "deadline = '30ms'", "loop", "took longer than 30 ms", 1.0),
    ];
    let keys = ["memory_bytes", "stack_bytes", "hostcall_bytes", "output_bytes", "deadline"];
    let bindings: String = cases.iter().map(|(name, limit, ..)| limited(name, limit)).collect();
    let router = Setup::open().guest("misbehave").binding("misbehave", &bindings).start().await;
    let mut client = router.client("writer").await;
    for ((name, _, what, said, times), key) in cases.into_iter().zip(keys) {
        refused(&router, &mut client, name, json!(what), said).await;
        // An allocator may ask again, for less.
        let hits_of_it = hits(&router, name, key).await;
        assert!(hits_of_it == times || (name == "memory" && hits_of_it > times), "{name}: {hits_of_it}");
        assert_eq!(client.publish(name, json!("fine")).await["outcome"], "accepted", "after {what}");
        for other in keys.into_iter().filter(|other| *other != key && *other != "deadline") {
            assert_eq!(hits(&router, name, other).await, 0.0, "{name} {other}");
        }
    }
    let limit = router.sample("weir_plugin_limit", &[("plugin", "memory"), ("limit", "memory_bytes")]).await;
    assert_eq!(limit, 8_388_608.0);
    let limit = router.sample("weir_plugin_limit", &[("plugin", "time"), ("limit", "deadline")]).await;
    assert!((limit - 0.03).abs() < 1e-9, "{limit}");
    let taken = used(&router, "memory", "memory_bytes").await;
    assert!(taken > 65_536.0 && taken <= 8_388_608.0, "{taken}");
    assert_eq!(used(&router, "output", "output_bytes").await, 6_291_456.0);
    for key in ["table_elements", "file_bytes", "deadline", "init_deadline"] {
        assert!(used(&router, "memory", key).await > 0.0, "{key}");
    }
    let ends = [("plugin", "memory"), ("end", "memory")];
    assert_eq!(router.sample("weir_plugin_calls_total", &ends).await, 2.0, "no trap like others");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_log_lines_and_state_are_limited_by_the_binding() {
    let setup = Setup::open()
        .guest("reroute")
        .binding("reroute", &limited("many", "output_messages = 2"))
        .guest("misbehave")
        .binding("misbehave", &limited("chatter", "log_lines_per_s = 5"))
        .guest("counter")
        .binding(
            "counter",
            &format!(
                "{}[binding.config]\nlimit = 100\n{}[binding.config]\nlimit = 100\n",
                limited("poor", "state_bytes = 8"),
                limited("rich", "state_bytes = 9")
            ),
        );
    let router = setup.start().await;
    let mut client = router.client("writer").await;
    let order = |to: Value| json!({"to": to, "how": "replace"});
    assert_eq!(client.publish("many", order(json!(["a", "b"]))).await["outcome"], "accepted");
    let said = "3 messages: at most 2 are accepted (plugin.output_messages)";
    refused(&router, &mut client, "many", order(json!(["a", "b", "c"])), said).await;
    assert_eq!(
        (used(&router, "many", "output_messages").await, hits(&router, "many", "output_messages").await),
        (3.0, 2.0)
    );

    assert_eq!(client.publish("chatter", json!("chatter")).await["outcome"], "accepted");
    let lines = used(&router, "chatter", "log_lines_per_s").await;
    assert!(lines > 0.0 && lines <= 5.0, "{lines}");
    assert!(hits(&router, "chatter", "log_lines_per_s").await > 0.0);

    // One key of one byte, and a number of eight.
    refused(&router, &mut client, "poor", json!(1), "quota").await;
    assert!(hits(&router, "poor", "state_bytes").await > 0.0);
    assert_eq!(client.publish("rich", json!(1)).await["outcome"], "accepted");
    assert_eq!(client.publish("rich", json!(2)).await["outcome"], "accepted");
    assert_eq!(used(&router, "rich", "state_bytes").await, 9.0);
    assert_eq!(hits(&router, "rich", "state_bytes").await, 0.0);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_plugin_has_its_own_time_and_the_same_output() {
    let limits = "[limits]\nstore_deadline = '50ms'\noutput_bytes = 200\n";
    let router = Setup::open().guest("oracle").binding("oracle", limits).start().await;
    let ask =
        async |topic: &str| router.http("GET", &format!("/v1/query/oracle?topic={topic}"), &[], "").await;
    let answer = ask("endless").await;
    assert!(answer.status >= 500, "{}", answer.text);
    assert_eq!(hits(&router, "oracle", "store_deadline").await, 1.0);
    assert_eq!(ask("short").await.status, 200);
    let answer = ask(&"long".repeat(60)).await;
    assert!(answer.status >= 500, "{}", answer.text);
    assert_eq!(hits(&router, "oracle", "output_bytes").await, 1.0);
    assert_eq!(ask("short").await.status, 200);
    assert!(used(&router, "oracle", "store_deadline").await > 0.0);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_a_limit_when_it_is_loaded_does_not_go_live() {
    let cases = [
        ("file", "file_bytes = 1000", "at most 1000 are accepted (plugin.file_bytes)", ""),
        ("memory", "memory_bytes = '64KiB'", "limit 65536 (plugin.memory_bytes)", "memory_bytes"),
        ("table", "table_elements = 1", "limit 1 (plugin.table_elements)", "table_elements"),
        ("init", "init_deadline = '50ms'", "init failed: took longer than 50 ms", "init_deadline"),
    ];
    let bindings: String = cases
        .iter()
        .map(|(name, limit, ..)| limited(name, limit) + "[binding.config]\ninit = \"loop\"\n")
        .collect();
    let router = Setup::open().guest("waits").binding("waits", &bindings).start().await;
    for (name, _, said, key) in cases {
        let listed = router.plugin(name).await;
        let reason = listed["reason"].as_str().unwrap_or_default();
        assert!(listed["state"] == "failed" && reason.contains(said), "{name}: {listed}");
        assert!(key.is_empty() || hits(&router, name, key).await > 0.0, "{name}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_limit_of_a_binding_goes_over_the_operators_ceiling() {
    let over = [
        ("deadline", "'2s'"),
        ("init_deadline", "'61s'"),
        ("store_deadline", "'61s'"),
        ("memory_bytes", "'513MiB'"),
        ("table_elements", "1000001"),
        ("stack_bytes", "'2MiB'"),
        ("hostcall_bytes", "'65MiB'"),
        ("file_bytes", "'65MiB'"),
        ("output_bytes", "'17MiB'"),
        ("output_messages", "10001"),
        ("state_bytes", "'1025MiB'"),
        ("log_lines_per_s", "10001"),
    ];
    let name = |key: &str| key.replace('_', "-");
    let bindings: String =
        over.iter().map(|(key, value)| limited(&name(key), &format!("{key} = {value}"))).collect();
    let router = Setup::open().guest("keep").binding("keep", &bindings).start().await;
    for (key, _) in over {
        let listed = router.plugin(&name(key)).await;
        let reason = listed["reason"].as_str().unwrap_or_default();
        let both = [format!("limits.{key} = "), format!("plugin_ceiling.{key} in weir.toml")];
        assert!(both.iter().all(|part| reason.contains(part)), "{listed}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_waits_inside_the_host_is_stopped_as_one_that_loops() {
    let ways = [
        ("sleep", "plugins cannot wait"),
        ("clock", "plugins cannot wait"),
        ("poll", "plugins cannot wait"),
        ("poll nothing", "empty poll list"),
        // Nothing to wait for: they come back at once, until the time is over.
        ("poll ready", "took longer"),
        ("block", "took longer"),
        ("poll input", "took longer"),
        ("read", "took longer"),
        ("blocking read", "took longer"),
        ("blocking skip", "took longer"),
        ("blocking write", "took longer"),
        ("blocking flush", "took longer"),
        ("blocking zeroes", "took longer"),
        ("blocking splice", "took longer"),
    ];
    // Each in a binding of its own: the second missed deadline within a while would open a breaker.
    let name = |way: &str| way.replace(' ', "-");
    let bindings: String = ways.iter().map(|(way, _)| limited(&name(way), "deadline = '50ms'")).collect();
    let router = Setup::open().guest("waits").binding("waits", &bindings).start().await;
    let mut client = router.client("writer").await;
    for (way, ends) in ways {
        refused(&router, &mut client, &name(way), json!(way), ends).await;
        assert_eq!(client.publish(&name(way), json!("fine")).await["outcome"], "accepted", "after {way}");
    }
    router.stop().await;
}
