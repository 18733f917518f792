//! Groups: what a transform says in an answer to a session's inbox about the topics that the session is to read.

use std::sync::Arc;

use weir_contract::packed::{self, tag};
use weir_contract::topic::Pattern;

use super::Shard;
use crate::message::{Message, is_inbox_of};
use crate::sequencer::Wanted;
use crate::session::Session;
use crate::telemetry::Seldom;

/// Why sessions do not join: with each message of theirs, if they wish.
static FULL: Seldom = Seldom::new();
static REFUSED: Seldom = Seldom::new();

/// A pattern that the session reads from now on, or does not read any more.
pub(super) enum Enrolment {
    Join(Pattern),
    Leave(Pattern),
}

/// What the messages of a pass say of its session, in their order. The pipeline has checked who may say so.
pub(super) fn enrolments(messages: &[Message], session: &Session) -> Vec<Enrolment> {
    let own = messages.iter().filter(|message| is_inbox_of(&message.topic, &session.id));
    own.flat_map(|message| packed::publisher_fields(&message.meta)).filter_map(read).collect()
}

fn read((field, pattern): (u8, &[u8])) -> Option<Enrolment> {
    let make = match field {
        tag::JOIN => Enrolment::Join,
        tag::LEAVE => Enrolment::Leave,
        _ => return None,
    };
    Pattern::parse(str::from_utf8(pattern).ok()?).ok().map(make)
}

impl Shard {
    /// Carries them out, when the messages are in their readers' queues: so the session does not get by a group what
    /// brought it there. What is published by the sessions of this shard from now on reaches it.
    pub(super) fn enrol(&self, session: &Arc<Session>, enrolments: Vec<Enrolment>) {
        if enrolments.is_empty() {
            return;
        }
        for enrolment in enrolments {
            match enrolment {
                Enrolment::Leave(pattern) => {
                    self.context.router.unsubscribe(session, pattern.as_str());
                }
                Enrolment::Join(pattern) => self.join(session, pattern),
            }
        }
        // A session that closed meanwhile must not stay in the index.
        if session.outbound.is_closed() {
            self.context.router.remove(session);
        }
    }

    fn join(&self, session: &Arc<Session>, pattern: Pattern) {
        let most = self.context.subscriptions;
        if session.subscription_count() >= most && !session.is_subscribed(pattern.as_str()) {
            if FULL.is_due() {
                let (name, pattern) = (&session.principal.name, pattern.as_str());
                tracing::warn!(%name, pattern, most, "a session does not join: it holds too many subscriptions");
            }
            return;
        }
        let wanted =
            Wanted { pattern, since: None, retained: Some(false), presence: false, instead_of: None };
        if let Err(outcome) = self.context.sequencer.join(session, wanted)
            && REFUSED.is_due()
        {
            tracing::warn!(reason = outcome.reason(), "a session does not join a group");
        }
    }
}
