//! What becomes of whole messages.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail loudly"
)]

use weir_plugin::serde_json::{self, Value, json};
use weir_plugin::testing::{self, Host, Stopped};
use weir_plugin::{Message, Refusal};
use weir_plugin_json_map::JsonMap;

fn host(config: Value) -> Host<JsonMap> {
    Host::new(config).expect("the configuration is accepted").grant_emit("#")
}

fn apply(config: Value, body: Value) -> Result<Vec<Message>, Stopped> {
    host(config).apply(&testing::message_json("room/1/raw", &body).from("sensor", "s1").build())
}

/// The one message's body.
fn body(config: Value, from: Value) -> Value {
    let made = apply(config, from).unwrap();
    assert_eq!((made.len(), made[0].topic()), (1, "room/1/raw"));
    made[0].json().unwrap()
}

fn refused(config: Value, from: Value) -> Refusal {
    match apply(config, from) {
        Err(Stopped::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn fields_are_renamed_converted_removed_and_added() {
    let config = json!({
        "rename": {"/temp": "/celsius", "/absent": "/x"},
        "convert": [{"path": "/celsius", "unit": "fahrenheit-to-celsius", "digits": 1}],
        "remove": ["/secret", "/absent"],
        "add": {"/by": "{principal} of {tenant}, a {origin}", "/at/time": "{time}", "/room": "{level.1}",
                "/was": "{topic}", "/copy": "{/list}", "/text": "{/celsius} °C", "/version": 2},
    });
    let found =
        body(config, json!({"temp": 212, "secret": "x", "list": [1], "big": 18_446_744_073_709_551_615_u64}));
    let wanted = json!({"celsius": 100, "list": [1], "by": "s1 of main, a sensor", "room": "1", "was": "room/1/raw",
        "at": {"time": "2026-11-21T08:00:00.000000Z"}, "copy": [1], "text": "100 °C", "version": 2,
        "big": 18_446_744_073_709_551_615_u64});
    assert_eq!(found, wanted);
}

#[test]
fn what_is_changed_in_place_keeps_its_id_and_headers() {
    let input = testing::message_json("a", &json!({})).header("unit", "K").build();
    let made = host(json!({"add": {"/x": 1}})).apply(&input).unwrap();
    assert_eq!((made[0].id(), made[0].header("unit")), (input.id(), Some("K")));
    assert_eq!(host(json!({})).apply(&input).unwrap(), [input]);
}

#[test]
fn arrays_become_messages() {
    let config = json!({"split": {"path": "/readings", "keep": ["/sensor"]}, "add": {"/n": "{index}"},
        "topic": "sensors/{/sensor}/{level.0}"});
    let made = apply(config.clone(), json!({"sensor": "a/b", "readings": [{"v": 1}, {"v": 2}]})).unwrap();
    let bodies: Vec<Value> = made.iter().map(|message| message.json().unwrap()).collect();
    assert_eq!(
        bodies,
        [json!({"v": 1, "sensor": "a/b", "n": "0"}), json!({"v": 2, "sensor": "a/b", "n": "1"})]
    );
    assert!(made.iter().all(|message| message.topic() == "sensors/a%2Fb/room"));
    assert_eq!(apply(config.clone(), json!({"readings": []})), Err(Stopped::Consumed));
    assert_eq!(refused(config.clone(), json!({"readings": 1})).path, "/readings");
    assert_eq!(refused(config.clone(), json!({"sensor": 1, "readings": [1]})).path, "/readings/0");
    assert_eq!(refused(config, json!({"sensor": 1, "readings": vec![json!({}); 257]})).path, "/readings");
}

#[test]
fn plain_values_are_wrapped() {
    let made =
        host(json!({"rename": {"": "/celsius"}})).apply(&testing::message("t", "21.5").build()).unwrap();
    assert_eq!(made[0].payload(), br#"{"celsius":21.5}"#);
}

#[test]
fn copies_leave_the_message_as_it_was() {
    let payload = "{ \"v\":  1.50 }";
    let input = testing::message("room/1", payload).build();
    let made = host(json!({"copy_to": ["archive/{topic}", "by/{principal}"]})).apply(&input).unwrap();
    let topics: Vec<&str> = made.iter().map(Message::topic).collect();
    assert_eq!(topics, ["room/1", "archive/room/1", "by/s1"]);
    assert_eq!(made[0], input);
    assert!(made.iter().all(|message| message.payload() == payload.as_bytes()));
    let moved = host(json!({"topic": "x"})).apply(&input).unwrap();
    assert_eq!((moved.len(), moved[0].topic(), moved[0].payload()), (1, "x", payload.as_bytes()));
}

#[test]
fn other_topics_need_a_right() {
    let mut host = Host::<JsonMap>::new(json!({"topic": "x"})).unwrap();
    let stopped = host.apply(&testing::message("a", "{}").build());
    assert_eq!(stopped, Err(Stopped::Denied { topic: "x".to_owned() }));
}

#[test]
fn what_a_template_lacks_is_told() {
    assert_eq!(refused(json!({"topic": "a/{/room}"}), json!({})).path, "/room");
    assert_eq!(refused(json!({"topic": "a/{/room}"}), json!({"room": []})).path, "/room");
    assert!(refused(json!({"topic": "a/{level.7}"}), json!({})).reason.contains("level 7"));
    assert!(refused(json!({"topic": "{/x}"}), json!({"x": ""})).reason.contains("no topic"));
    assert_eq!(refused(json!({"add": {"/a/b": 1}}), json!({"a": 1})).path, "/a/b");
    let level = apply(json!({"topic": "a/{/x}"}), json!({"x": "#/+"})).unwrap();
    assert_eq!(level[0].topic(), "a/%23%2F%2B", "a body cannot choose more than one level");
}

#[test]
fn what_is_not_json_is_refused_or_passed() {
    let input = testing::message("a", "21 °C").build();
    let config = json!({"add": {"/x": 1}});
    assert!(matches!(host(config).apply(&input), Err(Stopped::Refused(_))));
    let passed = host(json!({"add": {"/x": 1}, "on_not_json": "pass"})).apply(&input);
    assert_eq!(passed, Ok(vec![input]));
}

#[test]
fn what_the_configuration_may_not_say() {
    for (config, path) in [
        (json!({"topic": "a/{prinzipal}"}), "/topic"),
        (json!({"topic": "a/{topic"}), "/topic"),
        (json!({"remove": ["a"]}), "/remove/0"),
        (json!({"convert": [{"path": "/a", "unit": "feet"}]}), "/convert/0/unit"),
        (json!({"convert": [{"path": "/a", "unit": "s-to-ms", "scale": 2}]}), "/convert/0/unit"),
        (json!({"convert": [{"path": "/a"}]}), "/convert/0"),
        (json!({"convert": [{"path": "/a", "digits": 16}]}), "/convert/0/digits"),
        (json!({"add": {"/a": "{x}"}}), "/add/~1a"),
        (json!({"renam": {}}), "/renam"),
    ] {
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(Host::<JsonMap>::new(config).unwrap_err().path, path, "{text}");
    }
}
