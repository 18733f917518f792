//! What a call returned, checked before anything of it is used: size, number of messages, topics, metadata.
//! All of it is guest-controlled.

use weir_contract::packed;
use weir_contract::topic;

use super::super::contract::{
    AnswerOut, Attribute, ConfigError, Decision, Failure, GrantOut, MessageOut, Pair, Permission, Post,
    QueryError, Refusal, StoreFailure, TransformOutcome, Verdict, Write,
};
use super::CallError;
use crate::config::PluginLimits;
use crate::metrics::{Limit, PluginUse};

/// What has a size: the bytes of all texts and blobs in it.
pub trait Output {
    /// Their number.
    fn bytes(&self) -> usize;
}

/// Checks the size of what a call returned.
pub fn check_size(limits: &PluginLimits, used: &PluginUse, output: &impl Output) -> Result<(), CallError> {
    let bytes = output.bytes();
    used.note(Limit::OutputBytes, bytes as u64);
    if bytes > limits.output_bytes {
        used.hit(Limit::OutputBytes);
        return Err(CallError::Output(format!(
            "{bytes} bytes: at most {} are accepted (plugin.output_bytes)",
            limits.output_bytes
        )));
    }
    Ok(())
}

/// Checks what a transform returned.
pub fn check_messages(
    limits: &PluginLimits,
    used: &PluginUse,
    outcome: &TransformOutcome,
) -> Result<(), CallError> {
    let messages = match outcome {
        TransformOutcome::Unchanged | TransformOutcome::Refuse(_) | TransformOutcome::SetPayload(_) => {
            return Ok(());
        }
        TransformOutcome::SetMeta(meta) => return check_meta(meta),
        TransformOutcome::Add(messages) | TransformOutcome::Replace(messages) => messages.as_slice(),
    };
    used.note(Limit::OutputMessages, messages.len() as u64);
    if messages.len() > limits.output_messages {
        used.hit(Limit::OutputMessages);
        return Err(CallError::Output(format!(
            "{} messages: at most {} are accepted (plugin.output_messages)",
            messages.len(),
            limits.output_messages
        )));
    }
    messages.iter().try_for_each(|message| {
        topic::check(&message.topic)
            .map_err(|error| CallError::Output(format!("topic {:?}: {error}", message.topic)))?;
        check_meta(&message.meta)
    })
}

fn check_meta(meta: &[u8]) -> Result<(), CallError> {
    packed::check_output(meta).map_err(|error| CallError::Output(format!("metadata: {error}")))
}

impl<T: Output, E: Output> Output for Result<T, E> {
    fn bytes(&self) -> usize {
        match self {
            Ok(output) => output.bytes(),
            Err(output) => output.bytes(),
        }
    }
}

impl<T: Output> Output for [T] {
    fn bytes(&self) -> usize {
        self.iter().map(Output::bytes).sum()
    }
}

impl Output for () {
    fn bytes(&self) -> usize {
        0
    }
}

impl Output for String {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl Output for Failure {
    fn bytes(&self) -> usize {
        let (Self::Unavailable(text) | Self::Internal(text)) = self;
        text.len()
    }
}

impl Output for Refusal {
    fn bytes(&self) -> usize {
        self.reason.len() + self.path.len()
    }
}

impl Output for Verdict {
    fn bytes(&self) -> usize {
        match self {
            Self::Keep => 0,
            Self::Drop(reason) => reason.len(),
            Self::Refuse(refusal) => refusal.bytes(),
        }
    }
}

impl Output for MessageOut {
    fn bytes(&self) -> usize {
        self.topic.len() + self.meta.len() + self.payload.len()
    }
}

impl Output for TransformOutcome {
    fn bytes(&self) -> usize {
        match self {
            Self::Unchanged => 0,
            Self::SetPayload(bytes) | Self::SetMeta(bytes) => bytes.len(),
            Self::Add(messages) | Self::Replace(messages) => messages.as_slice().bytes(),
            Self::Refuse(refusal) => refusal.bytes(),
        }
    }
}

impl Output for Attribute {
    fn bytes(&self) -> usize {
        self.name.len() + self.value.len()
    }
}

impl Output for GrantOut {
    fn bytes(&self) -> usize {
        let texts = [&self.tenant, &self.name, &self.origin].map(String::len).iter().sum::<usize>();
        let account = self.account.as_ref().map_or(0, String::len);
        texts + account + self.claims.len() + self.attributes.as_slice().bytes()
    }
}

impl Output for Decision {
    fn bytes(&self) -> usize {
        match self {
            Self::Allow(grant) => grant.bytes(),
            Self::Abstain => 0,
            Self::Deny(reason) => reason.len(),
        }
    }
}

impl Output for Permission {
    fn bytes(&self) -> usize {
        match self {
            Self::Allow => 0,
            Self::Deny(reason) => reason.len(),
        }
    }
}

impl Output for Pair {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

impl Output for Post {
    fn bytes(&self) -> usize {
        self.url.len() + self.headers.as_slice().bytes() + self.body.len() + self.key.len()
    }
}

impl Output for Write {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(pair) => pair.bytes(),
            Self::Delete(key) => key.len(),
            Self::Post(post) => post.bytes(),
        }
    }
}

impl Output for Vec<Write> {
    fn bytes(&self) -> usize {
        self.as_slice().bytes()
    }
}

impl Output for StoreFailure {
    fn bytes(&self) -> usize {
        match self {
            Self::Unprocessable(bad) => bad.reason.len(),
            Self::Unavailable(text) | Self::Internal(text) => text.len(),
        }
    }
}

impl Output for AnswerOut {
    fn bytes(&self) -> usize {
        self.items.iter().map(String::len).sum::<usize>() + self.next.as_ref().map_or(0, Vec::len)
    }
}

impl Output for ConfigError {
    fn bytes(&self) -> usize {
        self.path.len() + self.reason.len()
    }
}

impl Output for QueryError {
    fn bytes(&self) -> usize {
        match self {
            Self::Invalid(error) => error.bytes(),
            Self::NotFound => 0,
            Self::Unavailable(text) | Self::Internal(text) => text.len(),
        }
    }
}
