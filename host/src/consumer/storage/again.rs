//! What an operator takes out of the dead letters: done between two batches, without moving the cursor.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::super::effects::{Effects, may_post};
use super::call::is_trap;
use super::{Failed, Writer};
use crate::message::Message;
use crate::outbox::{Outbox, Post};
use crate::plugin::contract::StoreFailure;
use crate::plugin::guest::StateAccess;
use crate::plugin::{Binding, CallError};

/// Tasks that may wait for one plugin's thread.
pub(in super::super) const TASKS: usize = 100;

/// Something to be done again.
pub(in super::super) struct Task {
    /// What.
    pub(in super::super) work: Work,
    /// Ok: it is on the disk. Err: why nothing was done. Whoever hangs up before it has begun wants it no more.
    pub(in super::super) answer: oneshot::Sender<Result<(), String>>,
}

/// What is done again.
pub(in super::super) enum Work {
    /// Stored, with the place in the log that it had.
    Message(Message),
    /// Put into the outbox.
    Post(Box<Post>),
}

impl Writer {
    /// Does what waits.
    pub(super) fn do_again(&mut self) {
        loop {
            let Some(Task { work, answer }) = self.again.lock().pop_front() else { return };
            if !answer.is_closed() {
                let done = self.once_more(work).map_err(|error| error.to_string());
                // Whoever asked has given up: the letter stays, and may be requeued again.
                drop(answer.send(done));
            }
        }
    }

    fn once_more(&mut self, work: Work) -> Result<(), Failed> {
        let binding = self.current.load_full();
        let StateAccess::Storage(space) = &binding.shared.state else { return Err(Failed::Space) };
        let effects = match work {
            Work::Message(message) => {
                self.come_up(&binding, space)?;
                self.store_again(&binding, message)?
            }
            Work::Post(post) => {
                self.open_queue(&binding, space)?;
                post_again(&binding, &self.consumers.outbox, *post)?
            }
        };
        if self.queue.as_ref().is_some_and(|queue| !queue.fits(&effects.posts)) {
            return Err(Failed::Again("its outbox is full".into()));
        }
        self.commit(space, effects, &[])?;
        // The letter goes next: a crash must find one or the other.
        Ok(space.flush()?)
    }

    fn store_again(&mut self, binding: &Arc<Binding>, message: Message) -> Result<Effects, Failed> {
        if !binding.spec.takes(&message.topic) {
            return Err(Failed::Again(format!("the topics of {} do not match it any more", binding.name())));
        }
        let message = [message];
        let answer = match self.call(binding, &message) {
            Err(error) if is_trap(&error) => self.call(binding, &message),
            answer => answer,
        };
        match answer? {
            Ok(written) => {
                let checked = Effects::check(written, binding, &self.consumers.outbox);
                checked.map_err(|error| Failed::Again(error.to_string()))
            }
            Err(StoreFailure::Unprocessable(bad)) => Err(Failed::Again(bad.reason)),
            Err(StoreFailure::Unavailable(text)) => Err(CallError::Unavailable(text).into()),
            Err(StoreFailure::Internal(text)) => Err(CallError::Internal(text).into()),
        }
    }
}

fn post_again(binding: &Binding, outbox: &Outbox, post: Post) -> Result<Effects, Failed> {
    if !may_post(binding, outbox, &post.endpoint) {
        let (plugin, to) = (binding.name(), &post.endpoint);
        return Err(Failed::Again(format!("the binding of {plugin} does not let it post to {to} any more")));
    }
    Ok(Effects { posts: vec![post], ..Effects::default() })
}
