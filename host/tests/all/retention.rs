//! Retention under a steady flow, through the whole router: the disk that a log takes stays within its bound.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;

use crate::harness::{Setup, eventually};

const MIB: u64 = 1 << 20;
/// What the log may take. Two segments, the smallest number that is kept, are 8 MiB.
const MOST: u64 = 16 * MIB;
/// The segment that is being written, and one more that goes only when it is full: 4 MiB each, rounded up to the
/// steps of 2 MiB in which a database grows.
const SLACK: u64 = 12 * MIB;
/// Payload of one message.
const PAYLOAD: usize = 32 * 1024;

/// What stands after the log was written anew once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turnover {
    /// Bytes that the log takes on the disk.
    pub(crate) disk: u64,
    /// Resident memory of the router, in bytes.
    pub(crate) resident: u64,
}

/// Bytes that a folder takes on the disk.
fn on_disk(path: &Path) -> u64 {
    // What retention deletes meanwhile is gone.
    let own = path.symlink_metadata().map_or(0, |metadata| metadata.blocks() * 512);
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|entry| on_disk(&entry.path())).sum::<u64>()
}

/// Writes a log anew so many times while somebody reads it; the disk is looked at all the time.
pub(crate) async fn turn(turnovers: u32, mut each: impl FnMut(Turnover)) {
    let setup = Setup::open();
    setup.write_config(&format!(
        "[[log]]\nname = \"small\"\ntopics = [\"#\"]\nmax_bytes = {MOST}\nmax_age = \"none\"\n"
    ));
    let child = setup.spawn().await;
    let folder = setup.folders.data().join("log");
    let (mut writer, mut reader) = (child.reach.client("writer").await, child.reach.client("reader").await);
    reader.subscribe("flow").await;
    let text = "x".repeat(PAYLOAD);
    let messages = MOST / PAYLOAD as u64;
    let mut number = 0_u64;
    for _ in 0..turnovers {
        let mut disk = 0;
        for _ in 0..messages {
            let frame = json!({"action": "publish", "topic": "flow", "text": text, "level": "logged"});
            let answer = writer.ask(frame).await;
            assert_eq!(answer["level"], "logged", "{answer}");
            assert_eq!(reader.message().await["offset"], number);
            number += 1;
            if number.is_multiple_of(64) {
                disk = disk.max(on_disk(&folder));
                assert!(disk <= MOST + SLACK, "{disk} bytes on disk: {} are the bound", MOST + SLACK);
            }
        }
        each(Turnover { disk, resident: child.resident() });
    }
    let stat = child.reach.admin("GET", "/v1/logs/small", "").await.json;
    assert!(stat["oldest"].as_u64().unwrap() > 0, "{stat}");
    // What is over the bound goes, segment by segment.
    eventually("retention by bytes", async || {
        let stat = child.reach.admin("GET", "/v1/logs/small", "").await.json;
        (stat["bytes"].as_u64()? <= MOST).then_some(())
    })
    .await;
    child.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_steady_flow_stays_within_the_bound_of_its_log() {
    turn(3, |Turnover { disk, resident }| assert!(disk > 0 && resident > 0)).await;
}
