//! The hot path: what happens to one message between the door and the sequencer.
//!
//! [`process`] reads as the product's sentence: authorize, filter, transform, re-authorize. Nothing of it is
//! visible to anybody until the caller commits what it returns.

pub mod compare;
pub mod explain;
mod instances;
mod shadow;
mod stages;
mod stop;
pub mod trace;
mod transform;

pub use explain::Recorder;
pub use instances::TENANTS;
pub use stages::{AuthStage, Stage, Stages};
pub use stop::{By, Stop};

use std::cell::Cell;
use std::time::Instant;

use crate::message::Message;
use crate::plugin::contract::{Permission, Verdict};
use crate::plugin::{CallError, Policy};
use crate::session::Session;

/// What the calls of one pass share.
pub struct Pass<'a> {
    /// Who published.
    pub session: &'a Session,
    /// (Auth generation of the chain, revision of the accounts): permissions are remembered for one of these.
    pub authority: (u64, u64),
    /// Most messages that one publish may become.
    pub most_messages: usize,
    /// When the pass times out.
    pub deadline: Instant,
    /// When its last call ended; at first, when it began.
    pub clock: Cell<Instant>,
    /// Notes every step, if somebody wants to know.
    pub recorder: Option<&'a Recorder>,
}

/// What a message became.
#[derive(Debug)]
pub enum Became {
    /// It is as it was.
    Itself,
    /// One message or more, in the order in which they are routed.
    These(Vec<Message>),
}

impl Became {
    /// All of them, of this message.
    pub fn of(self, message: &Message) -> Vec<Message> {
        match self {
            Self::Itself => vec![message.clone()],
            Self::These(messages) => messages,
        }
    }
}

/// Runs a message through the chain. Ok = what it became, each allowed where it goes.
pub fn process(stages: &mut Stages, pass: &Pass<'_>, message: &Message) -> Result<Became, Stop> {
    authorize(stages, pass, explain::AUTH, &message.topic)?;
    stages.check_complete(&message.topic, |closed, why| pass.missing(message, closed, why))?;
    filter(stages, pass, message)?;
    transform::apply(stages, pass, message)
}

/// Whether the session's principal may publish there; remembered per session and topic.
fn authorize(stages: &mut Stages, pass: &Pass<'_>, at: &'static str, topic: &str) -> Result<(), Stop> {
    let principal = &pass.session.principal;
    let known = match &principal.rights {
        Some(rights) => {
            let allowed = principal.may_touch(topic) && rights.allow("publish", topic);
            Some((allowed, "the gateway's rule"))
        }
        None => pass.session.may_publish(pass.authority, topic).map(|allowed| (allowed, "remembered")),
    };
    let allowed = match known {
        Some((allowed, why)) => {
            pass.known(at, topic, &principal.binding, allowed, why);
            allowed
        }
        None => {
            let began = pass.begin();
            let allowed = ask(stages, pass.session, &pass.clock, "publish", topic, |stage, answer| {
                pass.asked(at, topic, stage, answer, began);
            })?;
            pass.session.remember_publish(pass.authority, topic, allowed);
            allowed
        }
    };
    if allowed { Ok(()) } else { Err(Stop::Denied(format!("not allowed to publish to {topic:?}"))) }
}

/// Asks the binding that let the session in; no such binding = no. What a gateway let in has its rights from there.
/// What lies outside of the session's tenant is not even asked for. `heard` gets its answer as it was.
pub fn ask(
    stages: &mut Stages,
    session: &Session,
    clock: &Cell<Instant>,
    action: &'static str,
    topic: &str,
    heard: impl FnOnce(&Stage, &Result<Permission, CallError>),
) -> Result<bool, Stop> {
    let principal = &session.principal;
    if !principal.may_touch(topic) {
        return Ok(false);
    }
    if let Some(rights) = &principal.rights {
        return Ok(rights.allow(action, topic));
    }
    let Some(stage) = stages.auth_of(&principal.binding) else { return Ok(false) };
    let tenant = || Some(&*principal.tenant);
    let answer = stage.call(clock, tenant, |instance| {
        instance.authorize(&principal.packed, &principal.claims, action, topic)
    });
    heard(stage, &answer);
    match answer {
        Ok(Permission::Allow) => Ok(true),
        Ok(Permission::Deny(reason)) => {
            let (plugin, name) = (stage.name(), &principal.name);
            tracing::debug!(%plugin, %name, action, topic, reason, "permission denied");
            Ok(false)
        }
        Err(error) => Err(stage.failed(error, Policy::Deny)),
    }
}

/// Every filter whose topics match, in order.
fn filter(stages: &mut Stages, pass: &Pass<'_>, message: &Message) -> Result<(), Stop> {
    for stage in stages.filters_of(&message.topic) {
        pass.check_time()?;
        match pass.call(stage, message, |instance| instance.check(message)) {
            Ok(Verdict::Keep) => {}
            Ok(Verdict::Drop(reason)) => return Err(Stop::Filtered(reason)),
            Ok(Verdict::Refuse(refusal)) => return Err(Stop::Refused(refusal)),
            Err(error) => stage.apply_policy(error)?,
        }
    }
    Ok(())
}

impl Pass<'_> {
    /// A pass that conflicts or crawls ends as a whole.
    fn check_time(&self) -> Result<(), Stop> {
        if self.clock.get() > self.deadline { Err(Stop::TimedOut) } else { Ok(()) }
    }
}
