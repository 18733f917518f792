//! SUBSCRIBE and UNSUBSCRIBE.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mqtt_protocol_core::mqtt::packet::{Property, Qos, RetainHandling, SubEntry, v5_0};
use mqtt_protocol_core::mqtt::result_code::{MqttError, SubackReasonCode, UnsubackReasonCode};
use tokio::sync::oneshot;
use weir_contract::topic::{Pattern, TopicError};

use super::packet;
use super::talk::Talk;
use crate::durable::Keeps;
use crate::ingress::{Subscribe, Subscribed};
use crate::message::Outcome;
use crate::persistent::Subscription;

/// What begins the filter of a shared subscription.
const SHARE: &str = "$share/";

/// How messages of a subscription are delivered.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) pattern: Pattern,
    pub(super) qos: u8,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) id: Option<u32>,
    /// The durable consumer by which they come; those that no log keeps come as they are published.
    pub(super) consumer: Option<Arc<str>>,
    pub(super) shared: bool,
}

/// The subscriptions of a session, by filter.
pub(super) type Subscriptions = BTreeMap<Arc<str>, Wanted>;

/// What a subscription begins with comes when this is dropped.
#[derive(Default)]
pub(super) struct Begun {
    _live: Option<Subscribed>,
    _retained: Option<oneshot::Sender<()>>,
}

type Refused = (SubackReasonCode, String);

impl Wanted {
    /// As it was kept.
    pub(super) fn of(kept: &Subscription) -> Result<Self, TopicError> {
        Ok(Self {
            pattern: Pattern::parse(&kept.pattern)?,
            qos: kept.qos,
            no_local: kept.no_local,
            retain_as_published: kept.retain_as_published,
            id: kept.id,
            consumer: kept.consumer.as_deref().map(Arc::from),
            shared: kept.shared,
        })
    }

    /// To be kept.
    pub(super) fn kept(&self, filter: &str) -> Subscription {
        Subscription {
            filter: filter.to_owned(),
            pattern: self.pattern.to_string(),
            qos: self.qos,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            id: self.id,
            consumer: self.consumer.as_deref().map(str::to_owned),
            shared: self.shared,
        }
    }
}

impl Talk {
    /// Answers a SUBSCRIBE: what it begins with comes behind the answer.
    pub(super) async fn subscribe(
        &self,
        id: u16,
        entries: &[SubEntry],
        number: Option<u32>,
    ) -> Result<(), MqttError> {
        let _held = self.visit.session().hold();
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
        self.link.send(packet::suback(self.link.version(), id, &codes, &reasons.join("; ")))?;
        for (entry, code) in entries.iter().zip(codes) {
            let granted = (code as u8) <= SubackReasonCode::GrantedQos2 as u8;
            if granted
                && entry.sub_opts().rh() != RetainHandling::DoNotSendRetained
                && let Ok(pattern) = Pattern::parse(entry.topic_filter())
            {
                self.show_sys(&pattern);
            }
        }
        Ok(())
    }

    async fn subscribe_one(
        &self,
        entry: &SubEntry,
        number: Option<u32>,
    ) -> Result<(SubackReasonCode, Begun), Refused> {
        let (filter, options) = (entry.topic_filter(), entry.sub_opts());
        let (wanted, granted) = self.wanted(entry, number)?;
        let name: Arc<str> = filter.into();
        let before = self.subscriptions.lock().get(&name).cloned();
        let retained = match options.rh() {
            _ if wanted.shared => false,
            RetainHandling::SendRetained => true,
            RetainHandling::SendRetainedIfNotExists => before.is_none(),
            RetainHandling::DoNotSendRetained => false,
        };
        let refused = |outcome: &Outcome| (refused(outcome), format!("{filter:?}: {}", outcome.reason()));
        let begun = self.join(&name, wanted.clone(), retained).await.map_err(|outcome| refused(&outcome))?;
        if let Some(session) = &self.stay.session
            && let Err(error) = session.subscribe(wanted.kept(filter)).await
        {
            let _ = self.leave(filter).await;
            return Err(refused(&crate::ingress::refused(error)));
        }
        // What read the logs for it before does so no more.
        if let Some(before) = before.filter(|before| before.consumer.is_some() && wanted.consumer.is_none()) {
            self.end_consumer(&before.kept(filter)).await;
        }
        Ok((granted, begun))
    }

    fn wanted(&self, entry: &SubEntry, number: Option<u32>) -> Result<(Wanted, SubackReasonCode), Refused> {
        let (filter, options) = (entry.topic_filter(), entry.sub_opts());
        let invalid = |reason: &str| (SubackReasonCode::TopicFilterInvalid, format!("{filter:?}: {reason}"));
        let (pattern, shared) = match filter.strip_prefix(SHARE).map(|rest| rest.split_once('/')) {
            None => (filter, false),
            Some(Some((group, pattern))) if !group.is_empty() && !group.contains(['+', '#']) => {
                (pattern, true)
            }
            Some(_) => return Err(invalid("accepted is $share/GROUP/FILTER, GROUP without + and #")),
        };
        let pattern = Pattern::parse(pattern).map_err(|error| invalid(&error.to_string()))?;
        let (qos, granted) = match options.qos() {
            Qos::AtMostOnce => (0, SubackReasonCode::GrantedQos0),
            Qos::AtLeastOnce => (1, SubackReasonCode::GrantedQos1),
            Qos::ExactlyOnce => (2, SubackReasonCode::GrantedQos2),
        };
        let keeps = self.visit.ingress().keeps(&pattern);
        if shared && keeps == Keeps::Nothing {
            let reason =
                format!("{filter:?}: no log keeps such topics, and a shared subscription reads logs");
            return Err((SubackReasonCode::SharedSubscriptionsNotSupported, reason));
        }
        let reads = shared || (qos > 0 && keeps != Keeps::Nothing);
        let consumer = if reads { self.stay.consumer(filter, shared) } else { None };
        let (no_local, retain_as_published) = (options.nl(), options.rap());
        Ok((Wanted { pattern, qos, no_local, retain_as_published, id: number, consumer, shared }, granted))
    }

    /// Begins a subscription, or goes on with it. Refused, everything is as it was.
    pub(super) async fn join(
        &self,
        filter: &Arc<str>,
        wanted: Wanted,
        retained: bool,
    ) -> Result<Begun, Outcome> {
        let before = self.subscriptions.lock().insert(Arc::clone(filter), wanted.clone());
        let count = &self.app.sys.subscriptions;
        let new = i64::from(before.is_none());
        count.fetch_add(new, Ordering::Relaxed);
        let joined = self.begin(&wanted, retained).await;
        if joined.is_err() {
            let mut all = self.subscriptions.lock();
            match before {
                Some(before) => all.insert(Arc::clone(filter), before),
                None => all.remove(filter),
            };
            count.fetch_sub(new, Ordering::Relaxed);
        }
        joined
    }

    async fn begin(&self, wanted: &Wanted, retained: bool) -> Result<Begun, Outcome> {
        let (ingress, session) = (self.visit.ingress(), self.visit.session());
        let pattern = wanted.pattern.as_str();
        let mut begun = Begun::default();
        if let Some(name) = &wanted.consumer {
            ingress.consume_persistent(session, &self.request(name, wanted, wanted.shared)).await?;
        }
        if wanted.is_live(ingress.keeps(&wanted.pattern)) {
            let pattern = pattern.to_owned();
            let subscribe = Subscribe { pattern, retained: Some(retained), ..Subscribe::default() };
            begun._live = Some(ingress.subscribe(session, subscribe).await?);
        } else if !wanted.shared {
            // It may have been live until now.
            ingress.unsubscribe(session, pattern);
            begun._retained = if retained { Some(ingress.send_retained(session, pattern)?) } else { None };
        }
        Ok(begun)
    }

    /// Answers an UNSUBSCRIBE.
    pub(super) async fn unsubscribe<'a>(
        &self,
        id: u16,
        filters: impl Iterator<Item = &'a str>,
    ) -> Result<(), MqttError> {
        let mut codes = Vec::new();
        for filter in filters {
            codes.push(self.leave(filter).await);
        }
        self.link.send(packet::unsuback(self.link.version(), id, &codes))
    }

    /// Ends a subscription.
    pub(super) async fn leave(&self, filter: &str) -> UnsubackReasonCode {
        if let Some(session) = &self.stay.session
            && let Err(error) = session.unsubscribe(filter).await
        {
            tracing::debug!(%error, "a subscription cannot be ended");
            return UnsubackReasonCode::UnspecifiedError;
        }
        let Some(ended) = self.subscriptions.lock().remove(filter) else {
            return UnsubackReasonCode::NoSubscriptionExisted;
        };
        self.app.sys.subscriptions.fetch_sub(1, Ordering::Relaxed);
        if !ended.shared {
            self.visit.ingress().unsubscribe(self.visit.session(), filter);
        }
        self.end_consumer(&ended.kept(filter)).await;
        UnsubackReasonCode::Success
    }

    /// The session reads no more for a subscription; nobody does, unless it is shared.
    pub(super) async fn end_consumer(&self, ended: &Subscription) {
        let Some(name) = &ended.consumer else { return };
        let (ingress, session) = (self.visit.ingress(), self.visit.session());
        if let Err(outcome) = ingress.leave(session, name, ended.shared, false).await {
            tracing::debug!(reason = %outcome.reason(), "a consumer is not left");
        }
        ingress.end_reader(&session.principal, ended);
    }
}

impl Wanted {
    /// Whether it also, or only, gets messages as they are published.
    fn is_live(&self, keeps: Keeps) -> bool {
        !self.shared && (self.consumer.is_none() || keeps != Keeps::All)
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
