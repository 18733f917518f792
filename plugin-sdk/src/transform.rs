use crate::bindings::imports::weir::plugin::types;
use crate::bindings::transform::exports::weir::plugin::transform as wit;
use crate::{Draft, Error, Export, Instance, Message, Meta, Plugin, Refusal, Result, export};

/// Changes, splits, adds or consumes messages.
pub trait Transform: Plugin {
    /// Once per message whose topic matches the binding, in the order in which its session published. Has
    /// 50 ms. What it returns goes on from the next plugin of the chain. An error other than a refusal: the
    /// binding's `on-error` policy, by default the message goes to the dead letters.
    fn apply(&self, message: &Message) -> Result<Outcome>;
}

/// What becomes of a message. At most 256 messages and 4 MiB a call; all that it becomes are accepted
/// together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Goes on as it is: the cheap case.
    Unchanged,
    /// Same topic, metadata and id; this payload.
    SetPayload(Vec<u8>),
    /// Same topic, payload and id; this metadata.
    SetMeta(Meta),
    /// Goes on as it is, followed by these: copies, alarms.
    Add(Vec<Draft>),
    /// These instead. None: consumed.
    Replace(Vec<Draft>),
    /// Cannot be transformed because it is wrong; the publisher may hear why.
    Refuse(Refusal),
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// A refusal by `?` is the refuse arm.
pub(crate) fn settle(result: Result<Outcome>) -> Result<Outcome> {
    match result {
        Err(Error::Refused(refusal)) => Ok(Outcome::Refuse(refusal)),
        other => other,
    }
}

impl<P: Transform + Instance> wit::Guest for Export<P> {
    fn init(config: String, context: Vec<u8>) -> Result<(), types::ConfigError> {
        export::init::<P>(&config, context)
    }

    fn apply(message: types::Message) -> Result<wit::Outcome, types::Failure> {
        let message = Message::from(message);
        let outcome = settle(export::call(|plugin: &P| plugin.apply(&message)))?;
        let raw = |drafts: Vec<Draft>| drafts.into_iter().map(types::Message::from).collect();
        Ok(match outcome {
            Outcome::Unchanged => wit::Outcome::Unchanged,
            Outcome::SetPayload(payload) => wit::Outcome::SetPayload(payload),
            Outcome::SetMeta(meta) => wit::Outcome::SetMeta(meta.into_bytes()),
            Outcome::Add(drafts) => wit::Outcome::Add(raw(drafts)),
            Outcome::Replace(drafts) => wit::Outcome::Replace(raw(drafts)),
            Outcome::Refuse(refusal) => wit::Outcome::Refuse(refusal),
        })
    }
}
