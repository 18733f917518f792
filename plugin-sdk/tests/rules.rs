//! The rules of the router that `testing::Host` keeps, one test each.

use std::time::Duration;
use weir_plugin::serde_json::json;
use weir_plugin::state::{self, StateError};
use weir_plugin::testing::{self, Host, Stopped};
use weir_plugin::{
    Answer, Draft, Error, Filter, Message, Meta, Outcome, QueryError, Question, Refusal, Result, SelfTest,
    Space, Storage, StoreFailure, Ticker, Time, Transform, Verdict,
};

/// Does what the payload says.
#[derive(Default)]
struct Told;

impl Filter for Told {
    fn check(&self, message: &Message) -> Result<Verdict> {
        let n = state::increment("calls", 1)?;
        weir_plugin::info!("called", n = n);
        match message.text()? {
            "keep" => Ok(Verdict::Keep),
            "drop" => Ok(Verdict::drop("told so")),
            "fail" => Err(Error::internal("told so")),
            "write a lot" => {
                for n in 0..=1_000_u32 {
                    state::set(n.to_be_bytes(), "")?;
                }
                Ok(Verdict::Keep)
            }
            "write big" => match state::set("k", vec![0; state::MAX_VALUE + 1]) {
                Err(StateError::TooLarge) => Ok(Verdict::Keep),
                other => Err(Error::Internal(format!("{other:?}"))),
            },
            other => Err(Refusal::new(format!("`{other}` is unknown")).at("/x").into()),
        }
    }
}

impl SelfTest for Told {
    fn run(&self) -> Result<(), String> {
        match state::set("k", "v") {
            Err(StateError::ReadOnly) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }
}

weir_plugin::export_filter!(Told, selftest);

fn told(payload: &str) -> Message {
    testing::message("a/b", payload).build()
}

fn counter(host: &Host<Told>) -> Option<i64> {
    Some(i64::from_le_bytes(host.state("calls")?.try_into().ok()?))
}

#[test]
fn writes_stay_with_a_verdict_and_go_with_an_error() {
    let mut host = Host::<Told>::new(json!({})).unwrap();
    assert_eq!(host.check(&told("keep")), Ok(Verdict::Keep));
    assert_eq!(host.check(&told("drop")), Ok(Verdict::drop("told so")));
    assert_eq!(host.check(&told("huh")), Ok(Refusal::new("`huh` is unknown").at("/x").into()));
    assert_eq!(counter(&host), Some(3));
    assert_eq!(host.check(&told("fail")), Err(Error::internal("told so")));
    assert!(matches!(host.check(&told("write a lot")), Err(Error::Internal(text)) if text.contains("1,000")));
    assert_eq!(counter(&host), Some(3));
    assert_eq!(host.check(&told("write big")), Ok(Verdict::Keep));
    assert_eq!(host.selftest(), Ok(()));
}

#[test]
fn a_conflict_runs_the_call_again() {
    let mut host = Host::<Told>::new(json!({})).unwrap();
    host.conflict_once(b"calls", &41_i64.to_le_bytes());
    assert_eq!(host.check(&told("keep")), Ok(Verdict::Keep));
    assert_eq!(counter(&host), Some(42));
    assert_eq!(host.logs().len(), 2, "log lines are not undone");
    host.conflict_once(b"never read", b"x");
    assert_eq!(host.check(&told("keep")), Ok(Verdict::Keep));
    assert_eq!((counter(&host), host.logs().len()), (Some(43), 3));
}

#[test]
fn without_a_host_state_says_so() {
    assert!(matches!(state::get("k"), Err(StateError::Unavailable(_))));
    assert!(Host::<Told>::new(json!({"key": 1})).is_err_and(|error| error.path == "/key"));
}

/// Sends what the closure of the test says.
#[derive(Default)]
struct Sends;

thread_local! {
    static NEXT: std::cell::RefCell<Option<Outcome>> = const { std::cell::RefCell::new(None) };
}

impl Transform for Sends {
    fn apply(&self, _message: &Message) -> Result<Outcome> {
        state::increment("calls", 1)?;
        Ok(NEXT.with(|next| next.take()).unwrap_or(Outcome::Unchanged))
    }
}

impl Ticker for Sends {
    fn tick(&self, now: Time) -> Result<Vec<Draft>> {
        Ok(vec![Draft::new("clock", now.rfc3339())])
    }
}

weir_plugin::export_transform!(Sends, ticker);

fn sends(host: &mut Host<Sends>, input: &Message, outcome: Outcome) -> Result<Vec<Message>, Stopped> {
    NEXT.with(|next| next.replace(Some(outcome)));
    host.apply(input)
}

fn input() -> Message {
    testing::message("a/b", "1").session("k3").content_type("text/plain").header("unit", "K").build()
}

#[test]
fn empty_metadata_inherits_and_the_hosts_fields_stay() {
    let mut host = Host::<Sends>::new(json!({})).unwrap().grant_emit("copies/#");
    let input = input();
    let made = sends(&mut host, &input, Outcome::Add(vec![Draft::new("copies/x", "2")])).unwrap();
    assert_eq!(made[0], input);
    assert_eq!((made[1].content_type(), made[1].header("unit")), (Some("text/plain"), Some("K")));
    assert_eq!((made[1].cause(), made[1].original_topic()), (Some(input.id()), Some("a/b")));
    assert_eq!((made[1].session().id(), made[1].received()), ("k3", input.received()));
    assert_ne!(made[1].id(), input.id());

    let meta = Meta::new().with_header("a", "b").joining("game/#");
    let made = sends(&mut host, &input, Outcome::SetMeta(meta)).unwrap();
    assert_eq!((made[0].id(), made[0].content_type(), made[0].header("a")), (input.id(), None, Some("b")));
    assert_eq!(made[0].session().name(), "s1");

    let made = sends(&mut host, &input, Outcome::SetPayload(b"9".to_vec())).unwrap();
    assert_eq!((made[0].id(), made[0].payload(), made[0].header("unit")), (input.id(), &b"9"[..], Some("K")));
}

#[test]
fn another_topic_needs_a_right() {
    let mut host = Host::<Sends>::new(json!({})).unwrap();
    let denied = sends(&mut host, &input(), Outcome::Replace(vec![Draft::new("other", "")]));
    assert_eq!(denied, Err(Stopped::Denied { topic: "other".to_owned() }));
    assert_eq!(host.state("calls"), None, "a denied pass leaves nothing behind");
    assert!(sends(&mut host, &input(), Outcome::Replace(vec![Draft::new("a/b", "")])).is_ok());
    let input = input();
    let reply = sends(&mut host, &input, Outcome::Replace(vec![input.reply("yes")])).unwrap();
    assert_eq!(reply[0].topic(), "$inbox/k3");
    let mut host = host.may_publish("other");
    assert!(sends(&mut host, &input, Outcome::Replace(vec![Draft::new("other", "")])).is_ok());
}

#[test]
fn what_breaks_a_limit_is_a_trap() {
    let mut host = Host::<Sends>::new(json!({})).unwrap().grant_emit("#");
    let many = (0..257).map(|_| Draft::new("t", "")).collect();
    let large = Draft::new("t", vec![0; 1024 * 1024 + 1]);
    let long = Draft::new("t", "").with(Meta::new().with_header("Upper", "x"));
    let bad = [many, vec![large], vec![long], vec![Draft::new("t/+", "")], vec![Draft::new("", "")]];
    for drafts in bad {
        let stopped = sends(&mut host, &input(), Outcome::Replace(drafts));
        assert!(matches!(&stopped, Err(Stopped::Failed(Error::Internal(text))) if text.starts_with("trap")));
    }
    assert_eq!(sends(&mut host, &input(), Outcome::Replace(vec![])), Err(Stopped::Consumed));
    assert_eq!(host.state("calls").as_deref(), Some(&1_i64.to_le_bytes()[..]));
}

#[test]
fn a_tick_needs_the_emit_grant() {
    let mut host = Host::<Sends>::new(json!({})).unwrap();
    assert!(matches!(host.tick(Time::default()), Err(Stopped::Denied { .. })));
    let mut host = host.grant_emit("clock");
    let made = host.tick(Time::default()).unwrap();
    assert_eq!(
        (made[0].origin().as_str(), made[0].payload()),
        ("plugin", &b"1970-01-01T00:00:00.000000Z"[..])
    );
}

/// Keeps each payload under its topic, and `bad` is unprocessable.
#[derive(Default)]
struct Keeps;

#[derive(weir_plugin::serde::Deserialize)]
#[serde(crate = "weir_plugin::serde")]
struct Params {
    from: u64,
    deep: Option<Vec<f64>>,
}

impl Storage for Keeps {
    fn store(&self, batch: &[Message], space: &mut Space) -> Result<(), StoreFailure> {
        for (index, message) in batch.iter().enumerate() {
            if message.payload() == b"bad" {
                return Err(StoreFailure::unprocessable(index, "it is bad"));
            }
            let before = space.get(message.topic())?.unwrap_or_default();
            let value = [&before[..], message.payload()].concat();
            space.put_until(message.topic(), value, message.received().after(Duration::from_secs(1)));
        }
        assert_eq!(state::set("k", "v"), Err(StateError::ReadOnly));
        Ok(())
    }

    fn query(&self, question: &Question) -> Result<Answer, QueryError> {
        let params: Params = question.params()?;
        let sum: f64 = params.deep.unwrap_or_default().iter().sum();
        Answer::page([params.from.to_string(), sum.to_string()], None)
    }
}

weir_plugin::export_storage!(Keeps);

#[test]
fn a_batch_sees_its_own_writes_and_is_all_or_nothing() {
    let mut host = Host::<Keeps>::new(json!({})).unwrap();
    let message = |payload: &str| testing::message("t", payload).build();
    host.store(&[message("1"), message("2")]).unwrap();
    assert_eq!(host.state("t").as_deref(), Some(&b"12"[..]));
    let failure = host.store(&[message("3"), message("bad")]);
    assert_eq!(failure, Err(StoreFailure::unprocessable(1, "it is bad")));
    assert_eq!(host.state("t").as_deref(), Some(&b"12"[..]));
    host.now(message("").received().after(Duration::from_secs(1)));
    assert_eq!((host.state("t"), host.state_len()), (None, 0));
}

#[test]
fn parameters_may_be_texts() {
    let mut host = Host::<Keeps>::new(json!({})).unwrap();
    let answer = host.query("t", json!({"from": "5", "deep": ["1.5", 2, "3"]})).unwrap();
    assert_eq!(answer.items, ["\"5\"", "\"6.5\""]);
    let refused = host.query("t", json!({"from": 1, "deep": ["x"]}));
    assert!(matches!(refused, Err(QueryError::Invalid(error)) if error.path == "/deep/0"));
    assert!(matches!(host.query("t", json!([])), Err(QueryError::Invalid(_))));
}
