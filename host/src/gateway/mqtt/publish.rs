//! PUBLISH, and what is said of it.

use std::sync::Arc;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{Property, Qos, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, PubackReasonCode, PubrecReasonCode};

use parking_lot::Mutex;

use super::talk::Talk;
use crate::ingress::{Burst, Publish};
use crate::message::{Level, Outcome, Responder};
use crate::persistent::Persistent;

/// A message as it came.
pub(crate) struct Incoming {
    pub(crate) qos: Qos,
    pub(crate) id: Option<u16>,
    pub(crate) publish: Publish,
}

impl From<&v3_1_1::Publish> for Incoming {
    fn from(packet: &v3_1_1::Publish) -> Self {
        let payload = Bytes::copy_from_slice(packet.payload().as_slice());
        let publish = Publish { retain: packet.retain(), ..Publish::new(packet.topic_name(), payload) };
        Self { qos: packet.qos(), id: packet.packet_id(), publish }
    }
}

impl From<&v5_0::Publish> for Incoming {
    fn from(packet: &v5_0::Publish) -> Self {
        let payload = Bytes::copy_from_slice(packet.payload().as_slice());
        let mut publish = Publish { retain: packet.retain(), ..Publish::new(packet.topic_name(), payload) };
        describe(&mut publish, packet.props());
        Self { qos: packet.qos(), id: packet.packet_id(), publish }
    }
}

impl Incoming {
    /// The packet identifier of a message of QoS 2.
    pub(super) fn exactly_once(&self) -> Option<u16> {
        self.id.filter(|_| self.qos == Qos::ExactlyOnce)
    }
}

/// The properties of a message (MQTT 5 section 3.3.2.3), also those of a will.
pub(super) fn describe(publish: &mut Publish, props: &[Property]) {
    for property in props {
        match property {
            Property::PayloadFormatIndicator(format) => publish.is_text = format.val() == 1,
            Property::MessageExpiryInterval(seconds) => {
                publish.expires_in_ms = Some(u64::from(seconds.val()) * 1_000);
            }
            Property::ContentType(text) if !text.val().is_empty() => {
                publish.content_type = Some(text.val().to_owned().into());
            }
            Property::ResponseTopic(topic) => publish.reply_to = Some(topic.val().to_owned()),
            Property::CorrelationData(data) => publish.correlation = Some(Bytes::copy_from_slice(data.val())),
            Property::UserProperty(pair) => {
                publish.user_properties.push((pair.key().to_owned(), pair.val().to_owned()));
            }
            _ => {}
        }
    }
}

impl Talk {
    /// Puts a message into the burst.
    pub(super) fn publish(&self, incoming: Incoming, burst: &mut Burst) {
        let Incoming { qos, id, mut publish } = incoming;
        publish.qos = Some(qos as u8);
        let responder = match id {
            Some(id) => {
                publish.level = Level::Logged;
                let exactly_once = qos == Qos::ExactlyOnce;
                let answer = self.link.expect(id, exactly_once);
                match &self.stay.session {
                    Some(session) if exactly_once => {
                        publish.received = Some(session.key(id));
                        remembered(Arc::clone(session), id, answer)
                    }
                    _ => answer,
                }
            }
            None => Responder::none(),
        };
        self.visit.ingress().publish_with(self.visit.session(), publish, responder, burst);
    }
}

/// PUBREC is sent when the identifier is on the disk: what comes under it again is no new message.
fn remembered(session: Arc<Persistent>, id: u16, answer: Responder) -> Responder {
    Responder::new(move |outcome| {
        if !matches!(verdict(&outcome), Ok((_, PubrecReasonCode::Success))) {
            return answer.answer(outcome);
        }
        if is_logged(&outcome) {
            session.received_with(id);
            return answer.answer(outcome);
        }
        // Whoever is called: the writer, or nobody because it takes nothing.
        let answer = Arc::new(Mutex::new(Some((answer, outcome))));
        let answered = Arc::clone(&answer);
        let done = Box::new(move |result: Result<(), _>| {
            if let Some((answer, outcome)) = answered.lock().take() {
                answer.answer(if result.is_ok() { outcome } else { Outcome::Overloaded });
            }
        });
        if session.receive(id, done).is_err()
            && let Some((answer, _)) = answer.lock().take()
        {
            answer.answer(Outcome::Overloaded);
        }
    })
}

/// Whether a log has something of the message, and with that its identifier.
fn is_logged(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Accepted { messages, .. } if messages.iter().any(|one| one.place.is_some()))
}

/// What an outcome is in PUBACK and PUBREC. `Err`: the message could not be taken, now or here; it is not acknowledged,
/// so that the client sends it again, and the connection ends with this.
pub(super) fn verdict(
    outcome: &Outcome,
) -> Result<(PubackReasonCode, PubrecReasonCode), DisconnectReasonCode> {
    Ok(match outcome {
        // What broke was seen too late to refuse the message: it is in no log.
        Outcome::Accepted { level: Level::Routed, .. } if is_logged(outcome) => {
            return Err(DisconnectReasonCode::ServerBusy);
        }
        Outcome::Accepted { .. } | Outcome::Filtered { .. } => {
            (PubackReasonCode::Success, PubrecReasonCode::Success)
        }
        Outcome::Denied { .. } => (PubackReasonCode::NotAuthorized, PubrecReasonCode::NotAuthorized),
        Outcome::Invalid(_) => {
            (PubackReasonCode::PayloadFormatInvalid, PubrecReasonCode::PayloadFormatInvalid)
        }
        Outcome::TooLarge { .. } | Outcome::RateLimited { .. } => {
            (PubackReasonCode::QuotaExceeded, PubrecReasonCode::QuotaExceeded)
        }
        Outcome::PluginFailed { .. } | Outcome::DeadLettered { .. } | Outcome::TimedOut => {
            (PubackReasonCode::ImplementationSpecificError, PubrecReasonCode::ImplementationSpecificError)
        }
        Outcome::Overloaded | Outcome::Unavailable { .. } => return Err(DisconnectReasonCode::ServerBusy),
        Outcome::ShuttingDown => return Err(DisconnectReasonCode::ServerShuttingDown),
    })
}
