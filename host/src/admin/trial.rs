//! `POST /v1/plugins/try`: a candidate on recorded messages. A line that is empty says only that the router is there;
//! if nobody is there to read it, the try ends.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::AdminState;
use super::answer::Fault;
use crate::message::now_us;
use crate::plugin::Candidate;
use crate::trial::{Asked, Line, NotTried, TrialView};

/// So often a line is sent, whatever happens.
const PULSE: Duration = Duration::from_secs(1);
/// Differences that are told if nobody says how many.
const DIFFERENCES: usize = 20;
/// Differences that may be asked for.
const MOST_DIFFERENCES: usize = 10_000;
/// Binding file, signature and the rest of the request.
const REST_BYTES: usize = 1 << 20;

/// The body.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TryRequest {
    /// The binding in whose place the candidate is put, or that is added.
    pub binding: String,
    /// In Base64.
    pub component: String,
    /// The text of `NAME.wasm.minisig`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The text of a binding file; none = as the live binding is, or the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Messages of the last so many milliseconds.
    pub since_ms: u64,
    /// Differences to tell; default 20, at most 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Every step of them, too.
    #[serde(default)]
    pub steps: bool,
}

/// Longest body: a component in Base64 takes a third more.
pub(super) fn body_bytes(trials: &dyn TrialView) -> usize {
    trials.most_file_bytes().div_ceil(3).saturating_mul(4).saturating_add(REST_BYTES)
}

pub(super) async fn begin(State(state): State<Arc<AdminState>>, body: Bytes) -> Result<Response, Fault> {
    let asked = serde_json::from_slice::<TryRequest>(&body)
        .map_err(|error| Fault::invalid(format!("the body is wrong: {error}")))?;
    drop(body);
    let asked = asked.checked()?;
    let plugin = asked.candidate.name.clone();
    let lines = state.trials.begin(asked).map_err(refused)?;
    tracing::info!(plugin, "a candidate is tried on recorded messages");
    let lines = stream::unfold(lines, |mut lines| async move {
        let line = next(&mut lines).await?;
        Some((Ok::<_, Infallible>(line), lines))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

impl TryRequest {
    fn checked(self) -> Result<Asked, Fault> {
        let component = STANDARD
            .decode(&self.component)
            .map_err(|error| Fault::invalid(format!("`component` is not Base64: {error}")))?;
        let limit = self.limit.unwrap_or(DIFFERENCES);
        if limit > MOST_DIFFERENCES {
            return Err(Fault::invalid(format!("limit {limit}: 0 to {MOST_DIFFERENCES} are accepted")));
        }
        let (name, signature, binding) = (self.binding, self.signature, self.config);
        Ok(Asked {
            candidate: Candidate { name, component, signature, binding },
            since_us: now_us().saturating_sub(self.since_ms.saturating_mul(1_000)),
            limit,
            steps: self.steps,
        })
    }
}

fn refused(why: NotTried) -> Fault {
    let (status, outcome) = match why {
        NotTried::Busy => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        NotTried::NothingRecorded => (StatusCode::CONFLICT, "invalid"),
        NotTried::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "shutting-down"),
    };
    Fault::new(status, outcome, why.to_string())
}

async fn next(lines: &mut Receiver<Line>) -> Option<Bytes> {
    match timeout(PULSE, lines.recv()).await {
        Err(_) => Some(Bytes::from_static(b"\n")),
        Ok(line) => {
            // Writing to memory cannot fail, and everything in it is a text or a number.
            let mut text = serde_json::to_vec(&line?).unwrap_or_default();
            text.push(b'\n');
            Some(text.into())
        }
    }
}
