//! `weir log`: what operators see of the logs, and messages out of them and into them, with and without a server.

use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{Folders, Setup, weir};

/// Runs `weir log …` on these folders, away from the threads that serve.
async fn log(folders: &Folders, arguments: &[&str]) -> Output {
    let mut command = weir();
    command.arg("log").args(arguments).arg("--data").arg(folders.data());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn json_of(folders: &Folders, arguments: &[&str]) -> Value {
    let output = log(folders, arguments).await;
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn told(folders: &Folders, arguments: &[&str]) -> String {
    let output = log(folders, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn refused(folders: &Folders, arguments: &[&str]) -> String {
    let output = log(folders, arguments).await;
    assert!(!output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn topics(messages: &[Value]) -> Vec<String> {
    messages.iter().map(|message| message["topic"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_out_of_a_log_goes_into_one() {
    let router = Setup::open().start().await;
    let folders = std::sync::Arc::clone(&router.folders);
    let mut ada = router.client("ada").await;
    for (topic, n) in [("a/x", 1), ("b", 2), ("a/y", 3)] {
        let answer = ada.publish_at("logged", topic, json!({"n": n})).await;
        assert_eq!(answer["level"], "logged", "{answer}");
    }

    let list = json_of(&folders, &["list", "--json"]).await;
    let log = &list["logs"][0];
    assert_eq!(
        (&log["name"], &log["messages"], &log["oldest"], &log["next"]),
        (&json!("default"), &json!(3), &json!(0), &json!(3)),
        "{log}"
    );
    assert_eq!(list["incidents"], json!([]));
    assert!(told(&folders, &["list"]).await.contains("default"));
    std::fs::create_dir(folders.data().join("log/renamed")).unwrap();
    assert!(told(&folders, &["list"]).await.contains("renamed: 0 bytes, kept and not read"));
    let stat = json_of(&folders, &["stat", "default", "--json"]).await;
    assert!(stat["oldest_us"].as_u64().unwrap() <= stat["newest_us"].as_u64().unwrap(), "{stat}");
    assert_eq!(stat["epochs"].as_array().unwrap().len(), 1);
    assert!(told(&folders, &["stat", "default"]).await.contains("goes on"));
    assert!(refused(&folders, &["stat", "nope"]).await.contains("there are default"));

    let file = folders.root().join("out.ndjson");
    let file = file.to_str().unwrap();
    told(&folders, &["export", "default", "--topic", "a/#", "--out", file]).await;
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(topics(&lines[..2]), ["a/x", "a/y"]);
    assert_eq!(
        (&lines[0]["name"], &lines[0]["offset"], &lines[1]["offset"]),
        (&json!("ada"), &json!(0), &json!(2))
    );
    assert_eq!(lines[2], json!({"exported": 2, "damaged": [], "missed": []}));
    assert!(refused(&folders, &["export", "default", "--out", file]).await.contains("cannot write"));
    let part = told(&folders, &["export", "default", "--since", "1", "--until", "2"]).await;
    assert_eq!(part.lines().count(), 2, "{part}");

    ada.subscribe("#").await;
    let answer = told(&folders, &["import", "default", file]).await;
    assert!(answer.contains("2 messages imported, offsets 3 to 4"), "{answer}");
    assert_eq!(ada.drain().await, Vec::<Value>::new(), "it is not routed");
    let all = ada.history("#").await;
    assert_eq!(topics(&all), ["a/x", "b", "a/y", "a/x", "a/y"]);
    for field in ["time_us", "from", "data", "message_id"] {
        assert_eq!(all[0][field], all[3][field], "{field}: {all:?}");
    }

    // The same without a server: the store is opened, and the next server finds what was imported.
    router.stop().await;
    let list = json_of(&folders, &["list", "--json"]).await;
    assert_eq!(list["logs"][0]["messages"], 5);
    assert!(told(&folders, &["import", "default", file]).await.contains("offsets 5 to 6"));
    assert_eq!(told(&folders, &["export", "default"]).await.lines().count(), 8);
    let router = Setup::over(&folders).start().await;
    assert_eq!(router.client("ada").await.history("#").await.len(), 7);

    // Cut off at the end of a line, or in the middle: it comes in, and the command says so.
    for (text, why) in [
        (format!("{}\n", lines[0]), "the last line of an export"),
        (format!("{}\n{}\n", lines[0], lines[2]), "2 were exported"),
    ] {
        std::fs::write(file, text).unwrap();
        let refusal = refused(&folders, &["import", "default", file]).await;
        assert!(refusal.contains(why) && refusal.contains("--partial"), "{refusal}");
        told(&folders, &["import", "default", file, "--partial"]).await;
    }
    assert_eq!(router.client("ada").await.history("#").await.len(), 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_line_is_named_and_nothing_of_its_batch_comes_in() {
    let setup = Setup::open().config(|config| {
        config.logs[0].topics = vec!["a/#".into()];
    });
    let router = setup.start().await;
    let mut ada = router.client("ada").await;
    for n in 0..1_500 {
        assert!(ada.send(&json!({"action": "publish", "topic": "a/b", "data": n})).await);
    }
    ada.publish_at("logged", "a/b", json!("last")).await;
    let exported = router.admin("GET", "/v1/logs/default/export", "").await;
    assert_eq!(exported.status, 200);
    let lines: Vec<&str> = exported.text.lines().collect();
    assert_eq!(lines.len(), 1_502);

    let import =
        async |lines: &[&str]| router.admin("POST", "/v1/logs/default/import", &lines.join("\n")).await;
    let messages =
        async || router.admin("GET", "/v1/logs/default", "").await.json["messages"].as_u64().unwrap();
    let broken = lines[0].replace("\"meta\":\"", "\"meta\":\"!");
    let mut wrong = lines.clone();
    wrong[1_200] = &broken;
    let answer = import(&wrong).await;
    assert_eq!(answer.status, 400);
    let reason = answer.json["reason"].as_str().unwrap();
    assert!(
        reason.contains("line 1201: `meta` is no base64") && reason.contains("1000 messages"),
        "{reason}"
    );
    assert_eq!(messages().await, 2_501);

    let foreign = lines[0].replace("\"a/b\"", "\"b\"");
    let other = json!({"topic": "a/b", "meta": "AQ==", "payload": ""}).to_string();
    for (line, why) in [
        (foreign.as_str(), "none of this log's"),
        (other.as_str(), "lacks the message's id or time"),
        ("{}", "`topic` is missing"),
        ("nonsense", "no message"),
    ] {
        let answer = import(&[lines[0], line]).await;
        let reason = answer.json["reason"].as_str().unwrap();
        assert!(answer.status == 400 && reason.contains("line 2: ") && reason.contains(why), "{reason}");
    }
    let long = "x".repeat(3 << 20);
    let answer = import(&[&long]).await;
    assert!(answer.json["reason"].as_str().unwrap().contains("longer than 2097152 bytes"), "{answer:?}");
    assert_eq!(messages().await, 2_501, "nothing more came in");

    let answer = router.admin("GET", "/v1/logs/default/export?since=5&until=2", "").await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = router.admin("GET", "/v1/logs/nope/export", "").await;
    assert_eq!(answer.status, 404, "{answer:?}");
    assert_eq!(router.metric("weir_store_incidents").await, 0.0);
}
