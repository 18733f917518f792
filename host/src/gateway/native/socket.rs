//! `/v1/ws`: one connection of the native protocol.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::message::Source;
use super::request::{Frame, Id, Request as Asked};
use super::router::App;
use super::{answer, event, http};
use crate::config::Limits;
use crate::gateway::lease::Lease;
use crate::gateway::visit::Visit;
use crate::gateway::ws::{self, Connection, Encode, EncodeRun, Expected, Handler, Next};
use crate::ingress::{Burst, Publish, Subscribe};
use crate::message::{Outcome, Responder, Routed, Wire};

/// Bytes of a frame beside its payload.
const AROUND: usize = 16 * 1024;

/// Answers the handshake: first whether it is one, then who asks, then the upgrade.
pub(super) async fn open(
    State(app): State<App>,
    Extension(lease): Extension<Lease>,
    mut request: Request,
) -> Response {
    let upgrade = match ws::handshake(&mut request) {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refusal,
    };
    let visit = match http::enter(&app, &request, Some(event::notice)).await {
        Ok((visit, parameters)) => match http::only(&parameters, &[]) {
            Ok(()) => visit,
            Err(fault) => return http::bad_request(&fault),
        },
        Err(refusal) => return refusal,
    };
    let response = upgrade.response();
    let rest = lease.clone();
    lease.spawn(async move {
        if let Some(opened) = upgrade.opened().await {
            let metrics = app.ingress.gateway(visit.session().gateway);
            let connection = Connection::new(Arc::clone(visit.session()), metrics, &app.limits);
            let native = Native::new(visit, Arc::clone(&connection), rest.clone(), &app.limits);
            ws::run(&connection, opened, native, &app.limits, &rest).await;
        }
    });
    response
}

/// Turns frames into commands.
pub(super) struct Native {
    pub(super) visit: Visit,
    pub(super) connection: Arc<Connection>,
    lease: Lease,
    /// Publishes that go to the shard together.
    burst: Burst,
    /// Of the last publish.
    topic: Option<Arc<str>>,
    /// Requests that wait for their reply; they end with the connection.
    requests: Option<JoinSet<()>>,
    most_bytes: usize,
    /// The largest frame so far. The decoder reuses its memory, so a small frame may lie in as much.
    largest: usize,
}

impl Native {
    fn new(visit: Visit, connection: Arc<Connection>, lease: Lease, limits: &Limits) -> Self {
        let most_bytes = limits.message_bytes.saturating_mul(4) / 3 + AROUND;
        let (burst, topic, requests) = Default::default();
        Self { visit, connection, lease, burst, topic, requests, most_bytes, largest: 4 * 1024 }
    }

    pub(super) fn say(&self, frame: Bytes) {
        self.connection.session().outbound.push_control(frame);
    }

    /// It is on its way when the burst is.
    fn publish(&mut self, id: Option<Id>, publish: Publish) -> Next {
        if self.topic.as_ref().is_none_or(|topic| !Arc::ptr_eq(topic, &publish.topic)) {
            self.topic = Some(Arc::clone(&publish.topic));
        }
        let expected = self.connection.expect();
        let answer = move |outcome| tell(&expected, id, &outcome);
        let responder = if id.is_some() { Responder::new(answer) } else { Responder::of_refusals(answer) };
        let (ingress, session) = (self.visit.ingress(), self.visit.session());
        ingress.publish_with(session, publish, responder, &mut self.burst);
        let full = self.burst.is_full() || self.burst.published.len() >= self.connection.most_together();
        if full { Next::Read } else { Next::More }
    }

    /// Takes its turn among the frames until it is published. What is behind it does not wait for the reply.
    async fn request(&mut self, id: Id, publish: Publish, timeout: Duration) {
        let expected = self.connection.expect();
        let answer = move |replied| {
            expected.answer(answer::framed(&id, |object| answer::replied(object, &replied)));
        };
        match self.visit.ingress().request(self.visit.session(), publish, timeout).await {
            Ok(asked) => {
                let requests = self.requests.get_or_insert_default();
                while requests.try_join_next().is_some() {}
                let lease = self.lease.clone();
                requests.spawn(async move { answer(asked.reply(lease.shutdown()).await) });
            }
            Err(unanswered) => answer(Err(unanswered)),
        }
    }

    async fn subscribe(&self, id: Option<Id>, subscribe: Subscribe) {
        let pattern = subscribe.pattern.clone();
        match self.visit.ingress().subscribe(self.visit.session(), subscribe).await {
            Ok(subscribed) => {
                if let Some(id) = id {
                    self.say(answer::framed(&id, |object| answer::subscribed(object, &pattern, &subscribed)));
                }
            }
            Err(outcome) => tell(&self.connection.expect(), id, &outcome),
        }
    }

    fn unsubscribe(&self, id: Option<Id>, pattern: &str) {
        let removed = self.visit.ingress().unsubscribe(self.visit.session(), pattern);
        if let Some(id) = id {
            self.say(answer::framed(&id, |object| answer::unsubscribed(object, pattern, removed)));
        }
    }

    /// What must have an `id`, and has.
    async fn ask(&self, id: &Id, asked: Asked) {
        let (ingress, session) = (self.visit.ingress(), self.visit.session());
        let frame = match asked {
            Asked::History(request) => match ingress.history(session, request).await {
                Ok(page) => answer::framed(id, |object| answer::history(object, &page)),
                Err(outcome) => answer::framed(id, |object| answer::outcome(object, &outcome)),
            },
            Asked::Query(query) => match ingress.query(session, query).await {
                Ok(page) => answer::framed(id, |object| answer::query(object, &page)),
                Err(failure) => answer::framed(id, |object| answer::query_failure(object, &failure)),
            },
            Asked::Presence(topic) => {
                let answered = ingress.presence(session, &topic, |present| {
                    self.say(answer::framed(id, |object| answer::presence(object, &topic, present)));
                });
                match answered.await {
                    Ok(()) => return,
                    Err(outcome) => answer::framed(id, |object| answer::outcome(object, &outcome)),
                }
            }
            _ => answer::framed(id, answer::pong),
        };
        self.say(frame);
    }
}

impl Handler for Native {
    const ENCODE: Encode = shared_delivery;
    const ENCODE_RUN: Option<EncodeRun> = Some(event::deliveries);

    fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    async fn settle(&mut self) {
        self.visit.ingress().hand_over(self.visit.session(), &mut self.burst).await;
    }

    fn give_up(&mut self) {
        self.burst.clear();
    }

    async fn text(&mut self, text: Utf8Bytes) -> Next {
        self.largest = self.largest.max(text.len());
        let bytes = Bytes::from(text.clone());
        let frame = Frame::read(&Source {
            text: &text,
            bytes: &bytes,
            memory: self.largest,
            before: self.topic.as_ref(),
        });
        // Else a frame would be held while its own publish waits for room.
        drop((text, bytes));
        let (id, asked) = (frame.id, frame.request);
        if let Ok(Asked::Publish(publish)) = asked {
            return self.publish(id, publish);
        }
        // What was published before comes first.
        self.settle().await;
        match (id, asked) {
            (_, Ok(Asked::Publish(_))) => {}
            // What is rare is boxed: each connection has room for the largest of these futures.
            (id, Ok(Asked::Subscribe(subscribe))) => Box::pin(self.subscribe(id, subscribe)).await,
            (Some(id), Ok(Asked::Ask(publish, timeout))) => {
                Box::pin(self.request(id, publish, timeout)).await;
            }
            (id, Ok(Asked::Unsubscribe(pattern))) => self.unsubscribe(id, &pattern),
            (id, Ok(Asked::Consume(request))) => Box::pin(self.consume(id, &request)).await,
            (id, Ok(Asked::Leave(leave))) => Box::pin(self.leave(id, &leave)).await,
            (id, Ok(Asked::Ack(ack))) => self.ack(id, &ack),
            (Some(id), Ok(asked)) => Box::pin(self.ask(&id, asked)).await,
            (None, Ok(_)) => self.say(event::pong()),
            (Some(id), Err(fault)) => {
                self.say(answer::framed(&id, |object| answer::fault(object, &fault)));
            }
            (None, Err(fault)) => self.say(event::fault(&fault)),
        }
        Next::Read
    }
}

/// One frame per message, whoever reads it first.
pub fn shared_delivery(routed: &Routed) -> Bytes {
    routed.frame(Wire::Native, event::delivery)
}

/// Answers a publish or a refused subscription: with `id` always, without it only what went wrong.
fn tell(expected: &Expected, id: Option<Id>, outcome: &Outcome) {
    let frame = match id {
        Some(id) => Some(answer::framed(&id, |object| answer::outcome(object, outcome))),
        None => event::refusal(outcome),
    };
    if let Some(frame) = frame {
        expected.answer(frame);
    }
    if let Outcome::Invalid(refusal) = outcome
        && refusal.disconnect
    {
        expected.end(&refusal.reason);
    }
}
