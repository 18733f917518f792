//! The calls of each kind. Every one begins a call in the binding's transaction and ends it: an answer keeps
//! its writes for the pass, a failure takes them back.

use std::time::Duration;

use weir_contract::packed;
use weir_contract::topic;

use super::super::contract::{
    AnswerOut, CredentialIn, Decision, Failure, MessageIn, MessageOut, Permission, QueryError, QuestionIn,
    StoreFailure, TransformOutcome, Verdict, Write,
};
use super::{CallError, Functions, Instance};
use crate::message::Message;

const WRONG_KIND: CallError = CallError::Internal(String::new());

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable(text) => Self::Unavailable(text),
            Failure::Internal(text) => Self::Internal(text),
        }
    }
}

impl Instance {
    /// `filter.check`.
    pub fn check(&mut self, message: &Message) -> Result<Verdict, CallError> {
        let Functions::Filter(check) = self.functions else { return Err(WRONG_KIND) };
        let deadline = self.begin();
        let (answer,) = self.call(deadline, |store| check.call(store, (message.into(),)))?;
        let verdict = self.end(answer)?;
        if !matches!(verdict, Verdict::Keep) {
            self.store.data_mut().transaction.keep_call();
        }
        Ok(verdict)
    }

    /// `transform.apply`, its output checked: topics, metadata, sizes.
    pub fn apply(&mut self, message: &Message) -> Result<TransformOutcome, CallError> {
        let Functions::Transform(apply) = self.functions else { return Err(WRONG_KIND) };
        let deadline = self.begin();
        let (answer,) = self.call(deadline, |store| apply.call(store, (message.into(),)))?;
        let outcome = self.end(answer)?;
        if let Err(error) = self.check_output(&outcome) {
            self.store.data_mut().transaction.discard_call();
            self.dead = true;
            return Err(error);
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
        let deadline = self.begin();
        let (answer,) = self.call(deadline, |store| authenticate.call(store, (credential,)))?;
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
        let deadline = self.begin();
        let arguments = (session, claims, action, topic);
        let (answer,) = self.call(deadline, |store| authorize.call(store, arguments))?;
        self.end(answer)
    }

    /// `storage.store`. Its `err` is an answer that the consumer acts on.
    pub fn store(&mut self, batch: &[MessageIn<'_>]) -> Result<Result<Vec<Write>, StoreFailure>, CallError> {
        let Functions::Storage { store, .. } = self.functions else { return Err(WRONG_KIND) };
        let deadline = self.store.data().shared.limits.store_deadline;
        let (answer,) = self.call(deadline, |guest| store.call(guest, (batch,)))?;
        Ok(answer)
    }

    /// `storage.query`.
    pub fn query(&mut self, question: QuestionIn<'_>) -> Result<Result<AnswerOut, QueryError>, CallError> {
        let Functions::Storage { query, .. } = self.functions else { return Err(WRONG_KIND) };
        let deadline = self.store.data().shared.limits.store_deadline;
        let (answer,) = self.call(deadline, |store| query.call(store, (question,)))?;
        Ok(answer)
    }

    fn begin(&mut self) -> Duration {
        let guest = self.store.data_mut();
        guest.transaction.begin_call();
        guest.shared.limits.deadline
    }

    fn end<T>(&mut self, answer: Result<T, Failure>) -> Result<T, CallError> {
        answer.map_err(|failure| {
            self.store.data_mut().transaction.discard_call();
            failure.into()
        })
    }

    /// Guest-controlled: nothing of it is used before it has passed here.
    fn check_output(&self, outcome: &TransformOutcome) -> Result<(), CallError> {
        let limits = &self.store.data().shared.limits;
        let messages = match outcome {
            TransformOutcome::Unchanged | TransformOutcome::Refuse(_) | TransformOutcome::SetPayload(_) => {
                &[]
            }
            TransformOutcome::SetMeta(meta) => {
                packed::check_output(meta)
                    .map_err(|error| CallError::Output(format!("metadata: {error}")))?;
                return Ok(());
            }
            TransformOutcome::Add(messages) | TransformOutcome::Replace(messages) => messages.as_slice(),
        };
        if messages.len() > limits.output_messages {
            return Err(CallError::Output(format!(
                "{} messages: at most {} are accepted (plugin.output_messages)",
                messages.len(),
                limits.output_messages
            )));
        }
        messages.iter().try_for_each(check_message)
    }
}

fn check_message(message: &MessageOut) -> Result<(), CallError> {
    topic::check(&message.topic)
        .map_err(|error| CallError::Output(format!("topic {:?}: {error}", message.topic)))?;
    packed::check_output(&message.meta).map_err(|error| CallError::Output(format!("metadata: {error}")))
}
