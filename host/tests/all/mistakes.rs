//! What is wrong in a binding's file is told with the line in which it stands, also what only the plugin knows.

use crate::harness::{Setup, weir};

/// Binding files, and what `weir check` says of each: line, and words.
const MISTAKES: [(&str, &str, u32, &str); 11] = [
    ("stock", "topics = [\"a\"]\nplugin = \"stock:nope\"\n", 2, "no such stock plugin, but api-key, "),
    (
        "config",
        "plugin = \"stock:json-check\"\n\n[config]\nfeilds = []\n",
        4,
        "refuses its configuration at `config/feilds`",
    ),
    (
        "deep",
        "plugin = \"stock:json-check\"\n[[config.fields]]\npath = \"/a\"\ntype = \"colour\"\n",
        4,
        "refuses its configuration at `config/fields/0/type`",
    ),
    (
        "second",
        "[[binding]]\nname = \"first\"\nplugin = \"stock:open\"\n[[binding]]\nname = \"other\"\nplugin = \"stock:nope\"\n",
        6,
        "no such stock plugin",
    ),
    ("limits", "plugin = \"stock:open\"\n[limits]\ndeadline = \"1h\"\n", 3, "limits.deadline = "),
    ("isolation", "plugin = \"stock:timeseries\"\n\nisolation = \"per-tenant\"\n", 3, "only \"shared\""),
    (
        "sample",
        "plugin = \"stock:json-check\"\n[[sample]]\ntopic = \"a\"\njson = 1\n[[sample]]\ntopic = \"a\"\njson = 1\nexpect = \"changed\"\n",
        8,
        "[[sample]] number 2",
    ),
    (
        "came",
        "plugin = \"stock:json-check\"\n[[sample]]\ntopic = \"a\"\njson = 1\nexpect = \"drop\"\n",
        2,
        "expected drop, got keep",
    ),
    (
        "secret",
        "plugin = \"stock:json-check\"\n[secrets]\na = { env = \"WEIR_NO_SUCH_VARIABLE\" }\n",
        3,
        "[secrets] a: the environment variable WEIR_NO_SUCH_VARIABLE",
    ),
    ("list", "plugin = \"stock:open\"\ntopics = \"a\"\n", 2, "topics: found \"a\", expected a list"),
    ("word", "plugin = \"stock:open\"\nisolation = true\n", 2, "isolation: expected a text in quotes"),
];

#[test]
fn whatever_is_wrong_in_a_binding_is_told_with_its_line() {
    let mut setup = Setup::new();
    for (name, text, ..) in MISTAKES {
        setup = setup.binding(name, text);
    }
    let config = setup.write_config("");
    let ended = weir().arg("check").arg("--config").arg(&config).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    for (name, _, line, words) in MISTAKES {
        let place = format!("{name}.toml:{line}: ");
        let told = said.lines().find(|told| told.contains(&format!("/{name}.toml")));
        assert!(
            told.is_some_and(|told| told.contains(&place) && told.contains(words)),
            "{place}{words}\n{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_of_plugins_tells_the_line_too() {
    let setup = Setup::new().binding("stock", MISTAKES[0].1).binding("deep", MISTAKES[2].1);
    let router = setup.start().await;
    for (name, place) in [("stock", "stock.toml:2: "), ("deep", "deep.toml:4: ")] {
        let listed = router.until_plugin(name, |plugin| plugin["state"] == "failed").await;
        assert!(listed["reason"].as_str().unwrap().contains(place), "{listed}");
    }
    router.stop().await;
}
