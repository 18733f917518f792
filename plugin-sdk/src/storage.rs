use crate::bindings::imports::weir::plugin::types;
use crate::bindings::storage::exports::weir::plugin::storage as wit;
use crate::state::StateError;
use crate::{ConfigError, Error, Export, Instance, Message, Plugin, Result, Session, Space, export};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Turns a log into data that can be queried.
pub trait Storage: Plugin {
    /// Batches of 1 to 64 messages in log order; the writes and the cursor are committed in one step, so each
    /// message counts exactly once. Has 1 s. Take times from the messages, never from a clock.
    fn store(&self, batch: &[Message], space: &mut Space) -> Result<(), StoreFailure>;

    /// One page. Has 1 s. Reads committed data by `state`; other calls may commit between two reads.
    fn query(&self, question: &Question) -> Result<Answer, QueryError>;
}

/// Why nothing of a batch may be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreFailure {
    /// One message of the batch can never be stored: the host dead-letters it and calls again without it.
    Unprocessable {
        /// Its place in the batch, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Not now: tried again with backoff.
    Unavailable(String),
    /// A broken assumption: tried likewise, and the binding is shown as failed.
    Internal(String),
}

impl StoreFailure {
    /// One message of the batch can never be stored.
    pub fn unprocessable(index: usize, reason: impl ToString) -> Self {
        Self::Unprocessable { index, reason: reason.to_string() }
    }
}

impl From<Error> for StoreFailure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(text) => Self::Unavailable(text),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<StateError> for StoreFailure {
    fn from(error: StateError) -> Self {
        Error::from(error).into()
    }
}

impl From<serde_json::Error> for StoreFailure {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

/// One question. The host has authorised `topic` for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Topic or pattern. The answer must rest only on messages of topics that it matches.
    pub topic: String,
    /// A JSON object, `{}` when absent; [`Question::params`] reads it.
    pub params: String,
    /// Where an earlier answer ended. Untrusted: check it.
    pub cursor: Option<Vec<u8>>,
    /// Most items wanted, 1 to 1,000.
    pub limit: usize,
    pub(crate) session: Vec<u8>,
}

impl Question {
    /// Who asks.
    pub fn session(&self) -> Session<'_> {
        Session::new(&self.session)
    }

    /// The parameters. Those that came from a URL are texts: `"5"` is accepted where `5` is, `"true"` where
    /// `true` is.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, QueryError> {
        let invalid = |path, reason| QueryError::Invalid(ConfigError { path, reason });
        let mut value: Value = crate::plugin::read_json(self.params.as_bytes())
            .map_err(|(path, reason)| invalid(path, reason))?;
        loop {
            let error = match serde_path_to_error::deserialize(&value) {
                Ok(params) => return Ok(params),
                Err(error) => error,
            };
            let path = crate::plugin::pointer(error.path());
            // Each turn makes one text into a number or a flag, so the loop ends.
            let plain = value.pointer_mut(&path).and_then(|at| Some((plain(at.as_str()?)?, at)));
            match plain {
                Some((plain, at)) => *at = plain,
                None => return Err(invalid(path, error.inner().to_string())),
            }
        }
    }
}

/// The number or the flag that a text spells.
fn plain(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(|value: &Value| value.is_number() || value.is_boolean())
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Each is one JSON text, at most 64 KiB; 1 MiB in all.
    pub items: Vec<String>,
    /// Where the next page starts, at most 1 KiB. None: the end.
    pub next: Option<Vec<u8>>,
}

impl Answer {
    /// A page of items, each written as JSON.
    pub fn page<T: Serialize>(
        items: impl IntoIterator<Item = T>,
        next: Option<Vec<u8>>,
    ) -> Result<Self, QueryError> {
        let items = items.into_iter().map(|item| serde_json::to_string(&item)).collect::<Result<_, _>>();
        Ok(Self { items: items.map_err(|error| QueryError::Internal(error.to_string()))?, next })
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryError {
    /// The caller's fault: JSON Pointer into the parameters, and what is accepted.
    Invalid(ConfigError),
    /// Nothing is known about this topic. An empty page is not an error.
    NotFound,
    /// Not now; counted as a failure.
    Unavailable(String),
    /// A broken assumption; counted as a failure.
    Internal(String),
}

impl QueryError {
    /// The caller's fault.
    pub fn invalid(path: impl ToString, reason: impl ToString) -> Self {
        Self::Invalid(ConfigError::new(path, reason))
    }
}

impl From<Error> for QueryError {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => Self::invalid(refusal.path, refusal.reason),
            Error::Unavailable(text) => Self::Unavailable(text),
            Error::Internal(text) => Self::Internal(text),
        }
    }
}

impl From<StateError> for QueryError {
    fn from(error: StateError) -> Self {
        Error::from(error).into()
    }
}

impl From<serde_json::Error> for QueryError {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

impl<P: Storage + Instance> wit::Guest for Export<P> {
    fn init(config: String, context: Vec<u8>) -> Result<(), types::ConfigError> {
        export::init::<P>(&config, context)
    }

    fn store(batch: Vec<types::Message>) -> Result<Vec<wit::Write>, wit::StoreFailure> {
        let batch: Vec<Message> = batch.into_iter().map(Message::from).collect();
        let mut space = Space::default();
        match export::call(|plugin: &P| Ok(plugin.store(&batch, &mut space))).map_err(StoreFailure::from) {
            Ok(Ok(())) => Ok(space.into_writes().into_iter().map(wit::Write::from).collect()),
            Ok(Err(failure)) | Err(failure) => Err(failure.into()),
        }
    }

    fn query(question: wit::Question) -> Result<wit::Answer, wit::QueryError> {
        let question = Question {
            topic: question.topic,
            params: question.params,
            cursor: question.cursor,
            limit: usize::try_from(question.limit).unwrap_or(usize::MAX),
            session: question.session,
        };
        match export::call(|plugin: &P| Ok(plugin.query(&question))).map_err(QueryError::from) {
            Ok(Ok(answer)) => Ok(wit::Answer { items: answer.items, next: answer.next }),
            Ok(Err(error)) | Err(error) => Err(error.into()),
        }
    }
}

impl From<StoreFailure> for wit::StoreFailure {
    fn from(failure: StoreFailure) -> Self {
        match failure {
            StoreFailure::Unprocessable { index, reason } => {
                // An index that does not fit is out of range for the host too.
                Self::Unprocessable(wit::BadMessage {
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                    reason,
                })
            }
            StoreFailure::Unavailable(text) => Self::Unavailable(text),
            StoreFailure::Internal(text) => Self::Internal(text),
        }
    }
}

impl From<QueryError> for wit::QueryError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Invalid(error) => Self::Invalid(error.into()),
            QueryError::NotFound => Self::NotFound,
            QueryError::Unavailable(text) => Self::Unavailable(text),
            QueryError::Internal(text) => Self::Internal(text),
        }
    }
}
