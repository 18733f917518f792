//! `GET /v1/trace`: every stage of sampled messages, live, as lines of JSON. A line that is empty says only that
//! the router is there; if nobody is there to read it, the trace ends.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use weir_contract::topic::Pattern;

use super::AdminState;
use super::answer::Fault;
use crate::pipeline::trace::{
    MOST_PAYLOAD_BYTES, MOST_PER_S, NotTraced, PAYLOAD_BYTES, PER_S, Traced, Wanted, Watching,
};

/// So often a line is sent, whatever happens: it says what was missed, or is empty.
const PULSE: Duration = Duration::from_secs(1);

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pattern: String,
    /// 1: payloads, too.
    payload: Option<u8>,
    /// So many bytes of each; default 256.
    payload_bytes: Option<usize>,
    /// Of so many messages that match, one; default 1.
    sample: Option<u64>,
    /// Most messages in a second; default 10.
    per_s: Option<u32>,
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum TraceLine {
    /// The first line: from now on messages are traced.
    Tracing {
        /// Topics as they are published.
        pattern: String,
        /// Of so many messages that match, one.
        sample: u64,
        /// Most messages in a second.
        per_s: u32,
    },
    /// A message has been answered.
    Message(Box<Traced>),
    /// So many messages should have been here, and came too fast.
    Missed {
        /// Since the line before that said so.
        missed: u64,
    },
}

pub(super) async fn trace(
    State(state): State<Arc<AdminState>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Fault> {
    let Query(asked) = asked.map_err(|error| Fault::invalid(error.body_text()))?;
    let wanted = asked.wanted()?;
    let (pattern, sample, per_s) = (wanted.pattern.as_str().to_owned(), wanted.sample, wanted.per_s);
    let watching = state.traces.watch(wanted).map_err(refused)?;
    tracing::info!(pattern, "a trace begins");
    let opening = Some(TraceLine::Tracing { pattern, sample, per_s });
    let feed = Feed { watching, opening, pulse: Instant::now() + PULSE, ended: false };
    let lines = stream::unfold(feed, |mut feed| async move {
        let line = feed.next().await?;
        Some((Ok::<_, Infallible>(line), feed))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

fn refused(why: NotTraced) -> Fault {
    let outcome = match why {
        NotTraced::TooMany => "overloaded",
        NotTraced::Stopping => "shutting-down",
    };
    Fault::new(StatusCode::SERVICE_UNAVAILABLE, outcome, why.to_string())
}

impl Asked {
    fn wanted(&self) -> Result<Wanted, Fault> {
        let refuse = |what: &str, found: u64, most: u64, least: u64| {
            Err(Fault::invalid(format!("{what} {found}: {least} to {most} are accepted")))
        };
        let pattern = Pattern::parse(&self.pattern)
            .map_err(|error| Fault::invalid(format!("pattern {:?}: {error}", self.pattern)))?;
        let payload_bytes = match self.payload {
            None | Some(0) => 0,
            Some(1) => self.payload_bytes.unwrap_or(PAYLOAD_BYTES),
            Some(other) => return refuse("payload", other.into(), 1, 0),
        };
        if payload_bytes > MOST_PAYLOAD_BYTES {
            return refuse("payload_bytes", payload_bytes as u64, MOST_PAYLOAD_BYTES as u64, 0);
        }
        let (sample, per_s) = (self.sample.unwrap_or(1), self.per_s.unwrap_or(PER_S));
        if sample == 0 {
            return refuse("sample", sample, u64::MAX, 1);
        }
        if !(1..=MOST_PER_S).contains(&per_s) {
            return refuse("per_s", per_s.into(), MOST_PER_S.into(), 1);
        }
        Ok(Wanted { pattern, sample, per_s, payload_bytes })
    }
}

/// A trace on its way to who watches. It ends when this is dropped, as the server does when nobody reads.
struct Feed {
    watching: Watching,
    opening: Option<TraceLine>,
    pulse: Instant,
    ended: bool,
}

impl Feed {
    /// The next line; none: the router stops.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(opening) = self.opening.take() {
            return Some(line(&opening));
        }
        if self.ended {
            return None;
        }
        // A queue that always has something must not hold up the pulse.
        if Instant::now() < self.pulse {
            match timeout_at(self.pulse, self.watching.queue.recv()).await {
                Ok(Some(traced)) => {
                    return Some(line(&TraceLine::Message(Box::new(self.watching.shown(&traced)))));
                }
                Ok(None) => self.ended = true,
                Err(_) => {}
            }
        }
        self.pulse = Instant::now() + PULSE;
        let missed = self.watching.missed();
        Some(if missed > 0 { line(&TraceLine::Missed { missed }) } else { Bytes::from_static(b"\n") })
    }
}

fn line(of: &TraceLine) -> Bytes {
    // Writing to memory cannot fail, and everything in it is a text or a number.
    let mut line = serde_json::to_vec(of).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
