//! The sample messages of a binding, on its trial instance. What they write to `state` is thrown away.

use std::sync::Arc;

use bytes::Bytes;
use weir_contract::packed::{put, put_text, put_u64, tag};

use super::super::binding::{Expect, Sample, Spec};
use super::super::contract::{MessageIn, StoreFailure, TransformOutcome, Verdict};
use super::super::{CallError, Instance, Kind, LoadError};
use crate::message::{Grant, Message, Principal, now_us};

/// What becomes of a sample: what may be expected of it, and the words for people.
type Came = (&'static [Expect], String);

/// Runs all samples. Err names the first whose answer is not as its binding expects.
pub fn run(instance: &mut Instance, spec: &Spec, kind: Kind) -> Result<(), LoadError> {
    for (sample, number) in spec.samples.iter().zip(1..) {
        check(sample, number, spec, kind)?;
        let came = answer(instance, sample, kind);
        instance.guest().transaction.clear();
        let secrets = Arc::clone(&instance.guest().shared.secrets);
        let refuse = |came: String| LoadError::Sample {
            number,
            topic: sample.topic.clone(),
            expected: word(sample.expect),
            came: secrets.redact(&came).into_owned(),
        };
        match came {
            Ok((fits, _)) if sample.expect == Expect::Answer || fits.contains(&sample.expect) => {}
            Ok((_, came)) => return Err(refuse(came)),
            Err(error) => return Err(refuse(format!("a failure: {error}"))),
        }
    }
    Ok(())
}

/// Whether the kind can give such an answer at all.
fn check(sample: &Sample, number: usize, spec: &Spec, kind: Kind) -> Result<(), LoadError> {
    let accepted: &[Expect] = match kind {
        Kind::Auth => &[],
        Kind::Filter => &[Expect::Answer, Expect::Keep, Expect::Drop, Expect::Refuse],
        Kind::Transform => {
            &[Expect::Answer, Expect::Keep, Expect::Drop, Expect::Refuse, Expect::Unchanged, Expect::Changed]
        }
        Kind::Storage => &[Expect::Answer],
    };
    if accepted.contains(&sample.expect) {
        return Ok(());
    }
    let words: Vec<_> = accepted.iter().map(|expect| word(*expect)).collect();
    let message = match kind {
        Kind::Auth => format!("[[sample]] is not for auth plugins, and {} is one", spec.name),
        _ => format!(
            "[[sample]] number {number}: expect = {:?} is not for a {kind} plugin: accepted are {}",
            word(sample.expect),
            words.join(", ")
        ),
    };
    Err(LoadError::at(&["sample", &(number - 1).to_string(), "expect"], message))
}

fn word(expect: Expect) -> &'static str {
    match expect {
        Expect::Answer => "answer",
        Expect::Keep => "keep",
        Expect::Drop => "drop",
        Expect::Refuse => "refuse",
        Expect::Unchanged => "unchanged",
        Expect::Changed => "changed",
    }
}

fn answer(instance: &mut Instance, sample: &Sample, kind: Kind) -> Result<Came, CallError> {
    let message = message(sample, kind).map_err(CallError::Internal)?;
    instance.guest().may_write = kind != Kind::Storage;
    Ok(match kind {
        Kind::Auth => (&[], String::new()),
        Kind::Filter => match instance.check(&message)? {
            Verdict::Keep => (&[Expect::Keep], "keep".into()),
            Verdict::Drop(reason) => (&[Expect::Drop], format!("drop ({reason})")),
            Verdict::Refuse(refusal) => (&[Expect::Refuse], format!("refuse ({})", refusal.reason)),
        },
        Kind::Transform => match instance.apply(&message)? {
            TransformOutcome::Unchanged => (&[Expect::Keep, Expect::Unchanged], "unchanged".into()),
            TransformOutcome::Replace(messages) if messages.is_empty() => (&[Expect::Drop], "drop".into()),
            TransformOutcome::Refuse(refusal) => (&[Expect::Refuse], format!("refuse ({})", refusal.reason)),
            _ => (&[Expect::Keep, Expect::Changed], "changed".into()),
        },
        Kind::Storage => match instance.store(&[MessageIn::from(&message)])? {
            Ok(_writes) => (&[], String::new()),
            Err(StoreFailure::Unprocessable(bad)) => return Err(CallError::Internal(bad.reason)),
            Err(StoreFailure::Unavailable(text)) => return Err(CallError::Unavailable(text)),
            Err(StoreFailure::Internal(text)) => return Err(CallError::Internal(text)),
        },
    })
}

/// As if a service of the name `sample` had published it; for storage, as the first message of a log.
fn message(sample: &Sample, kind: Kind) -> Result<Message, String> {
    let grant =
        Grant { tenant: "main".into(), name: "sample".into(), origin: "service".into(), ..Grant::default() };
    let principal = Principal::new(grant, "sample".into(), "sample", "sample");
    let principal = principal.map_err(|error| error.to_string())?;
    let mut meta = Vec::new();
    put(&mut meta, tag::ID, &1_u128.to_be_bytes());
    put_u64(&mut meta, tag::RECEIVED_US, now_us());
    // Its own format byte is at the beginning of the blob already.
    meta.extend_from_slice(principal.packed.get(1..).unwrap_or_default());
    if kind == Kind::Storage {
        put_u64(&mut meta, tag::EPOCH, 1);
        put_u64(&mut meta, tag::OFFSET, 0);
        put_text(&mut meta, tag::LOG, "sample");
    }
    if let Some(content_type) = sample.content_type {
        put_text(&mut meta, tag::CONTENT_TYPE, content_type);
    }
    let payload = Bytes::copy_from_slice(&sample.payload);
    Ok(Message { topic: sample.topic.as_str().into(), meta: meta.into(), payload })
}
