//! `/info`: who is connected, every 5 s and not before. What the client says is not looked at.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::publish::shared_delivery;
use super::{App, access, wire};
use crate::config::Limits;
use crate::gateway::foreign::converse;
use crate::gateway::lease::Lease;
use crate::gateway::visit::Visit;
use crate::gateway::ws::{Encode, Handler, Next, frame};

/// Between two messages, and before the first.
const PERIOD: Duration = Duration::from_secs(5);

pub(super) fn open(app: App, lease: Lease, mut request: Request) -> Response {
    if let Err(refusal) = access::key(&app, &request) {
        return refusal;
    }
    let upgrade = match access::upgrade(&mut request) {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refusal,
    };
    let client = match access::open(&app, &request, "info".into(), "page", true) {
        Ok(client) => client,
        Err(refusal) => return refusal,
    };
    converse(upgrade, lease, client.visit, Arc::clone(&app.limits), move |_, visit| {
        let pushing = tokio::spawn(push(app, Arc::clone(visit.session()))).abort_handle();
        Watcher { _visit: visit, pushing }
    })
}

async fn push(app: App, session: Arc<crate::session::Session>) {
    let mut ticks = interval_at(Instant::now() + PERIOD, PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !session.outbound.is_closed() {
        ticks.tick().await;
        let members = Arc::clone(&app.members);
        // There may be thousands: no worker of a socket shall wait for them.
        let written = tokio::task::spawn_blocking(move || frame::text(1024, |out| members.write(out)));
        let Ok(frame) = written.await else { return };
        session.outbound.push_control(frame);
    }
}

struct Watcher {
    _visit: Visit,
    pushing: AbortHandle,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.pushing.abort();
    }
}

impl Handler for Watcher {
    const ENCODE: Encode = shared_delivery;

    fn most_bytes(&self) -> usize {
        wire::AROUND
    }

    fn silence(&self, _: &Limits) -> Option<Duration> {
        None
    }

    async fn text(&mut self, _: Utf8Bytes) -> Next {
        Next::Read
    }

    async fn binary(&mut self, _: Bytes) -> Next {
        Next::Read
    }
}
