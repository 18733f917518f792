//! The disk fills up and has room again: what needs no log goes on, nothing that was answered `logged` is lost.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Client, Folders, Setup, eventually};

/// The disk: four times what the router keeps free.
const DISK: &str = "256m";
/// What is left when it is full: less than the router keeps free.
const LEFT: u64 = 32 << 20;

/// A small disk of its own, in a mount namespace of its own: gone with the process that holds it.
struct Disk {
    holder: Child,
    /// Where everybody else finds it.
    path: PathBuf,
}

impl Disk {
    /// Puts the data folder on it.
    fn under(folders: &Folders) -> Self {
        let mount = folders.root().join("disk");
        std::fs::create_dir(&mount).unwrap();
        let script = format!("mount -t tmpfs -o size={DISK} weir \"$0\" && echo mounted && exec sleep 3600");
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .arg(&mount)
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare(1) of util-linux is needed");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(
            line, "mounted\n",
            "this test mounts a small disk: it needs root, or CAP_SYS_ADMIN in a container"
        );
        let inside = mount.strip_prefix("/").unwrap();
        let path = Path::new("/proc").join(holder.id().to_string()).join("root").join(inside);
        let compiled = std::fs::read_link(folders.data().join("compiled")).unwrap();
        std::fs::remove_dir_all(folders.data()).unwrap();
        std::os::unix::fs::symlink(compiled, path.join("compiled")).unwrap();
        std::os::unix::fs::symlink(&path, folders.data()).unwrap();
        Self { holder, path }
    }

    fn fill(&self) {
        let disk = rustix::fs::statvfs(&self.path).unwrap();
        let free = disk.f_bavail * disk.f_frsize;
        std::fs::write(self.path.join("filler"), vec![1; free.saturating_sub(LEFT) as usize]).unwrap();
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
#[derive(Default)]
struct Publisher {
    next: u64,
    logged: Vec<u64>,
}

impl Publisher {
    /// One more. True: it is on the disk.
    async fn publish(&mut self, client: &mut Client) -> bool {
        let answer = client.publish_at("logged", "kept/a", json!(self.next)).await;
        let logged = answer["level"] == "logged";
        if logged {
            self.logged.push(self.next);
        } else {
            let told = answer["outcome"] == "unavailable"
                || answer["reason"].is_string()
                || answer["note"].is_string();
            assert!(told, "it is said why: {answer}");
        }
        self.next += 1;
        logged
    }

    /// All that was answered `logged` is there, in order.
    async fn check(&self, client: &mut Client) {
        let all = client.history("kept/a").await;
        let found: Vec<u64> = all.iter().map(|message| message["data"].as_u64().unwrap()).collect();
        assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "doubles, or out of order: {found:?}");
        let missing: Vec<_> = self.logged.iter().filter(|number| !found.contains(number)).collect();
        assert!(missing.is_empty(), "answered `logged` and not there: {missing:?}");
    }
}

/// Fills the disk and frees it so many times; returns the longest time until service was complete again.
pub(crate) async fn fill_and_free(times: u32) -> Duration {
    let setup = Setup::open();
    setup.write_config("[[log]]\nname = \"kept\"\ntopics = [\"kept/#\"]\n");
    let disk = Disk::under(&setup.folders);
    let mut child = setup.spawn().await;
    let (mut client, mut reader) = (child.reach.client("writer").await, child.reach.client("reader").await);
    reader.subscribe("other").await;
    let mut publisher = Publisher::default();
    let mut longest = Duration::ZERO;
    for time in 0..times {
        for _ in 0..20 {
            assert!(publisher.publish(&mut client).await);
        }
        disk.fill();
        while publisher.publish(&mut client).await {}
        let refused = client.publish_at("logged", "kept/a", json!(0)).await;
        assert_eq!(refused["outcome"], "unavailable", "{refused}");
        let went = client.publish("other", json!(time)).await;
        assert_eq!(went["outcome"], "accepted", "what needs no log goes on: {went}");
        assert_eq!(reader.message().await["data"], time);
        let ready = eventually("readiness tells", async || {
            let answer = child.reach.admin("GET", "/readyz", "").await;
            (answer.status == 503).then_some(answer.text)
        });
        assert!(ready.await.contains("must stay free"));
        disk.free();
        let freed = Instant::now();
        let publishing = tokio::sync::Mutex::new((&mut publisher, &mut client));
        eventually("service is complete again", async || {
            let mut publishing = publishing.lock().await;
            let (publisher, client) = &mut *publishing;
            publisher.publish(client).await.then_some(())
        })
        .await;
        longest = longest.max(freed.elapsed());
        publisher.check(&mut client).await;
        let list: Value = child.reach.admin("GET", "/v1/logs", "").await.json;
        assert!(list["incidents"].to_string().contains("the store works again"), "{list}");
    }
    child.terminate();
    assert!(child.ended().await.success());
    let child = setup.spawn().await;
    publisher.check(&mut child.reach.client("reader").await).await;
    child.kill();
    longest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_logs_and_nothing_else_until_there_is_room() {
    fill_and_free(1).await;
}
