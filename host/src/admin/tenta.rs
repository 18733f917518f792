//! `/v1/tenta`: accounts and data of another tenta server, and who there is.

mod accounts;
mod data;
mod document;
mod list;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::AdminState;
use super::answer::{Fault, blocking};
use crate::accounts::AccountsError;
use crate::config::{Tenta, TentaFlavour};
use crate::ingress::Ingress;
use document::Document;

pub use list::{NetworkInfo, NetworkList, PersonInfo, PersonList};
pub(super) use list::{delete_network, delete_user, networks, users};

/// What is imported at once; more is to be split into several files.
const MOST_BYTES: usize = 64 << 20;
/// Until the next piece of a file is there.
const PIECE_DEADLINE: Duration = Duration::from_secs(30);

/// Where imports go.
#[derive(Clone)]
pub struct TentaImport {
    ingress: Ingress,
    tenant: String,
    base: String,
    hermes: bool,
}

impl TentaImport {
    /// Into the accounts of the gateway with this configuration, and through this door.
    pub fn new(ingress: Ingress, config: &Tenta) -> Self {
        let hermes = config.flavour == TentaFlavour::Hermes;
        Self { ingress, tenant: config.tenant.clone(), base: config.base(), hermes }
    }
}

/// Parameters of `POST /v1/tenta/import`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Options {
    /// Seconds that are added to every time.
    offset: f64,
}

/// What was imported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TentaImported {
    /// Users.
    pub users: usize,
    /// Their access tokens.
    pub tokens: usize,
    /// Networks.
    pub networks: usize,
    /// Users in networks.
    pub permissions: usize,
    /// Sensors.
    pub sensors: usize,
    /// Their configurations.
    pub configurations: usize,
    /// Acknowledgments of these.
    pub acknowledgments: usize,
    /// Values that sensors measured.
    pub measurements: usize,
    /// Lines of logs.
    pub logs: usize,
    /// Why published data may not be stored; none: all of it is.
    pub note: Option<String>,
}

/// Why an import stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum ImportError {
    /// It is no such file.
    #[error("{0}")]
    Json(serde_json::Error),
    /// An entry is wrong.
    #[error("{table}[{index}]: {reason}; what stands before it is imported")]
    Entry {
        table: &'static str,
        /// Counted from 0.
        index: usize,
        reason: String,
    },
    /// The router does not take it now.
    #[error("{table}[{index}]: {reason}; what stands before it is imported")]
    Refused { table: &'static str, index: usize, reason: String },
}

impl ImportError {
    fn of(table: &'static str, index: usize, error: &AccountsError) -> Self {
        let reason = error.to_string();
        match error {
            AccountsError::Store(_) | AccountsError::Random(_) | AccountsError::Hash(_) => {
                Self::Refused { table, index, reason }
            }
            _ => Self::Entry { table, index, reason },
        }
    }
}

impl From<ImportError> for Fault {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Refused { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string())
            }
            error => Self::invalid(error.to_string()),
        }
    }
}

/// What `[tenta]` would be needed for.
fn importer(state: &AdminState) -> Result<TentaImport, Fault> {
    state.tenta.clone().ok_or_else(|| {
        let reason = "tenta's clients are not served here: [tenta] is not in the configuration";
        Fault::new(StatusCode::CONFLICT, "invalid", reason)
    })
}

pub(super) async fn import(
    State(state): State<Arc<AdminState>>,
    Query(options): Query<Options>,
    body: Body,
) -> Result<Json<TentaImported>, Fault> {
    let importer = importer(&state)?;
    if !options.offset.is_finite() {
        return Err(Fault::invalid("offset: expected a number of seconds"));
    }
    let bytes = read(body).await?;
    let kept = blocking({
        let (importer, accounts) = (importer.clone(), Arc::clone(&state.accounts));
        move || {
            let document = Document::read(&bytes, options.offset).map_err(ImportError::Json)?;
            drop(bytes);
            let imported = accounts::keep(&importer, accounts.tenta(), &document)?;
            Ok::<_, ImportError>((document, imported))
        }
    });
    let (document, mut imported) = kept.await??;
    data::publish(&importer, &document, &mut imported).await?;
    let TentaImported { users, sensors, configurations, measurements, logs, .. } = imported;
    tracing::info!(users, sensors, configurations, measurements, logs, "data of tenta imported");
    Ok(Json(imported))
}

async fn read(body: Body) -> Result<Vec<u8>, Fault> {
    let mut pieces = body.into_data_stream();
    let mut bytes = Vec::new();
    loop {
        let piece = tokio::time::timeout(PIECE_DEADLINE, pieces.next()).await;
        let late = |_| {
            Fault::new(StatusCode::REQUEST_TIMEOUT, "invalid", "the file broke off: nothing came for 30 s")
        };
        match piece.map_err(late)? {
            Some(Ok(piece)) if bytes.len() + piece.len() > MOST_BYTES => {
                // A client that is still sending would not see the answer.
                let rest = async { while let Some(Ok(_)) = pieces.next().await {} };
                drop(tokio::time::timeout(PIECE_DEADLINE, rest).await);
                let reason =
                    format!("the file is over {MOST_BYTES} bytes: import it in parts, accounts first");
                return Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", reason));
            }
            Some(Ok(piece)) => bytes.extend_from_slice(&piece),
            Some(Err(error)) => return Err(Fault::invalid(format!("the file broke off: {error}"))),
            None => return Ok(bytes),
        }
    }
}
