use crate::bindings::filter::exports::weir::plugin::filter as wit;
use crate::bindings::imports::weir::plugin::types;
use crate::{Error, Export, Instance, Message, Plugin, Refusal, Result, export};

/// Keeps or stops messages. Never changes them.
pub trait Filter: Plugin {
    /// Once per message whose topic matches the binding, in the order in which its session published. Has
    /// 50 ms. An error other than a refusal: the binding's `on-error` policy, by default the message is denied.
    fn check(&self, message: &Message) -> Result<Verdict>;
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on to the next plugin.
    Keep,
    /// Stops here, and that is not the publisher's fault: a duplicate, say. The reason may be empty.
    Drop(String),
    /// Stops here because it is wrong; the publisher may hear why.
    Refuse(Refusal),
}

impl Verdict {
    /// Keep, or drop without a reason.
    pub fn keep_if(keep: bool) -> Self {
        if keep { Self::Keep } else { Self::Drop(String::new()) }
    }

    /// Drop with a reason.
    pub fn drop(reason: impl ToString) -> Self {
        Self::Drop(reason.to_string())
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// A refusal by `?` is the refuse arm.
pub(crate) fn settle(result: Result<Verdict>) -> Result<Verdict> {
    match result {
        Err(Error::Refused(refusal)) => Ok(Verdict::Refuse(refusal)),
        other => other,
    }
}

impl<P: Filter + Instance> wit::Guest for Export<P> {
    fn init(config: String, context: Vec<u8>) -> Result<(), types::ConfigError> {
        export::init::<P>(&config, context)
    }

    fn check(message: types::Message) -> Result<wit::Verdict, types::Failure> {
        let message = Message::from(message);
        let verdict = settle(export::call(|plugin: &P| plugin.check(&message)))?;
        Ok(match verdict {
            Verdict::Keep => wit::Verdict::Keep,
            Verdict::Drop(reason) => wit::Verdict::Drop(reason),
            Verdict::Refuse(refusal) => wit::Verdict::Refuse(refusal),
        })
    }
}
