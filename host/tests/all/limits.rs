//! What plugins may take together: messages and time of one pass, state, address space.

use serde_json::json;

use crate::harness::Setup;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_and_one_pass_may_return_only_so_many_messages() {
    let order = |topics: usize| {
        let to: Vec<_> = (0..topics).map(|n| format!("out/{n}")).collect();
        json!({"to": to, "how": "replace"})
    };
    let setup = Setup::open().guest("reroute").config(|config| {
        config.plugin.output_messages = 8;
        config.plugin.pass_messages = 4;
    });
    let router = setup.start().await;
    let mut reader = router.client("reader").await;
    reader.subscribe("#").await;
    let mut writer = router.client("writer").await;
    assert_eq!(writer.publish("in", order(4)).await["outcome"], "accepted");
    let over_the_pass = writer.publish("in", order(5)).await;
    assert_eq!(over_the_pass["outcome"], "invalid", "{over_the_pass}");
    assert!(over_the_pass["reason"].as_str().unwrap().contains("more than 4 messages"), "{over_the_pass}");
    let over_the_call = writer.publish("in", order(9)).await;
    assert_eq!(over_the_call["outcome"], "dead-lettered", "{over_the_call}");
    assert_eq!(reader.drain().await.len(), 4, "of those that were refused nothing went out");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_that_takes_too_long_was_never_routed() {
    // Each of the two loops until its own deadline, which its policy forgives; together they are too slow.
    let loops = "topics = [\"loop\"]\non-error = \"pass\"\n";
    let setup = Setup::open()
        .guest_as("misbehave", "first")
        .binding("first", loops)
        .guest_as("misbehave", "second")
        .binding("second", loops)
        .config(|config| config.plugin.pass_deadline = config.plugin.deadline / 2);
    let router = setup.start().await;
    let mut reader = router.client("reader").await;
    reader.subscribe("#").await;
    let mut writer = router.client("writer").await;
    let answer = writer.publish("loop", json!("loop")).await;
    assert_eq!(answer["outcome"], "timed-out", "{answer}");
    assert_eq!(writer.publish("other", json!("fine")).await["outcome"], "accepted");
    let heard: Vec<_> = reader.drain().await.iter().map(|message| message["topic"].clone()).collect();
    assert_eq!(heard, [json!("other")]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_plugins_fit_into_4_gb_of_address_space() {
    let mut setup = Setup::open();
    for n in 0..10 {
        setup = setup.guest_as("keep", &format!("keep-{n}"));
    }
    let child = setup.spawn_within(4 * 1024 * 1024).await;
    for n in 0..10 {
        assert_eq!(child.reach.plugin(&format!("keep-{n}")).await["state"], "active", "{}", child.log());
    }
    let mut client = child.reach.client("device").await;
    assert_eq!(client.publish("a", json!(1)).await["outcome"], "accepted");
}
