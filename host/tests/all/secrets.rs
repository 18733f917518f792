//! A secret of a binding reaches its plugin, and nobody reads it anywhere else.

use std::ffi::OsStr;

use serde_json::json;

use crate::harness::{Child, Setup, eventually, weir};

const SECRET: &str = "correct-horse-battery-staple";

/// All that an operator can read of a running router.
async fn everything(child: &Child, setup: &Setup) -> String {
    let mut all = child.log();
    for path in ["/v1/plugins", "/metrics", "/v1/dead"] {
        all += &child.reach.admin("GET", path, "").await.text;
    }
    let letters = child.reach.admin("GET", "/v1/dead", "").await.json;
    for letter in letters["dead"].as_array().into_iter().flatten() {
        let path = format!("/v1/dead/{}", letter["id"].as_str().unwrap());
        all += &child.reach.admin("GET", &path, "").await.text;
    }
    let admin = child.reach.admin.to_string();
    let mut list = weir();
    list.args(["plugin", "list", "--json", "--admin", &admin, "--data"]).arg(setup.folders.data());
    let list = tokio::task::spawn_blocking(move || list.output().unwrap()).await.unwrap();
    all + &String::from_utf8_lossy(&list.stdout) + &String::from_utf8_lossy(&list.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_in_no_log_list_metric_dead_letter_or_error() {
    let secret = "[binding.secrets]\ntoken = { env = \"GOSSIP_TOKEN\" }\n";
    let bindings = format!(
        "[[binding]]\nname = \"gossip\"\non-error = \"dead-letter\"\n{secret}\
         [[binding]]\nname = \"refuser\"\n{secret}[binding.config]\nrefuse = true\n"
    );
    let setup = Setup::open().guest("gossip").binding("gossip", &bindings);
    setup.write_config("");
    let child = setup.spawn_with("GOSSIP_TOKEN", OsStr::new(SECRET)).await;
    let mut client = child.reach.client("writer").await;
    let answer = client.publish("t", json!("length")).await;
    assert_eq!(answer["reason"], SECRET.len().to_string(), "it has it: {answer}");
    for (what, outcome) in
        [("log", "accepted"), ("print", "accepted"), ("panic", "dead-lettered"), ("fail", "dead-lettered")]
    {
        let answer = client.publish("t", json!(what)).await;
        assert_eq!(answer["outcome"], outcome, "{what}: {answer}");
        assert!(!answer.to_string().contains(SECRET), "{answer}");
    }
    let said =
        ["gossip begins", "gossip logs", "gossip prints", "gossip panics", "gossip fails", "will not do"];
    let all = eventually("all has been said", async || {
        let all = everything(&child, &setup).await;
        said.iter().all(|part| all.contains(part)).then_some(all)
    });
    let all = all.await;
    assert!(!all.contains(SECRET), "{all}");
    assert!(all.contains("[secret]") && all.contains("token"), "its name may be read");

    // Nor where it is missing or checked.
    for value in ["", SECRET] {
        let mut check = weir();
        check.args(["check", "--config"]).arg(setup.folders.root().join("weir.toml"));
        let check = tokio::task::spawn_blocking(move || check.env("GOSSIP_TOKEN", value).output().unwrap());
        let check = check.await.unwrap();
        let said = String::from_utf8_lossy(&check.stdout) + String::from_utf8_lossy(&check.stderr);
        assert!(!check.status.success() && !said.contains(SECRET), "{said}");
        let part =
            if value.is_empty() { "the environment variable GOSSIP_TOKEN is empty" } else { "will not do" };
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_changes_in_its_file_reloads_the_plugin() {
    let setup = Setup::open().guest("stamp-a");
    let file = setup.folders.root().join("label");
    std::fs::write(&file, "-first-secret\n").unwrap();
    let router =
        setup.binding("stamp-a", &format!("[secrets]\nlabel = {{ file = {file:?} }}\n")).start().await;
    let mut reader = router.client("reader").await;
    reader.subscribe("t").await;
    let mut writer = router.client("writer").await;
    let mut stamp = async || {
        assert_eq!(writer.publish("t", json!(1)).await["outcome"], "accepted");
        reader.message().await["headers"]["stamp"].clone()
    };
    assert_eq!(stamp().await, "a-first-secret");
    std::fs::write(&file, "-second-secret\n").unwrap();
    while stamp().await != "a-second-secret" {
        tokio::time::sleep(crate::harness::LOOK).await;
    }
    // A secret that is gone changes nothing of what serves, and the list says where it was looked for.
    std::fs::remove_file(&file).unwrap();
    let listed = router.until_plugin("stamp-a", |plugin| plugin["state"] == "failed").await;
    assert!(listed["reason"].as_str().unwrap().contains("[secrets] label: the file "), "{listed}");
    assert_eq!(stamp().await, "a-second-secret");
    router.stop().await;
}
