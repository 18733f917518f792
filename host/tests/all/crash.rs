//! `kill -9` in the middle of everything, several times: what was answered `logged` is there, once, in order.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Child, Client, Reach, Setup, eventually};

const ROUNDS: usize = 4;
const PUBLISHERS: u64 = 3;
/// Answers after which the axe falls.
const ANSWERS: usize = 300;

/// What the publishers know of one round.
#[derive(Default)]
struct Round {
    /// (Publisher, number) of all that was answered `logged`.
    logged: Vec<(u64, u64)>,
    /// The highest number that was sent.
    sent: u64,
}

/// Sends until the connection breaks.
async fn publish_until_cut(
    mut client: Client,
    publisher: u64,
    first: u64,
    answers: tokio::sync::mpsc::Sender<()>,
) -> Round {
    let mut round = Round { sent: first, ..Round::default() };
    let topic = format!("crash/{publisher}");
    let mut open = 0;
    loop {
        while open < 64 {
            // Some wait for the disk, some do not: the flush in the middle of both is what is tested.
            let level = if round.sent.is_multiple_of(4) { "routed" } else { "logged" };
            let data = json!({"n": round.sent});
            let frame =
                json!({"action": "publish", "id": round.sent, "topic": topic, "data": data, "level": level});
            if !client.send(&frame).await {
                break;
            }
            round.sent += 1;
            open += 1;
        }
        let Some(answer) = client.try_next().await else { return round };
        assert_eq!(answer["outcome"], "accepted", "{answer}");
        if answer["level"] == "logged" {
            round.logged.push((publisher, answer["id"].as_u64().unwrap()));
        }
        open -= 1;
        // Once the process is dead nobody counts any more.
        let _ = answers.send(()).await;
    }
}

/// Load until the process dies.
async fn storm(child: Child, first: u64) -> Round {
    let (answers, mut answered) = tokio::sync::mpsc::channel(16);
    let mut publishers = Vec::new();
    for publisher in 0..PUBLISHERS {
        let client = child.reach.client(&format!("publisher-{publisher}")).await;
        publishers.push(tokio::spawn(publish_until_cut(client, publisher, first, answers.clone())));
    }
    drop(answers);
    for _ in 0..ANSWERS {
        answered.recv().await.expect("an answer");
    }
    child.kill();
    // The publishers must not wait for room in this channel.
    while answered.recv().await.is_some() {}
    let mut all = Round::default();
    for publisher in publishers {
        let round = publisher.await.unwrap();
        all.logged.extend(round.logged);
        all.sent = all.sent.max(round.sent);
    }
    all
}

fn numbers(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["data"]["n"].as_u64().unwrap()).collect()
}

/// The storage plugin has each message of the log exactly once, in order.
async fn check_tally(reader: &mut Client, topic: &str, log: &[u64]) {
    if log.is_empty() {
        // On a busy machine the process may be dead before a publisher's first message is on the disk.
        let answer = reader.ask(json!({"action": "query", "plugin": "tally", "topic": topic})).await;
        assert_eq!(answer["outcome"], "not-found", "{topic}: {answer}");
        return;
    }
    let what = format!("tally has caught up with {} messages of {topic}", log.len());
    let reader = tokio::sync::Mutex::new(reader);
    let counted = eventually(&what, async || {
        let query = json!({"action": "query", "plugin": "tally", "topic": topic});
        let answer = reader.lock().await.ask(query).await;
        let count = answer["items"][0].clone();
        (count["count"].as_u64()? >= log.len() as u64).then_some(count)
    });
    let sum: u64 = log.iter().sum();
    let expected = json!({"count": log.len(), "sum": sum, "last": log.last(), "disorder": 0});
    assert_eq!(counted.await, expected, "{topic}: neither lost nor doubled");
}

async fn check(reach: &Reach, round: usize, logged: &BTreeSet<(u64, u64)>) -> u64 {
    let mut reader = reach.client("reader").await;
    let mut places = BTreeSet::new();
    let mut epoch = 0;
    for publisher in 0..PUBLISHERS {
        let topic = format!("crash/{publisher}");
        let messages = reader.history(&topic).await;
        let found = numbers(&messages);
        assert!(
            found.windows(2).all(|pair| pair[0] < pair[1]),
            "round {round}: {topic} has doubles or lost its order"
        );
        let there: BTreeSet<_> = found.iter().map(|n| (publisher, *n)).collect();
        let wanted = logged.iter().filter(|(from, _)| *from == publisher).copied().collect::<BTreeSet<_>>();
        let missing: Vec<_> = wanted.difference(&there).collect();
        assert!(missing.is_empty(), "round {round}: answered `logged` and not there: {missing:?}");
        for message in &messages {
            let place = (message["epoch"].as_u64().unwrap(), message["offset"].as_u64().unwrap());
            assert!(places.insert(place), "round {round}: {place:?} is two messages");
            epoch = epoch.max(place.0);
        }
        check_tally(&mut reader, &topic, &found).await;
    }
    epoch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_logged_survives_kill_9() {
    let setup = Setup::open().guest("tally").binding("tally", "topics = [\"crash/#\"]\n");
    let mut logged = BTreeSet::new();
    let (mut next, mut epochs) = (1, Vec::new());
    for round in 1..=ROUNDS {
        let storm = storm(setup.spawn().await, next).await;
        assert!(!storm.logged.is_empty());
        next = storm.sent + 1;
        logged.extend(storm.logged);
        let child = setup.spawn().await;
        epochs.push(check(&child.reach, round, &logged).await);
        child.kill();
    }
    assert!(epochs.windows(2).all(|pair| pair[0] < pair[1]), "each unclean start opens an epoch: {epochs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_saw_more_than_survived_is_told_so() {
    let setup = Setup::open();
    let child = setup.spawn().await;
    let (mut writer, mut reader) = (child.reach.client("writer").await, child.reach.client("reader").await);
    reader.subscribe("a").await;
    let kept = writer.publish_at("logged", "a", json!({"n": 0})).await["messages"][0].clone();
    let mut last = Value::Null;
    for n in 1..=50 {
        last = writer.publish("a", json!({"n": n})).await["messages"][0].clone();
    }
    for n in 0..=50 {
        assert_eq!(reader.message().await["data"]["n"], n, "it sees them all before the crash");
    }
    child.kill();
    let child = setup.spawn().await;
    let mut reader = child.reach.client("reader").await;
    let next = reader.publish_at("logged", "a", json!({"n": 100})).await["messages"][0].clone();
    assert!(next["epoch"].as_u64() > last["epoch"].as_u64(), "{last} {next}");
    let mut after = async |place: &Value| {
        let since = json!({"default": {"epoch": place["epoch"], "offset": place["offset"]}});
        let page = reader.ask(json!({"action": "history", "topic": "a", "since": since})).await;
        (page["recovered"].as_bool().unwrap(), numbers(page["messages"].as_array().unwrap()))
    };
    let (recovered, all) = after(&kept).await;
    assert!(recovered, "everything that is in the log behind a durable place is there");
    assert_eq!(all.last(), Some(&100));
    // Whether the last one reached the disk in time is chance; what is said about it is not.
    let survived = all.contains(&50);
    assert_eq!(after(&last).await.0, survived, "the last one survived: {survived}");
    let beyond = json!({"epoch": last["epoch"], "offset": last["offset"].as_u64().unwrap() + 1_000});
    assert_eq!(
        after(&beyond).await,
        (false, vec![100]),
        "it goes on after the crash, and sees nothing twice"
    );
    let unknown = json!({"epoch": 7, "offset": 3});
    let (recovered, page) = after(&unknown).await;
    assert!(!recovered && page.first() == Some(&0), "it begins at the oldest: {page:?}");
    // Page by page, over the seam of the two epochs.
    let (mut paged, mut ask) = (Vec::new(), json!({"action": "history", "topic": "a", "limit": 1}));
    loop {
        let page = reader.ask(ask.clone()).await;
        assert_eq!(page["recovered"], true, "{page}");
        paged.extend(numbers(page["messages"].as_array().unwrap()));
        assert!(paged.len() <= all.len() + 1, "it goes round in circles: {paged:?}");
        if page["more"] == false {
            break;
        }
        ask["since"] = page["next"].clone();
    }
    assert_eq!((paged[0], &paged[1..]), (0, &all[..]));
    child.kill();
}
