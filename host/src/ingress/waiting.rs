//! The requests that wait for a reply, by the secret in their reply topic.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Unanswered, invalid};
use crate::config::Limits;
use crate::message::{Accepted, Level, Message, Outcome};
use crate::metrics::Gauge;
use crate::session::Session;

/// Where replies go: never routed, logged or shown to a plugin.
const REPLIES: &str = "$reply/";
/// Requests of one session that may wait.
const OF_A_SESSION: usize = 256;
/// Requests of all sessions.
const IN_ALL: usize = 65_536;

/// Whoever has it may reply, once. Random, so that nobody has it who was not given it.
type Token = [u8; 16];

/// The waiting requests of all sessions.
pub struct Waiting {
    of_a_session: usize,
    table: Mutex<Table>,
    gauge: Gauge,
}

#[derive(Default)]
struct Table {
    requests: HashMap<Token, Requester>,
    of_sessions: HashMap<Arc<str>, usize>,
}

struct Requester {
    session: Arc<Session>,
    reply: oneshot::Sender<Message>,
}

/// A place in the table: dropping it gives it back.
pub struct Ticket {
    waiting: Arc<Waiting>,
    token: Token,
    reply: oneshot::Receiver<Message>,
}

/// Whether a topic is one that only a reply can have.
pub fn is_reply(topic: &str) -> bool {
    topic.starts_with(REPLIES)
}

impl Waiting {
    /// An empty table.
    pub fn new(limits: &Limits, gauge: Gauge) -> Self {
        // Their answers may come all at once, and must fit into the session's queue beside everything else.
        let of_a_session = OF_A_SESSION.min(limits.queue_messages / 4).max(1);
        Self { of_a_session, table: Mutex::default(), gauge }
    }

    /// A place for one more request.
    pub fn ticket(self: &Arc<Self>, session: &Arc<Session>) -> Result<Ticket, Unanswered> {
        let mut token = Token::default();
        getrandom::fill(&mut token).map_err(|error| {
            Unanswered::Refused(Outcome::Unavailable { reason: format!("no randomness: {error}") })
        })?;
        let (send, reply) = oneshot::channel();
        let mut table = self.table.lock();
        if table.requests.len() >= IN_ALL {
            return Err(Unanswered::Busy { most: IN_ALL, of: "the router" });
        }
        let held = table.of_sessions.entry(Arc::clone(&session.id)).or_default();
        if *held >= self.of_a_session {
            return Err(Unanswered::Busy { most: self.of_a_session, of: "this connection" });
        }
        *held += 1;
        table.requests.insert(token, Requester { session: Arc::clone(session), reply: send });
        drop(table);
        self.gauge.inc();
        Ok(Ticket { waiting: Arc::clone(self), token, reply })
    }

    /// Gives a reply to whoever waits for it: the first one only.
    pub fn hand_over(&self, reply: Message, level: Level) -> Outcome {
        if reply.is_retained() {
            return invalid("a reply is for one reader: `retain` is not accepted".into());
        }
        let topic = Arc::clone(&reply.topic);
        let requester = token(&topic).and_then(|token| self.take(&token));
        // A session that was cut off, because its key was revoked for example, hears nothing any more.
        let requester = requester.filter(|requester| !requester.session.outbound.is_closed());
        match requester.map(|requester| requester.reply.send(reply)) {
            Some(Ok(())) => {
                let note = (level > Level::Routed)
                    .then(|| "a reply is handed to whoever waits for it: it is not logged".to_owned());
                let messages = vec![Accepted { topic, place: None, routed: None }];
                Outcome::Accepted { level: Level::Routed, messages, note }
            }
            _ => Outcome::Denied { reason: "nobody waits for this reply".into() },
        }
    }

    fn take(&self, token: &Token) -> Option<Requester> {
        let mut table = self.table.lock();
        let requester = table.requests.remove(token)?;
        if let Entry::Occupied(mut held) = table.of_sessions.entry(Arc::clone(&requester.session.id)) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
        self.gauge.dec();
        Some(requester)
    }
}

impl Ticket {
    /// The topic on which the reply is awaited.
    pub fn topic(&self) -> String {
        format!("{REPLIES}{}", URL_SAFE_NO_PAD.encode(self.token))
    }

    /// The reply. None: the session was cut off.
    pub async fn reply(&mut self) -> Option<Message> {
        (&mut self.reply).await.ok()
    }

    /// The reply, if there is one by now. Who replies later is told that nobody waits.
    pub fn last(mut self) -> Option<Message> {
        self.reply.close();
        self.reply.try_recv().ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiting.take(&self.token);
    }
}

fn token(topic: &str) -> Option<Token> {
    URL_SAFE_NO_PAD.decode(topic.strip_prefix(REPLIES)?).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Grant, Principal};
    use crate::session::OutboundLimits;

    #[test]
    fn places_are_counted_by_session_and_in_all_and_come_back() {
        let waiting = Arc::new(Waiting::new(&Limits::default(), Gauge::default()));
        let session = |n: usize| {
            let grant =
                Grant { tenant: "main".into(), name: "a".into(), origin: "page".into(), ..Grant::default() };
            let principal = Principal::new(grant, "open".into(), "http", "s").unwrap();
            let limits = OutboundLimits { messages: 1, bytes: 1 };
            Arc::new(Session::new(format!("s{n}").into(), principal, "http", String::new(), limits, None))
        };
        let busy = |session: &Arc<Session>| match waiting.ticket(session) {
            Err(Unanswered::Busy { most, of }) => (most, of),
            _ => panic!("there was a place"),
        };
        let mut tickets = Vec::new();
        for n in 0..IN_ALL / OF_A_SESSION {
            let session = session(n);
            tickets.extend((0..OF_A_SESSION).map(|_| waiting.ticket(&session).ok().unwrap()));
            if n == 0 {
                assert_eq!(busy(&session), (OF_A_SESSION, "this connection"));
            }
        }
        let late = session(IN_ALL);
        assert_eq!(busy(&late), (IN_ALL, "the router"));
        tickets.pop();
        tickets.push(waiting.ticket(&late).ok().unwrap());
        drop(tickets);
        let table = waiting.table.lock();
        assert!(table.requests.is_empty() && table.of_sessions.is_empty(), "nothing is left behind");
    }
}
