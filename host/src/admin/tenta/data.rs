//! Data of an import: published as sensors publish them, so that the plugins between see them too.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Number, Value, json};
use tokio::sync::oneshot;

use super::document::Document;
use super::{ImportError, TentaImport, TentaImported};
use crate::accounts::tenta::Id;
use crate::ingress::{Entrant, Ingress, Publish};
use crate::message::{Level, Outcome, Responder, Rights};
use crate::session::Session;

/// Elements of one message.
const ELEMENTS: usize = 64;
/// Text of one message, in bytes: an element may stand beyond it.
const BYTES: usize = 128 * 1024;
/// Messages whose outcome is not known yet.
const IN_FLIGHT: usize = 16;

/// Publishes all of them and waits until they are stored.
pub(super) async fn publish(
    importer: &TentaImport,
    document: &Document,
    imported: &mut TentaImported,
) -> Result<(), ImportError> {
    let mut line = Line::open(importer)?;
    let sent = line.all(document).await;
    importer.ingress.close(&line.session);
    sent?;
    imported.note = line.note;
    imported.measurements = document.measurement.len();
    imported.logs = document.log.len();
    imported.acknowledgments = acknowledgments(document).count();
    Ok(())
}

/// Where elements are gathered until they are a message.
struct Line {
    ingress: Ingress,
    session: Arc<Session>,
    base: String,
    /// Of one table and sensor; with the index of the first.
    gathered: Option<(&'static str, Id, usize)>,
    elements: Vec<Value>,
    bytes: usize,
    waiting: VecDeque<(&'static str, usize, oneshot::Receiver<Outcome>)>,
    note: Option<String>,
}

/// A table, and the kind of message that its rows are published as.
fn kind(table: &str) -> &'static str {
    match table {
        "measurement" => "measurements",
        "log" => "logs",
        _ => "acknowledgments",
    }
}

/// (Index, sensor, element).
fn acknowledgments(document: &Document) -> impl Iterator<Item = (usize, Id, Value)> {
    document.configuration.iter().enumerate().filter_map(|(index, row)| {
        let (at, success) = (row.acknowledgment_timestamp?, row.success?);
        let said = json!({"success": success, "timestamp": document.seconds(at), "revision": row.revision});
        Some((index, row.sensor_identifier, said))
    })
}

impl Line {
    fn open(importer: &TentaImport) -> Result<Self, ImportError> {
        let kinds =
            ["acknowledgments", "measurements", "logs"].map(|kind| format!("{}{kind}/+", importer.base));
        let rights = Rights::new(&kinds.each_ref().map(String::as_str), &[]).unwrap_or_default();
        let entrant = Entrant {
            gateway: "tenta",
            tenant: importer.tenant.clone(),
            name: "import".into(),
            origin: "service",
            rights,
            ..Entrant::default()
        };
        let session = importer.ingress.enter(entrant, None).map_err(|error| ImportError::Refused {
            table: "configuration",
            index: 0,
            reason: error.to_string(),
        })?;
        Ok(Self {
            ingress: importer.ingress.clone(),
            session,
            base: importer.base.clone(),
            gathered: None,
            elements: Vec::new(),
            bytes: 0,
            waiting: VecDeque::new(),
            note: None,
        })
    }

    async fn all(&mut self, document: &Document) -> Result<(), ImportError> {
        for (index, sensor, said) in acknowledgments(document) {
            self.add("configuration", index, sensor, said).await?;
        }
        let mut rows = document.measurement.iter().enumerate().peekable();
        while let Some((index, row)) = rows.next() {
            // Values of one moment are one measurement again, unless an attribute is there twice.
            let mut value = Map::new();
            value.insert(row.attribute.clone(), number(row.value));
            while let Some((_, next)) = rows.peek() {
                let same = next.sensor_identifier == row.sensor_identifier
                    && next.creation_timestamp.total_cmp(&row.creation_timestamp).is_eq()
                    && next.revision == row.revision;
                if !same || value.contains_key(&next.attribute) || value.len() >= ELEMENTS {
                    break;
                }
                value.insert(next.attribute.clone(), number(next.value));
                rows.next();
            }
            let at = document.seconds(row.creation_timestamp);
            let element = json!({"value": value, "timestamp": at, "revision": row.revision});
            self.add("measurement", index, row.sensor_identifier, element).await?;
        }
        for (index, row) in document.log.iter().enumerate() {
            let at = document.seconds(row.creation_timestamp);
            let element = json!({
                "message": row.message, "severity": row.severity, "timestamp": at, "revision": row.revision,
            });
            self.add("log", index, row.sensor_identifier, element).await?;
        }
        self.send().await?;
        while !self.waiting.is_empty() {
            self.hear().await?;
        }
        Ok(())
    }

    async fn add(
        &mut self,
        table: &'static str,
        index: usize,
        sensor: Id,
        element: Value,
    ) -> Result<(), ImportError> {
        let bytes = size(&element);
        let fits = self.elements.len() < ELEMENTS && self.bytes + bytes <= BYTES;
        if !fits || self.gathered.is_some_and(|(of, who, _)| (of, who) != (table, sensor)) {
            self.send().await?;
        }
        self.gathered.get_or_insert((table, sensor, index));
        self.bytes += bytes;
        self.elements.push(element);
        Ok(())
    }

    async fn send(&mut self) -> Result<(), ImportError> {
        let Some((table, sensor, index)) = self.gathered.take() else { return Ok(()) };
        let payload = Value::Array(std::mem::take(&mut self.elements)).to_string();
        self.bytes = 0;
        if self.waiting.len() >= IN_FLIGHT {
            self.hear().await?;
        }
        let publish = Publish {
            topic: format!("{}{}/{sensor}", self.base, kind(table)).into(),
            payload: payload.into(),
            content_type: Some("application/json".into()),
            level: Level::Stored,
            ..Publish::default()
        };
        let (responder, answered) = Responder::channel();
        self.ingress.publish(&self.session, publish, responder).await;
        self.waiting.push_back((table, index, answered));
        Ok(())
    }

    /// Waits for what became of the oldest message.
    async fn hear(&mut self) -> Result<(), ImportError> {
        let Some((table, index, answered)) = self.waiting.pop_front() else { return Ok(()) };
        let outcome = answered.await.unwrap_or(Outcome::ShuttingDown);
        let reason = format!("{}: {}", outcome.as_str(), outcome.reason());
        match outcome {
            Outcome::Accepted { level: Level::Stored, .. } => Ok(()),
            Outcome::Accepted { note, .. } => {
                self.note = self.note.take().or(note);
                Ok(())
            }
            Outcome::Filtered { .. }
            | Outcome::Invalid(_)
            | Outcome::TooLarge { .. }
            | Outcome::Denied { .. } => Err(ImportError::Entry { table, index, reason }),
            _ => Err(ImportError::Refused { table, index, reason }),
        }
    }
}

/// JSON has no number that is not finite, and the file could not have had one.
fn number(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn size(element: &impl Serialize) -> usize {
    serde_json::to_vec(element).map_or(0, |text| text.len())
}
