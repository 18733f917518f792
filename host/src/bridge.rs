//! The router as a client of an MQTT broker: messages of the broker come in, messages of the logs go out, and nothing of
//! QoS 1 is lost while either side restarts.
//!
//! - `life`: the session in this router, and connections to the broker, one after the other (`dial`, `pause`).
//! - `talk`: one connection: reading and writing side by side (`wire`) over the protocol's state (`link`).
//! - `inward`: a message of the broker goes through the one door as all messages do, and is acknowledged when its outcome
//!   is final. `outward`: durable consumers read the logs, and go on when the broker has acknowledged.
//! - `names`: which topic there is which topic here. `remembered`: what the broker's session is subscribed to.
//!
//! Packets and packet identifiers are those of `mqtt-protocol-core`, as in `gateway::mqtt`.

mod dial;
mod inward;
mod life;
mod link;
mod names;
mod outward;
mod pause;
mod remembered;
mod talk;
mod told;
mod wire;

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::MqttBridge;
use crate::ingress::Ingress;
use crate::metrics::BridgeMetrics;
use crate::store::StorageSpace;
use life::Life;

/// Its key space in the store.
pub const SPACE: &str = "$bridge.mqtt";

/// A bridge that runs.
pub struct Bridge {
    work: JoinHandle<()>,
    tried: CancellationToken,
}

impl Bridge {
    /// Begins to connect, until `closing`. `space` is its own.
    pub fn start(
        config: &MqttBridge,
        ingress: &Ingress,
        space: StorageSpace,
        metrics: BridgeMetrics,
        closing: CancellationToken,
    ) -> Self {
        let life = Arc::new(Life::new(config.clone(), ingress.clone(), space, metrics));
        let tried = life.tried.clone();
        Self { work: tokio::spawn(async move { life.run(closing).await }), tried }
    }

    /// Waits until its readers of the logs stand, so that nothing is published before them; or until that has failed, and
    /// is tried again.
    pub async fn reads(&self) {
        self.tried.cancelled().await;
    }

    /// Waits for its end: what the broker sent is answered, and the broker told goodbye, within a few seconds.
    pub async fn ended(self) {
        if self.work.await.is_err() {
            tracing::error!("the bridge to the MQTT broker has ended by a defect");
        }
    }
}
