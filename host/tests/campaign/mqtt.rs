//! `kill -9` at random moments under load of MQTT's QoS 1 and 2, in and out.

use crate::harness::mqtt::load;
use crate::{Dice, rounds, seed};

const ROUNDS: u32 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_of_qos_2_is_doubled() {
    let Some(rounds) = rounds(ROUNDS) else { return };
    let mut dice = Dice(seed() | 1);
    load::storm(rounds, |_| {
        let most = [20, 200, 1_000][dice.below(3) as usize];
        1 + dice.below(most)
    })
    .await;
}
