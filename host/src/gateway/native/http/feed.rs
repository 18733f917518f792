//! The body of `GET /v1/subscribe`: what waits for the session, as server-sent events.

mod ids;

pub(super) use ids::{Ids, parse as parse_id};

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

use super::super::{socket, sse};
use crate::gateway::lease::Lease;
use crate::gateway::tcp::Watch;
use crate::gateway::visit::Visit;
use crate::gateway::ws::STOPPING;
use crate::message::{Mark, Routed};
use crate::metrics::GatewayMetrics;
use crate::session::{Item, Notice};

/// After so long without an event, a comment is sent.
const QUIET: Duration = Duration::from_secs(15);
/// A chunk of the body is sent when it has as many bytes, or nothing more waits.
const CHUNK: usize = 16 * 1024;

/// One stream of events. The session ends when it is dropped, as the server does when the client goes away.
pub(super) struct Feed {
    visit: Visit,
    lease: Lease,
    watch: Watch,
    metrics: Arc<GatewayMetrics>,
    opening: Option<Bytes>,
    ids: Ids,
    items: VecDeque<Item>,
    /// The client sends nothing more: it has closed the connection, or only its half.
    half_closed: bool,
    stopping: bool,
    closed: bool,
}

impl Feed {
    /// `opening`: what is said first.
    pub(super) fn new(visit: Visit, (lease, watch): (Lease, Watch), ids: Ids, opening: Bytes) -> Self {
        let metrics = visit.ingress().gateway(visit.session().gateway);
        let (opening, items) = (Some(opening), VecDeque::new());
        let (half_closed, stopping, closed) = (false, false, false);
        Self { visit, lease, watch, metrics, opening, ids, items, half_closed, stopping, closed }
    }

    /// As a body that is read as fast as the client reads.
    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut feed| async move {
            let chunk = feed.next().await?;
            feed.metrics.bytes_out.inc_by(chunk.len() as u64);
            Some((Ok::<_, Infallible>(chunk), feed))
        }))
    }

    async fn next(&mut self) -> Option<Bytes> {
        if let Some(opening) = self.opening.take() {
            return Some(opening);
        }
        while !self.closed {
            let chunk = self.chunk();
            if !chunk.is_empty() {
                return Some(chunk.into());
            }
            let outbound = &self.visit.session().outbound;
            tokio::select! {
                biased;
                () = self.lease.shutdown(), if !self.stopping => {
                    self.stopping = true;
                    outbound.close(1001, STOPPING);
                }
                () = outbound.take(&mut self.items) => {}
                () = self.watch.broken() => self.closed = true,
                () = self.watch.finished(), if !self.half_closed => {
                    self.half_closed = true;
                    // If nobody is there any more, the answer to this is that the connection breaks.
                    return Some(sse::HEARTBEAT);
                }
                () = tokio::time::sleep(QUIET) => return Some(sse::HEARTBEAT),
            }
        }
        None
    }

    /// Writes what was taken.
    fn chunk(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while out.len() < CHUNK
            && let Some(item) = self.items.pop_front()
        {
            match item {
                Item::Message(routed) => self.delivery(&mut out, &routed),
                Item::Control(notice) => {
                    if sse::is_named(&notice, "caught-up") {
                        self.ids.caught_up();
                    } else if notice == sse::RETAINED_SENT {
                        self.ids.retained_sent();
                    }
                    out.extend_from_slice(&notice);
                }
                Item::Gap(gap) => out.extend_from_slice(&sse::notice(Notice::Gap(&gap))),
                Item::Close(code, reason) => {
                    sse::close(&mut out, code, &reason);
                    self.items.clear();
                    self.closed = true;
                }
            }
        }
        out
    }

    fn delivery(&mut self, out: &mut Vec<u8>, routed: &Routed) {
        if self.visit.session().outbound.expires(routed) {
            self.metrics.expired.inc();
            return;
        }
        self.metrics.messages_out.inc();
        // A retained message is older than what came before it.
        if let (Some(place), Mark::Live) = (&routed.place, &routed.mark) {
            self.ids.saw(place);
        }
        sse::put_delivery(out, self.ids.text(), &socket::shared_delivery(routed));
    }
}
