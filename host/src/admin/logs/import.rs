//! Messages into a log, in batches, each on the disk before the next one is begun.

use serde::{Deserialize, Serialize};
use weir_contract::topic::Pattern;

use super::record::{self, Read};
use crate::message::Message;
use crate::retained;
use crate::store::{Store, SubmitError};

/// Messages and bytes of one batch.
const BATCH: (usize, usize) = (1_000, 1 << 20);
/// Longest line, in bytes: a message of 1 MiB takes 1.4 in base64.
const LINE_BYTES: usize = 2 << 20;

/// An import under way. It takes the bytes as they come, lines in pieces too.
pub struct Import {
    store: Store,
    log: usize,
    topics: Vec<Pattern>,
    /// A line that has begun.
    rest: Vec<u8>,
    /// Lines read.
    line: u64,
    batch: Vec<Message>,
    batch_bytes: usize,
    done: Imported,
    /// What the last lines of exports say: several may follow each other.
    announced: u64,
    /// Nothing came behind such a line.
    ends: bool,
}

/// What was imported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// How many messages.
    pub imported: u64,
    /// Offset of the first.
    pub first: Option<u64>,
    /// Offset of the last; others may stand between them.
    pub last: Option<u64>,
    /// How many there were when they were exported; none: the line that says so is not the last.
    pub exported: Option<u64>,
}

/// Why an import stopped.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A line is no message.
    #[error(
        "line {line}: {reason}; {before} messages of the batches before are imported, nothing of this one"
    )]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
        /// Messages imported before.
        before: u64,
    },
    /// The store does not take them.
    #[error("{reason}; {before} messages of the batches before are imported, of this one none is sure to be")]
    Store {
        /// Why.
        reason: String,
        /// Messages imported before.
        before: u64,
    },
}

impl Import {
    pub(super) fn new(store: Store, log: usize, topics: Vec<Pattern>) -> Self {
        Self {
            store,
            log,
            topics,
            rest: Vec::new(),
            line: 0,
            batch: Vec::new(),
            batch_bytes: 0,
            done: Imported::default(),
            announced: 0,
            ends: false,
        }
    }

    /// Takes more bytes. Returns when every batch that became full is on the disk.
    pub async fn take(&mut self, bytes: &[u8]) -> Result<(), ImportError> {
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            if self.rest.len() + piece.len() > LINE_BYTES {
                self.line += 1;
                return Err(self.wrong(format!("longer than {LINE_BYTES} bytes")));
            }
            self.rest.extend_from_slice(piece);
            // What follows the last line feed is a line that goes on.
            if pieces.peek().is_some() {
                self.end_line().await?;
            }
        }
        Ok(())
    }

    /// Takes what is left.
    pub async fn finish(mut self) -> Result<Imported, ImportError> {
        self.end_line().await?;
        self.write().await?;
        self.done.exported = self.ends.then_some(self.announced);
        Ok(self.done)
    }

    /// What to say when nothing more comes though there should be more.
    pub fn broke_off(&self, why: &str) -> String {
        let (line, before) = (self.line + 1, self.done.imported);
        format!("it broke off in line {line}: {why}; {before} messages of the batches before are imported")
    }

    async fn end_line(&mut self) -> Result<(), ImportError> {
        let line = std::mem::take(&mut self.rest);
        if line.is_empty() {
            self.line += 1;
            return Ok(());
        }
        self.line += 1;
        let read = record::read(&line).map_err(|reason| self.wrong(reason))?;
        // The memory of the line is kept for the next one.
        self.rest = line;
        self.rest.clear();
        let message = match read {
            Read::Empty => return Ok(()),
            Read::End(exported) => {
                self.announced += exported;
                self.ends = true;
                return Ok(());
            }
            Read::Message(message) => message,
        };
        self.ends = false;
        if !self.topics.iter().any(|pattern| pattern.matches(&message.topic)) {
            return Err(self.wrong(format!("the topic {:?} is none of this log's", message.topic)));
        }
        self.batch_bytes += message.size();
        self.batch.push(message);
        if self.batch.len() >= BATCH.0 || self.batch_bytes >= BATCH.1 {
            self.write().await?;
        }
        Ok(())
    }

    fn wrong(&self, reason: String) -> ImportError {
        ImportError::Line { line: self.line, reason, before: self.done.imported }
    }

    fn failed(&self, reason: impl ToString) -> ImportError {
        ImportError::Store { reason: reason.to_string(), before: self.done.imported }
    }

    /// Puts the batch into the log and waits until it is on the disk.
    async fn write(&mut self) -> Result<(), ImportError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (first, durable) = loop {
            self.store.writer().room().await;
            let (done, durable) = tokio::sync::oneshot::channel();
            let submitted = self.store.writer().submit(|queue| {
                let first = queue.next_offset(self.log);
                for (offset, message) in (first..).zip(&self.batch) {
                    queue.record(self.log, offset, message.clone());
                }
                if let Some(log) = self.store.logs().get(self.log) {
                    retained::pass_over(queue, log);
                }
                // The importer may have gone away: then nobody is left to be told.
                queue.on_durable(Box::new(move |result| drop(done.send(result))));
                first
            });
            match submitted {
                Ok(first) => break (first, durable),
                // Publishers were quicker: wait for room again.
                Err(SubmitError::Full { .. }) => tokio::time::sleep(RETRY).await,
                Err(error) => return Err(self.failed(error)),
            }
        };
        match durable.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(self.failed(error)),
            Err(_) => return Err(self.failed("the router is stopping")),
        }
        let count = self.batch.len() as u64;
        self.done.imported += count;
        self.done.first.get_or_insert(first);
        self.done.last = Some(first + count - 1);
        self.batch.clear();
        self.batch_bytes = 0;
        Ok(())
    }
}

/// Pause before a queue that was full is tried again.
const RETRY: std::time::Duration = std::time::Duration::from_millis(5);
