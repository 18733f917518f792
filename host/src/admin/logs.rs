//! The logs: what they hold, and messages out of them and into them. Also what `weir log` does by itself while
//! no server holds the data folder.

mod export;
mod import;
mod record;
mod report;

pub use export::{Export, Exported};
pub use import::{Import, ImportError, Imported};
pub use report::{ConsumerInfo, EpochInfo, IncidentInfo, LogInfo, LogList, LogStat, OtherLog};

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use weir_contract::topic::Pattern;

use super::AdminState;
use super::answer::{Fault, blocking};
use crate::config::LogRule;
use crate::recorded::Recording;
use crate::store::{Log, Store, StoreError};

/// Chunks of an export that wait for a slow reader; the log is read no further meanwhile.
const WAITING_CHUNKS: usize = 4;
/// How long the next piece of an import may take.
const PIECE_DEADLINE: Duration = Duration::from_secs(30);

/// The logs and their rules.
#[derive(Clone)]
pub struct Logs {
    store: Store,
    rules: Arc<[LogRule]>,
}

/// A log and its rule.
pub(super) struct Known<'a> {
    log: &'a Log,
    rule: &'a LogRule,
}

/// Why no import begins.
#[derive(Debug, thiserror::Error)]
pub enum NoImport {
    /// No such log.
    #[error(transparent)]
    Unknown(#[from] UnknownLog),
    /// It has `record_input`.
    #[error("log {0} records input: it takes messages as they come in, and no imports")]
    Input(String),
}

/// There is no log of this name.
#[derive(Debug, thiserror::Error)]
#[error("no log is named {name:?}: there are {known}")]
pub struct UnknownLog {
    name: String,
    known: String,
}

impl Logs {
    /// `rules` in the order of `store.logs()`.
    pub fn new(store: Store, rules: &[LogRule]) -> Self {
        Self { store, rules: rules.into() }
    }

    fn all(&self) -> impl Iterator<Item = Known<'_>> {
        self.store.logs().iter().zip(&*self.rules).map(|(log, rule)| Known { log, rule })
    }

    fn find(&self, name: &str) -> Result<Known<'_>, UnknownLog> {
        self.all().find(|known| known.rule.name == name).ok_or_else(|| {
            let known = self.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>().join(", ");
            UnknownLog { name: name.to_owned(), known }
        })
    }

    /// How many incidents the store has reported since its start.
    pub(super) fn incident_count(&self) -> u64 {
        self.store.incident_count()
    }

    /// Begins an import into the log of this name.
    pub fn import(&self, name: &str) -> Result<Import, NoImport> {
        let known = self.find(name)?;
        if known.rule.record_input {
            return Err(NoImport::Input(name.to_owned()));
        }
        // The configuration has checked them.
        let topics = known.rule.topics.iter().filter_map(|topic| Pattern::parse(topic).ok()).collect();
        Ok(Import::new(self.store.clone(), known.log.index(), topics))
    }

    /// What logs with `record_input` hold of `since_us` (Unix microseconds) and later. Blocks.
    pub fn recording(&self, since_us: u64) -> Result<Recording, StoreError> {
        Recording::since(&self.store, since_us)
    }

    /// Writes a part of a log to `write`, in chunks of whole lines; stops when `write` says false. Blocks.
    pub fn export(
        &self,
        name: &str,
        export: &Export,
        write: &mut dyn FnMut(Vec<u8>) -> bool,
    ) -> Result<Exported, ExportError> {
        Ok(export.run(self.find(name)?.log, write)?)
    }
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// No such log.
    #[error(transparent)]
    Unknown(#[from] UnknownLog),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn unknown(error: &UnknownLog) -> Fault {
    Fault::new(StatusCode::NOT_FOUND, "not-found", error.to_string())
}

fn unreadable(error: &StoreError) -> Fault {
    Fault::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string())
}

pub(super) async fn list(State(state): State<Arc<AdminState>>) -> Result<Json<LogList>, Fault> {
    blocking(move || state.logs.list()).await.map(Json)
}

pub(super) async fn stat(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
) -> Result<Json<LogStat>, Fault> {
    let stat = blocking(move || state.logs.stat(&name)).await?;
    stat.map(Json).map_err(|error| match error {
        ExportError::Unknown(error) => unknown(&error),
        ExportError::Store(error) => unreadable(&error),
    })
}

pub(super) async fn export(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
    export: Result<Query<Export>, QueryRejection>,
) -> Result<Response, Fault> {
    let Query(export) = export.map_err(|error| Fault::invalid(error.body_text()))?;
    export.check().map_err(Fault::invalid)?;
    state.logs.find(&name).map_err(|error| unknown(&error))?;
    let (chunks, waiting) = mpsc::channel::<std::io::Result<Bytes>>(WAITING_CHUNKS);
    drop(tokio::task::spawn_blocking(move || {
        let write = |chunk: Vec<u8>| chunks.blocking_send(Ok(chunk.into())).is_ok();
        if let Err(error) = state.logs.export(&name, &export, &mut { write }) {
            tracing::error!(log = name, %error, "an export broke off");
            // The answer ends without its end, which every HTTP client takes for an error.
            drop(chunks.blocking_send(Err(std::io::Error::other(error))));
        }
    }));
    let body = stream::unfold(waiting, |mut waiting| async move { Some((waiting.recv().await?, waiting)) });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(body)).into_response())
}

pub(super) async fn import(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Imported>, Fault> {
    let import = state.logs.import(&name).map_err(|error| match error {
        NoImport::Unknown(error) => unknown(&error),
        input @ NoImport::Input(_) => Fault::new(StatusCode::CONFLICT, "invalid", input.to_string()),
    })?;
    let mut pieces = body.into_data_stream();
    let imported = take(import, &mut pieces).await;
    if imported.is_err() {
        // A client that is still sending would not see the answer.
        let rest = async { while let Some(Ok(_)) = pieces.next().await {} };
        drop(tokio::time::timeout(PIECE_DEADLINE, rest).await);
    }
    let imported = imported?;
    state.metrics.log(&name).appended.inc_by(imported.imported);
    tracing::info!(log = name, messages = imported.imported, "messages imported");
    Ok(Json(imported))
}

async fn take(mut import: Import, pieces: &mut axum::body::BodyDataStream) -> Result<Imported, Fault> {
    loop {
        let piece = tokio::time::timeout(PIECE_DEADLINE, pieces.next()).await;
        let late =
            |_| Fault::new(StatusCode::REQUEST_TIMEOUT, "invalid", import.broke_off("nothing came for 30 s"));
        match piece.map_err(late)? {
            Some(Ok(piece)) => import.take(&piece).await.map_err(|error| refused(&error))?,
            Some(Err(error)) => return Err(Fault::invalid(import.broke_off(&error.to_string()))),
            None => return import.finish().await.map_err(|error| refused(&error)),
        }
    }
}

fn refused(error: &ImportError) -> Fault {
    let (status, outcome) = match error {
        ImportError::Line { .. } => (StatusCode::BAD_REQUEST, "invalid"),
        ImportError::Store { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    Fault::new(status, outcome, error.to_string())
}
