//! Who reads a consumer: sessions come, are replaced, and go.

use std::sync::Arc;

use super::consumer::{Consumer, State};
use super::pump::Pump;
use super::{Key, Made, Refused, Registry, Request};
use crate::session::Session;

/// Said to a reader whose owner has connected again.
const TAKEN_OVER: &str = "taken over by another connection";

/// A session's hold on a consumer.
pub struct Attached(pub(super) Arc<Consumer>);

impl Attached {
    /// What it reads.
    pub fn pattern(&self) -> &str {
        self.0.pattern.as_str()
    }
}

impl Registry {
    /// Makes the session a reader of a consumer, which is made if there is none. Returns it, and where it begins if
    /// it is new. The caller has asked for the right to the pattern, and asks again afterwards, since it may have
    /// been withdrawn meanwhile.
    pub async fn subscribe(
        self: &Arc<Self>,
        session: &Arc<Session>,
        request: &Request,
    ) -> Result<(Attached, Option<Made>), Refused> {
        loop {
            let (consumer, made) = self.open(session, request).await?;
            // False: it was deleted in this very moment.
            if self.attach(session, &consumer) {
                return Ok((Attached(consumer), made));
            }
        }
    }

    fn attach(self: &Arc<Self>, session: &Arc<Session>, consumer: &Arc<Consumer>) -> bool {
        let mut state = consumer.state.lock();
        if state.gone {
            return false;
        }
        if state.members.iter().any(|member| member.session.id == session.id) {
            return true;
        }
        while !consumer.is_shared()
            && let Some(other) = state.members.first().map(|member| Arc::clone(&member.session))
        {
            self.part(consumer, &mut state, &other.id);
            consumer.dismiss(&other, TAKEN_OVER);
        }
        state.join(session);
        self.metrics.attached.inc();
        self.note_change(consumer, &mut state);
        if !std::mem::replace(&mut state.pumping, true) {
            tokio::spawn(Pump::new(Arc::clone(self), Arc::clone(consumer)).run());
        }
        drop(state);
        consumer.wake.notify_one();
        let mut sessions = self.sessions.lock();
        let attached = sessions.entry(Arc::clone(&session.id)).or_default();
        // One that was taken over and comes back is there already.
        if !attached.iter().any(|other| Arc::ptr_eq(other, consumer)) {
            attached.push(Arc::clone(consumer));
        }
        drop(sessions);
        if session.outbound.is_closed() {
            self.close(session);
        }
        true
    }

    /// Takes a member away, in whatever way it goes.
    pub(super) fn part(self: &Arc<Self>, consumer: &Arc<Consumer>, state: &mut State, session: &str) -> bool {
        if state.part(session).is_none() {
            return false;
        }
        self.metrics.attached.dec();
        self.note_change(consumer, state);
        consumer.wake.notify_one();
        true
    }

    fn detach(self: &Arc<Self>, session: &Session, consumer: &Arc<Consumer>) -> bool {
        if let Some(attached) = self.sessions.lock().get_mut(&session.id) {
            attached.retain(|other| !Arc::ptr_eq(other, consumer));
        }
        self.part(consumer, &mut consumer.state.lock(), &session.id)
    }

    /// The session has ended.
    pub fn close(self: &Arc<Self>, session: &Session) {
        let attached = self.sessions.lock().remove(&session.id);
        for consumer in attached.into_iter().flatten() {
            self.part(&consumer, &mut consumer.state.lock(), &session.id);
        }
    }

    /// What a session reads.
    pub fn attached(&self, session: &Session) -> Vec<Attached> {
        let sessions = self.sessions.lock();
        let all = sessions.get(&session.id).into_iter().flatten().cloned();
        all.map(Attached).collect()
    }

    /// Ends what a session may no longer have, and tells it so.
    pub fn revoke(self: &Arc<Self>, session: &Session, attached: &Attached, reason: &str) {
        if self.detach(session, &attached.0) {
            attached.0.dismiss(session, reason);
        }
    }

    /// The session reads no more; with `delete`, the consumer goes as well, which is on the disk when this is
    /// done. False: it did not read, and there was nothing to delete.
    pub async fn unsubscribe(
        self: &Arc<Self>,
        session: &Session,
        name: &str,
        shared: bool,
        delete: bool,
    ) -> Result<bool, Refused> {
        let Some(consumer) = self.find(&Key::of(session, name, shared)) else { return Ok(false) };
        let was_member = self.detach(session, &consumer);
        if !delete {
            return Ok(was_member);
        }
        if shared && !was_member {
            return Err(Refused::Invalid(format!("only a member can delete a group: join {name:?} first")));
        }
        self.delete(&consumer, "deleted by its owner").await?;
        Ok(true)
    }
}
