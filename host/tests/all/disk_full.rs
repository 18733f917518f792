//! The disk fills up and has room again: what needs no log goes on, nothing that was answered `logged` is lost.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::{Client, Folders, LOOK, Setup, eventually};

/// The disk: four times what the router keeps free.
const DISK: &str = "256m";
/// What the router keeps free by default; half of it is left when the disk is full.
pub(crate) const FLOOR: u64 = 64 << 20;
/// Publishes at once.
const BATCH: u64 = 32;

/// A small disk of its own, in a mount namespace of its own: gone with the process that holds it.
struct Disk {
    holder: Child,
    /// Where everybody else finds it.
    path: PathBuf,
}

impl Disk {
    /// Puts the data folder on it. None: this machine lets us mount nothing.
    fn under(folders: &Folders) -> Option<Self> {
        let mount = folders.root().join("disk");
        std::fs::create_dir(&mount).unwrap();
        let compiled = std::fs::read_link(folders.data().join("compiled")).unwrap();
        // Whoever resolves `path` link by link, as realpath(3) does, looks below the mount in the end.
        std::os::unix::fs::symlink(&compiled, mount.join("compiled")).unwrap();
        let script = format!("mount -t tmpfs -o size={DISK} weir \"$0\" && echo mounted && exec sleep 3600");
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .arg(&mount)
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare(1) of util-linux is needed");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "mounted\n" {
            holder.wait().unwrap();
            return None;
        }
        let inside = mount.strip_prefix("/").unwrap();
        let path = Path::new("/proc").join(holder.id().to_string()).join("root").join(inside);
        std::fs::remove_dir_all(folders.data()).unwrap();
        std::os::unix::fs::symlink(compiled, path.join("compiled")).unwrap();
        std::os::unix::fs::symlink(&path, folders.data()).unwrap();
        Some(Self { holder, path })
    }

    fn fill(&self, left: u64) {
        let disk = rustix::fs::statvfs(&self.path).unwrap();
        let free = disk.f_bavail * disk.f_frsize;
        let filler = vec![1; free.saturating_sub(left) as usize];
        match std::fs::write(self.path.join("filler"), filler) {
            // The router has taken some of it in the meantime.
            Err(error) if error.kind() == ErrorKind::StorageFull => {}
            other => other.unwrap(),
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.path.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

/// Publishes numbers and knows which of them must be there.
struct Publisher {
    topic: &'static str,
    next: u64,
    logged: BTreeSet<u64>,
}

impl Publisher {
    fn new(topic: &'static str) -> Self {
        Self { topic, next: 0, logged: BTreeSet::new() }
    }

    /// One more, at this level. True: it was reached, and so the message is on the disk.
    async fn publish(&mut self, client: &mut Client, level: &str) -> bool {
        let answer = client.publish_at(level, self.topic, json!({"n": self.next})).await;
        self.next += 1;
        self.heard(self.next - 1, level, &answer)
    }

    fn heard(&mut self, number: u64, level: &str, answer: &Value) -> bool {
        let reached = answer["level"] == level;
        if reached || answer["level"] == "logged" {
            self.logged.insert(number);
        }
        let told =
            answer["outcome"] == "unavailable" || answer["reason"].is_string() || answer["note"].is_string();
        assert!(reached || told, "it is said why: {answer}");
        reached
    }

    /// Several at once, all the time, whatever is answered.
    async fn publish_steadily(mut self, mut client: Client, stop: CancellationToken) -> Self {
        while !stop.is_cancelled() {
            let numbers = self.next..self.next + BATCH;
            let frame = |n| json!({"action": "publish", "id": n, "topic": self.topic, "data": {"n": n}, "level": "logged"});
            assert!(client.send_all(numbers.clone().map(frame)).await);
            self.next = numbers.end;
            for _ in numbers {
                let answer = client.next().await;
                self.heard(answer["id"].as_u64().unwrap(), "logged", &answer);
            }
            // Steadily, not as fast as it goes.
            tokio::time::sleep(LOOK).await;
        }
        self
    }

    /// All that was answered `logged` is there, in order.
    async fn check(&self, client: &mut Client) {
        let all = client.history(self.topic).await;
        let found: Vec<u64> = all.iter().map(|message| message["data"]["n"].as_u64().unwrap()).collect();
        assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "doubles, or out of order: {found:?}");
        let there = found.iter().copied().collect();
        let missing: Vec<_> = self.logged.difference(&there).collect();
        assert!(missing.is_empty(), "answered `logged` and not there: {missing:?}");
        let query = json!({"action": "query", "plugin": "tally", "topic": self.topic});
        let reader = tokio::sync::Mutex::new(client);
        let counted = eventually("the storage plugin has it all", async || {
            let item = reader.lock().await.ask(query.clone()).await["items"][0].clone();
            (item["count"].as_u64()? >= found.len() as u64).then_some(item)
        });
        let sum: u64 = found.iter().sum();
        let expected = json!({"count": found.len(), "sum": sum, "last": found.last(), "disorder": 0});
        assert_eq!(counted.await, expected, "storage writes exactly once");
    }

    /// The durable consumer gets all that was answered `logged` and was not acknowledged, and may acknowledge it.
    async fn consumed(&self, consumer: &mut Client) {
        let last = self.logged.last().unwrap();
        let mut ack = json!({"action": "ack", "consumer": "c", "log": "kept", "up_to": true});
        loop {
            let message = consumer.message().await;
            (ack["epoch"], ack["offset"]) = (message["epoch"].clone(), message["offset"].clone());
            if message["data"]["n"] == *last {
                break;
            }
            assert!(consumer.send(&ack).await);
        }
        let answer = consumer.ask(ack).await;
        assert!(answer["acked"].as_u64() > Some(0), "{answer}");
    }
}

/// Fills the disk and frees it so many times; returns the longest time until service was complete again. `floor`: what
/// the router keeps free. None: this machine lets us mount no disk.
pub(crate) async fn fill_and_free(times: u32, floor: u64) -> Option<Duration> {
    let setup = Setup::open().guest("tally").binding("tally", "topics = [\"kept/#\"]\n");
    let config = setup.write_config("[[log]]\nname = \"kept\"\ntopics = [\"kept/#\"]\n");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(config, format!("free_floor = {floor}\n{text}")).unwrap();
    let disk = Disk::under(&setup.folders)?;
    let mut child = setup.spawn().await;
    let (mut client, mut reader) = (child.reach.client("writer").await, child.reach.client("reader").await);
    let mut consumer = child.reach.client("consumer").await;
    reader.subscribe("other").await;
    let durable =
        json!({"action": "subscribe", "topic": "kept/a", "consumer": "c", "ack_wait_ms": 3_600_000});
    assert_eq!(consumer.ask(durable).await["ok"], true);
    let stop = CancellationToken::new();
    let client_of_steady = child.reach.client("steady").await;
    let steady = tokio::spawn(Publisher::new("kept/b").publish_steadily(client_of_steady, stop.clone()));
    let mut publisher = Publisher::new("kept/a");
    let mut longest = Duration::ZERO;
    for time in 0..times {
        for _ in 0..20 {
            assert!(publisher.publish(&mut client, "logged").await);
        }
        // Now and then all at once: the router does not see it coming.
        if time % 2 == 1 {
            child.freeze();
        }
        disk.fill(floor / 2);
        if time % 2 == 1 {
            child.thaw();
        }
        while publisher.publish(&mut client, "logged").await {}
        let refused = client.publish_at("logged", "kept/a", json!({"n": 0})).await;
        assert_eq!(refused["outcome"], "unavailable", "{refused}");
        let went = client.publish("other", json!(time)).await;
        assert_eq!(went["outcome"], "accepted", "what needs no log goes on: {went}");
        assert_eq!(reader.message().await["data"], time);
        let ready = eventually("readiness tells", async || {
            let answer = child.reach.admin("GET", "/readyz", "").await;
            (answer.status == 503).then_some(answer.text)
        });
        let why = ready.await;
        assert!(why.contains(if floor > 0 { "must stay free" } else { "No space left" }), "{why}");
        disk.free();
        let freed = Instant::now();
        let publishing = tokio::sync::Mutex::new((&mut publisher, &mut client));
        eventually("service is complete again", async || {
            let mut publishing = publishing.lock().await;
            let (publisher, client) = &mut *publishing;
            publisher.publish(client, "stored").await.then_some(())
        })
        .await;
        publisher.consumed(&mut consumer).await;
        let ready = async || (child.reach.admin("GET", "/readyz", "").await.status == 200).then_some(());
        eventually("readiness tells that, too", ready).await;
        longest = longest.max(freed.elapsed());
        publisher.check(&mut client).await;
        let list: Value = child.reach.admin("GET", "/v1/logs", "").await.json;
        assert!(list["incidents"].to_string().contains("the store works again"), "{list}");
    }
    stop.cancel();
    let steady = steady.await.unwrap();
    child.terminate();
    assert!(child.ended().await.success());
    let child = setup.spawn().await;
    let mut reader = child.reach.client("reader").await;
    publisher.check(&mut reader).await;
    steady.check(&mut reader).await;
    child.kill();
    Some(longest)
}

/// Says what came of it.
fn told(after: Option<Duration>) {
    match after {
        Some(after) => println!("service was complete again after {after:?}"),
        None => println!("skipped: to mount a small disk needs root, and CAP_SYS_ADMIN in a container"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_logs_and_nothing_else_until_there_is_room() {
    told(fill_and_free(2, FLOOR).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_a_single_byte_left_takes_nothing_that_was_acknowledged() {
    told(fill_and_free(3, 0).await);
}
