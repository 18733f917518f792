//! Dead letters are requeued.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::AdminState;
use super::answer::Fault;
use super::dead::{parse, read};
use crate::dead_letters::Letter;

/// Letters of one request.
const LETTERS: usize = 100;
/// After so long no further letter of a request is begun.
const TIME: Duration = Duration::from_secs(3);

/// The body of `POST /v1/dead/requeue`: `ids`, or `plugin`, or `all`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequeueRequest {
    /// These letters, 1 to 100, in this order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<String>>,
    /// All letters of this plugin, or of a webhook as `webhook:NAME`, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// All letters, oldest first.
    pub all: bool,
    /// Only those behind this place: `next` of the answer before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// The answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequeueAnswer {
    /// Of each letter that was tried, what became of it.
    pub requeued: Vec<RequeuedInfo>,
    /// Where others are left: ask again with this as `after`.
    pub next: Option<String>,
}

/// What became of a letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequeuedInfo {
    /// The letter's id.
    pub id: String,
    /// That of the publish; `stored` or `queued` where it was no publish; `invalid`, `unavailable` or `not-found` where
    /// it was not tried.
    pub outcome: String,
    /// In words; may be empty.
    pub reason: String,
    /// Whether the letter is gone.
    pub gone: bool,
}

/// Where a request goes on.
struct After {
    /// The last letter that was tried.
    time_us: u64,
    id: Ulid,
    /// When the newest letter was written that there was at the beginning. What is newer may have come of the requeue
    /// itself, which would never end.
    until_us: u64,
}

/// Which letters are meant, checked.
enum Wanted {
    These(Vec<Ulid>),
    Of(String),
    All,
}

impl RequeueRequest {
    fn check(self) -> Result<(Wanted, Option<After>), Fault> {
        let after = self.after.as_deref().map(After::parse).transpose()?;
        let wanted = match (self.ids, self.plugin, self.all) {
            (Some(ids), None, false) if (1..=LETTERS).contains(&ids.len()) => {
                Wanted::These(ids.iter().map(|id| parse(id)).collect::<Result<_, _>>()?)
            }
            (Some(ids), None, false) => {
                return Err(Fault::invalid(format!("{} ids: 1 to {LETTERS} are accepted", ids.len())));
            }
            (None, Some(plugin), false) => Wanted::Of(plugin),
            (None, None, true) => Wanted::All,
            _ => {
                let accepted = r#"accepted is one of {"ids":[…]}, {"plugin":"NAME"} and {"all":true}"#;
                return Err(Fault::invalid(accepted));
            }
        };
        Ok((wanted, after))
    }
}

pub(super) async fn requeue(
    State(state): State<Arc<AdminState>>,
    body: Bytes,
) -> Result<Json<RequeueAnswer>, Fault> {
    let asked: RequeueRequest = serde_json::from_slice(&body)
        .map_err(|error| Fault::invalid(format!("the body is no request to requeue: {error}")))?;
    let (wanted, after) = asked.check()?;
    let mut letters = select(read(&state).await?, wanted);
    let newest = letters.iter().filter_map(|(_, letter)| Some(letter.as_ref()?.time_us)).max();
    let until_us = after.as_ref().map_or(newest.unwrap_or(0), |after| after.until_us);
    if let Some(After { time_us, id, until_us }) = after {
        letters.retain(|(_, letter)| letter.as_ref().is_none_or(|letter| letter.time_us <= until_us));
        // It may be gone: then its place in the order says what is behind it.
        match letters.iter().position(|(known, _)| *known == id) {
            Some(at) => drop(letters.drain(..=at)),
            None => letters.retain(|(known, letter)| {
                letter.as_ref().is_none_or(|letter| (letter.time_us, *known) > (time_us, id))
            }),
        }
    }
    // It goes on when whoever asked hangs up, so that no letter is left between done and deleted.
    let all = tokio::spawn(async move { each(&state, letters, until_us).await }).await;
    all.map(Json)
        .map_err(|_| Fault::new(StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "the router is stopping"))
}

impl After {
    /// `MICROSECONDS.ID.MICROSECONDS`.
    fn parse(text: &str) -> Result<Self, Fault> {
        let parse = || {
            let mut parts = text.split('.');
            let (time, id, until) = (parts.next()?, parts.next()?, parts.next()?);
            let (time_us, until_us) = (time.parse().ok()?, until.parse().ok()?);
            Some(Self { time_us, id: Ulid::from_string(id).ok()?, until_us })
        };
        parse().ok_or_else(|| Fault::invalid(format!("after {text:?}: accepted is `next` of an answer")))
    }
}

/// The letters that are meant; none where there is no such letter.
fn select(all: Vec<Letter>, wanted: Wanted) -> Vec<(Ulid, Option<Letter>)> {
    let is_wanted = |letter: &Letter| match &wanted {
        Wanted::These(ids) => ids.contains(&letter.id),
        Wanted::Of(plugin) => letter.about.plugin == *plugin,
        Wanted::All => true,
    };
    let found = all.into_iter().filter(is_wanted);
    match &wanted {
        Wanted::These(ids) => {
            let mut found: HashMap<_, _> = found.map(|letter| (letter.id, letter)).collect();
            ids.iter().map(|id| (*id, found.remove(id))).collect()
        }
        Wanted::Of(_) | Wanted::All => found.map(|letter| (letter.id, Some(letter))).collect(),
    }
}

async fn each(state: &AdminState, letters: Vec<(Ulid, Option<Letter>)>, until_us: u64) -> RequeueAnswer {
    let (began, most) = (Instant::now(), letters.len());
    let mut requeued = Vec::new();
    let mut last = (0, Ulid::from(0));
    for (id, letter) in letters.into_iter().take(LETTERS) {
        if !requeued.is_empty() && began.elapsed() >= TIME {
            break;
        }
        last = (letter.as_ref().map_or(0, |letter| letter.time_us), id);
        requeued.push(match letter {
            None => RequeuedInfo {
                id: id.to_string(),
                outcome: "not-found".into(),
                reason: "there is no such dead letter".into(),
                gone: true,
            },
            Some(letter) => {
                let done = state.requeue.requeue(letter).await;
                RequeuedInfo {
                    id: id.to_string(),
                    outcome: done.outcome.into(),
                    reason: done.reason,
                    gone: done.gone,
                }
            }
        });
    }
    let next = (requeued.len() < most).then(|| format!("{}.{}.{until_us}", last.0, last.1));
    RequeueAnswer { requeued, next }
}
