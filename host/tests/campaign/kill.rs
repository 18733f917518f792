//! `kill -9` at random moments under mixed load, with a checker that knows every publish: nothing that was answered
//! `logged` is missing, nothing is there twice or out of order, whoever resumes has neither gaps nor doubles, a
//! durable consumer and a group get everything, storage plugins have counted everything once.

mod consume;
mod follow;
mod kept;
mod publish;
mod stream;

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::harness::{Child, Setup, eventually, weir};
use crate::{Dice, rounds, seed};
use consume::{Consumer, Taken, all_acknowledged, consume};
use follow::Follower;
use kept::{Kept, Message};
use publish::{SOCKETS, by_http, by_socket};

const ROUNDS: u32 = 200;
/// After so many rounds all that is kept is read again.
const WHOLE: u32 = 25;
/// Retention takes nothing.
const CONFIG: &str = "\
    [[log]]\nname = \"fast\"\ntopics = [\"load/fast/#\"]\nmax_bytes = \"64GiB\"\n\
    [[log]]\nname = \"default\"\ntopics = [\"#\"]\nmax_bytes = \"64GiB\"\n\
    # Nobody is cut off because this machine is slow.\n\
    [limits]\nqueue_messages = 100000\nqueue_bytes = \"64MiB\"\n";

/// What those who make the load have in common.
#[derive(Default)]
struct Load {
    numbers: AtomicU64,
    answers: AtomicU64,
    /// The router was killed, or told to end.
    dead: AtomicBool,
    /// Nobody publishes any more; everybody reads to the end.
    last: AtomicBool,
    caught_up: Mutex<BTreeSet<&'static str>>,
}

impl Load {
    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, SeqCst) + 1
    }

    fn heard(&self) {
        self.answers.fetch_add(1, SeqCst);
    }

    /// Connections end for no other reason.
    fn must_be_dead(&self) {
        assert!(self.dead.load(SeqCst), "the router ended a connection, and it was alive");
    }

    fn is_last(&self) -> bool {
        self.last.load(SeqCst)
    }

    fn caught_up(&self, name: &'static str) {
        self.caught_up.lock().insert(name);
    }
}

/// How often things happened that are left to chance.
#[derive(Clone, Copy, Debug, Default)]
struct Tallied {
    opened: u64,
    /// Openings with a place that a crash took.
    lost: u64,
    /// How often it began from the start again.
    forgot: u64,
    /// Messages that were seen and then taken by a crash.
    lost_messages: u64,
}

/// Who must know what.
struct Checker {
    load: Arc<Load>,
    kept: Arc<Kept>,
    followers: Vec<Follower>,
    single: Consumer,
    group: Consumer,
    /// Of the last round.
    durable: Vec<Message>,
    taken: [Vec<Taken>; 2],
}

impl Checker {
    fn new() -> Self {
        Self {
            load: Arc::default(),
            kept: Arc::default(),
            followers: vec![
                Follower::new("wide", "load/#", false),
                Follower::new("narrow", "load/fast/0", false),
                Follower::new("events", "load/+/1", true),
            ],
            single: Consumer::new(("consumer", "billing")),
            group: Consumer::new(("group", "g")),
            durable: Vec::new(),
            taken: Default::default(),
        }
    }

    /// What the last crash has left is right.
    async fn check(&mut self, child: &Child, whole: bool) {
        let mut reader = child.reach.client("reader").await;
        let kept = Arc::get_mut(&mut self.kept).expect("everybody has ended");
        kept.read_on(&mut reader).await;
        if whole {
            kept.compare(&mut reader).await;
        }
        kept.check_durable(&std::mem::take(&mut self.durable));
        self.followers.iter_mut().for_each(|follower| follower.settle(kept));
        let [single, group] = std::mem::take(&mut self.taken);
        self.single.settle(kept, single);
        self.group.settle(kept, group);
        kept.check_storage(&mut reader, "tally", "load/").await;
        kept.check_storage(&mut reader, "fast-tally", "load/fast/").await;
    }

    /// Everybody works until the router is dead.
    async fn storm(&mut self, child: Child, dice: &mut Dice) {
        let load = &self.load;
        load.dead.store(false, SeqCst);
        load.answers.store(0, SeqCst);
        load.caught_up.lock().clear();
        let reach = child.reach.clone();
        let mut publishers = JoinSet::new();
        if !load.is_last() {
            for publisher in 0..SOCKETS {
                let client = reach.client(&format!("publisher-{publisher}")).await;
                publishers.spawn(by_socket(client, publisher, Arc::clone(load)));
            }
            publishers.spawn(by_http(reach.clone(), SOCKETS, Arc::clone(load)));
        }
        let mut followers = JoinSet::new();
        let names: BTreeSet<_> = self.followers.iter().map(|follower| follower.name).collect();
        for follower in self.followers.drain(..) {
            let kept = Arc::clone(&self.kept);
            followers.spawn(follower.follow(reach.clone(), kept, Arc::clone(load), dice.fork()));
        }
        let (mut alone, mut members) = (JoinSet::new(), JoinSet::new());
        let client = reach.client("consumer").await;
        alone.spawn(consume(client, self.single.name, Arc::clone(load), dice.fork()));
        for member in ["member-1", "member-2"] {
            let client = reach.client(member).await;
            members.spawn(consume(client, self.group.name, Arc::clone(load), dice.fork()));
        }
        if load.is_last() || dice.below(2) == 0 {
            let caught_up = async || (*load.caught_up.lock() == names).then_some(());
            eventually("everybody who resumes catches up", caught_up).await;
        }
        self.end(child, dice).await;
        self.durable = publishers.join_all().await.into_iter().flatten().collect();
        self.followers = followers.join_all().await;
        self.taken = [alone.join_all().await, members.join_all().await];
    }

    /// Kills the router in the middle of everything; the last time, stops it when everything is done.
    async fn end(&self, mut child: Child, dice: &mut Dice) {
        let load = &self.load;
        if load.is_last() {
            let names = [self.single.name, self.group.name];
            eventually("consumers have had everything", async || {
                let listed = child.reach.admin("GET", "/v1/consumers", "").await.json;
                all_acknowledged(&listed, &names).then_some(())
            })
            .await;
            load.dead.store(true, SeqCst);
            child.terminate();
            assert!(child.ended().await.success());
        } else {
            let most = [100, 1_000, 5_000][dice.below(3) as usize];
            let wanted = load.answers.load(SeqCst) + dice.below(most);
            let heard = async || (load.answers.load(SeqCst) >= wanted).then_some(());
            eventually("some answers", heard).await;
            tokio::time::sleep(Duration::from_micros(dice.below(100_000))).await;
            load.dead.store(true, SeqCst);
            child.kill();
        }
    }
}

/// Starts the router, and kills it while it recovers.
async fn kill_early(setup: &Setup, after: Duration) {
    let mut process = weir()
        .args(["serve", "--config"])
        .arg(setup.folders.root().join("weir.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    tokio::time::sleep(after).await;
    process.kill().unwrap();
    process.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_answered_is_lost_by_kill_9() {
    let Some(rounds) = rounds(ROUNDS) else { return };
    let mut dice = Dice(seed() | 1);
    let setup = Setup::open()
        .guest("tally")
        .guest_as("tally", "fast-tally")
        .binding("tally", "topics = [\"load/#\"]\n")
        .binding("fast-tally", "topics = [\"load/fast/#\"]\n");
    setup.write_config(CONFIG);
    let mut checker = Checker::new();
    let started = Instant::now();
    for round in 1..=rounds {
        if dice.below(8) == 0 {
            kill_early(&setup, Duration::from_micros(dice.below(100_000))).await;
        }
        let child = setup.spawn().await;
        checker.check(&child, round % WHOLE == 0).await;
        checker.storm(child, &mut dice).await;
        let (kept, durable) = (checker.kept.count(), checker.durable.len());
        println!(
            "{:>5} s, round {round}: {kept} kept before, {durable} durable",
            started.elapsed().as_secs()
        );
    }
    checker.load.last.store(true, SeqCst);
    // The last crash; then nobody publishes, everybody reads to the end, and the router ends well.
    for _ in 0..2 {
        let child = setup.spawn().await;
        checker.check(&child, true).await;
        checker.storm(child, &mut dice).await;
    }
    checker.single.check_complete(&checker.kept);
    checker.group.check_complete(&checker.kept);
    for Follower { name, tallied, .. } in &checker.followers {
        println!("{name}: {tallied:?}");
    }
    println!("{} messages kept, {} s", checker.kept.count(), started.elapsed().as_secs());
}
