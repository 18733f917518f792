//! The table of who is connected, every 2 s.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::presence::Presence;
use crate::session::Session;

/// Between two tables.
const PERIOD: Duration = Duration::from_secs(2);

/// Sends tables to a session; ends with this.
pub(super) struct Tables(AbortHandle);

impl Tables {
    pub(super) fn begin(presence: Arc<Presence>, session: Arc<Session>) -> Self {
        Self(tokio::spawn(push(presence, session)).abort_handle())
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn push(presence: Arc<Presence>, session: Arc<Session>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !session.outbound.is_closed() {
        ticks.tick().await;
        // Who does not read gets the next table later, and not many at once.
        if session.outbound.has_room() {
            session.outbound.push_control(presence.frame());
        }
    }
}
