//! SUBSCRIBE and UNSUBSCRIBE.

use std::collections::BTreeMap;
use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::{Property, Qos, RetainHandling, SubEntry, v5_0};
use mqtt_protocol_core::mqtt::result_code::{MqttError, SubackReasonCode, UnsubackReasonCode};
use weir_contract::topic::Pattern;

use super::packet;
use super::talk::Talk;
use crate::ingress::{Subscribe, Subscribed};
use crate::message::Outcome;

/// What begins the pattern of a shared subscription.
const SHARE: &str = "$share/";

/// How messages of a subscription are delivered.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) pattern: Pattern,
    pub(super) qos: u8,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) id: Option<u32>,
}

/// The subscriptions of a session, by pattern.
pub(super) type Subscriptions = BTreeMap<Arc<str>, Wanted>;

impl Talk {
    /// Answers a SUBSCRIBE: what it begins with comes behind the answer.
    pub(super) async fn subscribe(
        &self,
        id: u16,
        entries: &[SubEntry],
        number: Option<u32>,
    ) -> Result<(), MqttError> {
        let (mut codes, mut begun, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries {
            match self.subscribe_one(entry, number).await {
                Ok((code, subscribed)) => {
                    codes.push(code);
                    begun.push(subscribed);
                }
                Err((code, reason)) => {
                    codes.push(code);
                    reasons.push(reason);
                }
            }
        }
        self.link.send(packet::suback(self.link.version(), id, &codes, &reasons.join("; ")))
    }

    async fn subscribe_one(
        &self,
        entry: &SubEntry,
        number: Option<u32>,
    ) -> Result<(SubackReasonCode, Subscribed), (SubackReasonCode, String)> {
        let (filter, options) = (entry.topic_filter(), entry.sub_opts());
        if filter.starts_with(SHARE) {
            let reason = "shared subscriptions are not supported".to_owned();
            return Err((SubackReasonCode::SharedSubscriptionsNotSupported, reason));
        }
        let wrong = |error| (SubackReasonCode::TopicFilterInvalid, format!("{filter:?}: {error}"));
        let pattern = Pattern::parse(filter).map_err(wrong)?;
        let (qos, granted) = match options.qos() {
            Qos::AtMostOnce => (0, SubackReasonCode::GrantedQos0),
            Qos::AtLeastOnce => (1, SubackReasonCode::GrantedQos1),
            Qos::ExactlyOnce => (2, SubackReasonCode::GrantedQos2),
        };
        let name: Arc<str> = filter.into();
        let wanted =
            Wanted { pattern, qos, no_local: options.nl(), retain_as_published: options.rap(), id: number };
        let before = self.subscriptions.lock().insert(Arc::clone(&name), wanted);
        let retained = match options.rh() {
            RetainHandling::SendRetained => true,
            RetainHandling::SendRetainedIfNotExists => before.is_none(),
            RetainHandling::DoNotSendRetained => false,
        };
        let subscribe =
            Subscribe { pattern: filter.to_owned(), retained: Some(retained), ..Subscribe::default() };
        match self.visit.ingress().subscribe(self.visit.session(), subscribe).await {
            Ok(subscribed) => Ok((granted, subscribed)),
            Err(outcome) => {
                let mut all = self.subscriptions.lock();
                match before {
                    Some(before) => all.insert(name, before),
                    None => all.remove(&name),
                };
                Err((refused(&outcome), format!("{filter:?}: {}", outcome.reason())))
            }
        }
    }

    /// Answers an UNSUBSCRIBE.
    pub(super) fn unsubscribe<'a>(
        &self,
        id: u16,
        filters: impl Iterator<Item = &'a str>,
    ) -> Result<(), MqttError> {
        let end = |filter: &str| {
            self.visit.ingress().unsubscribe(self.visit.session(), filter);
            match self.subscriptions.lock().remove(filter) {
                Some(_) => UnsubackReasonCode::Success,
                None => UnsubackReasonCode::NoSubscriptionExisted,
            }
        };
        let codes: Vec<_> = filters.map(end).collect();
        self.link.send(packet::unsuback(self.link.version(), id, &codes))
    }
}

/// The identifier that a SUBSCRIBE of version 5 gives to its subscriptions.
pub(super) fn number(packet: &v5_0::Subscribe) -> Option<u32> {
    packet.props().iter().find_map(|property| match property {
        Property::SubscriptionIdentifier(id) => Some(id.val()),
        _ => None,
    })
}

fn refused(outcome: &Outcome) -> SubackReasonCode {
    match outcome {
        Outcome::Denied { .. } => SubackReasonCode::NotAuthorized,
        Outcome::Invalid(_) => SubackReasonCode::QuotaExceeded,
        _ => SubackReasonCode::UnspecifiedError,
    }
}
