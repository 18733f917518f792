//! The calls of each kind. Every one begins a call in the binding's transaction and ends it: an answer keeps
//! its writes for the pass, a failure takes them back.

use std::borrow::Cow;

use super::super::contract::{
    AnswerOut, BadMessage, CredentialIn, Decision, Failure, MessageIn, Permission, QueryError, QuestionIn,
    StoreFailure, TransformOutcome, Verdict, Write,
};
use super::output::{self, Output};
use super::{CallError, Functions, Instance};
use crate::message::Message;
use crate::metrics::Limit;

const WRONG_KIND: CallError = CallError::Internal(String::new());

impl Instance {
    /// `filter.check`.
    pub fn check(&mut self, message: &Message) -> Result<Verdict, CallError> {
        let Functions::Filter(check) = self.functions else { return Err(WRONG_KIND) };
        self.begin();
        let (answer,) = self.call(Limit::Deadline, |store| check.call(store, (message.into(),)))?;
        let verdict = self.end(answer)?;
        if !matches!(verdict, Verdict::Keep) {
            self.store.data_mut().transaction.keep_call();
        }
        Ok(verdict)
    }

    /// `transform.apply`, its output checked: topics, metadata, sizes.
    pub fn apply(&mut self, message: &Message) -> Result<TransformOutcome, CallError> {
        let Functions::Transform(apply) = self.functions else { return Err(WRONG_KIND) };
        self.begin();
        let (answer,) = self.call(Limit::Deadline, |store| apply.call(store, (message.into(),)))?;
        let outcome = self.end(answer)?;
        let shared = &self.store.data().shared;
        if let Err(error) = output::check_messages(&shared.limits, &shared.used, &outcome) {
            return Err(self.spoilt(error));
        }
        let stopped = match &outcome {
            TransformOutcome::Replace(messages) => messages.is_empty(),
            TransformOutcome::Refuse(_) => true,
            _ => false,
        };
        if stopped {
            self.store.data_mut().transaction.keep_call();
        }
        Ok(outcome)
    }

    /// `auth.authenticate`. A transaction of its own: commit or clear it afterwards.
    pub fn authenticate(&mut self, credential: CredentialIn) -> Result<Decision, CallError> {
        let Functions::Auth { authenticate, .. } = self.functions else { return Err(WRONG_KIND) };
        self.begin();
        let (answer,) = self.call(Limit::Deadline, |store| authenticate.call(store, (credential,)))?;
        self.end(answer)
    }

    /// `auth.authorize`. A transaction of its own: commit or clear it afterwards.
    pub fn authorize(
        &mut self,
        session: &[u8],
        claims: &[u8],
        action: &'static str,
        topic: &str,
    ) -> Result<Permission, CallError> {
        let Functions::Auth { authorize, .. } = self.functions else { return Err(WRONG_KIND) };
        self.begin();
        let arguments = (session, claims, action, topic);
        let (answer,) = self.call(Limit::Deadline, |store| authorize.call(store, arguments))?;
        self.end(answer)
    }

    /// `storage.store`. Its `err` is an answer that the consumer acts on.
    pub fn store(&mut self, batch: &[MessageIn<'_>]) -> Result<Result<Vec<Write>, StoreFailure>, CallError> {
        let Functions::Storage { store, .. } = self.functions else { return Err(WRONG_KIND) };
        let (answer,) = self.call(Limit::StoreDeadline, |guest| store.call(guest, (batch,)))?;
        Ok(self.sized(answer)?.map_err(|failure| match failure {
            StoreFailure::Unprocessable(bad) => {
                StoreFailure::Unprocessable(BadMessage { reason: self.redacted(bad.reason), ..bad })
            }
            StoreFailure::Unavailable(text) => StoreFailure::Unavailable(self.redacted(text)),
            StoreFailure::Internal(text) => StoreFailure::Internal(self.redacted(text)),
        }))
    }

    /// `storage.query`.
    pub fn query(&mut self, question: QuestionIn<'_>) -> Result<Result<AnswerOut, QueryError>, CallError> {
        let Functions::Storage { query, .. } = self.functions else { return Err(WRONG_KIND) };
        let (answer,) = self.call(Limit::StoreDeadline, |store| query.call(store, (question,)))?;
        Ok(self.sized(answer)?.map_err(|error| match error {
            QueryError::Unavailable(text) => QueryError::Unavailable(self.redacted(text)),
            QueryError::Internal(text) => QueryError::Internal(self.redacted(text)),
            other => other,
        }))
    }

    fn begin(&mut self) {
        self.store.data_mut().transaction.begin_call();
    }

    pub(super) fn end<T: Output>(&mut self, answer: Result<T, Failure>) -> Result<T, CallError> {
        self.sized(answer)?.map_err(|failure| {
            self.store.data_mut().transaction.discard_call();
            match failure {
                Failure::Unavailable(text) => CallError::Unavailable(self.redacted(text)),
                Failure::Internal(text) => CallError::Internal(self.redacted(text)),
            }
        })
    }

    /// Guest-controlled: nothing of it is used before it has passed here.
    pub(super) fn sized<T: Output>(&mut self, answer: T) -> Result<T, CallError> {
        let shared = &self.store.data().shared;
        match output::check_size(&shared.limits, &shared.used, &answer) {
            Ok(()) => Ok(answer),
            Err(error) => Err(self.spoilt(error)),
        }
    }

    /// What a plugin says of its failure goes to logs and dead letters.
    fn redacted(&self, text: String) -> String {
        match self.store.data().shared.secrets.redact(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(redacted) => redacted,
        }
    }

    /// A guest that returns what it may not is treated as one that trapped.
    fn spoilt(&mut self, error: CallError) -> CallError {
        self.store.data_mut().transaction.discard_call();
        self.dead = true;
        match error {
            CallError::Output(text) => CallError::Output(self.redacted(text)),
            other => other,
        }
    }
}
