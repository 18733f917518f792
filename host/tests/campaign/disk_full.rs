//! The disk fills up again and again.

#[path = "../all/disk_full.rs"]
mod short;

use std::time::Duration;

use crate::rounds;

const TIMES: u32 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_is_complete_soon_after_there_is_room_again() {
    let Some(times) = rounds(TIMES) else { return };
    for floor in [short::FLOOR, 0] {
        let longest = short::fill_and_free(times, floor).await;
        let longest = longest.expect("to mount a small disk needs root, and CAP_SYS_ADMIN in a container");
        println!("{times} times full, {floor} bytes kept free: complete again after {longest:?} at most");
        assert!(longest < Duration::from_secs(5), "{longest:?}");
    }
}
