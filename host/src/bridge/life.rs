//! The life of a bridge: its session in this router, which reads the logs whether the broker is reached or not, and
//! connections to the broker, one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqtt_protocol_core::mqtt::Version;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::dial::dial;
use super::link::Link;
use super::names::Names;
use super::outward::Outward;
use super::pause::Pauses;
use super::remembered::Remembered;
use super::told::Told;
use crate::config::MqttBridge;
use crate::durable::{Asked, Keeps, Request};
use crate::gateway::Visit;
use crate::ingress::{Entrant, Ingress, Subscribe};
use crate::message::{Rights, Since};
use crate::metrics::BridgeMetrics;
use crate::persistent::Subscription;
use crate::session::{Item, Notice, Session};
use crate::store::StorageSpace;

/// In metrics, and in the metadata of what comes in.
pub(super) const GATEWAY: &str = "bridge";
/// The principal's name.
const NAME: &str = "bridge:mqtt";
/// What is not acknowledged comes again with the next session, and never before.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3_600);
/// A router that is off for longer begins anew.
const EXPIRY: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Before a session that was refused or cut is opened again.
const AGAIN: Duration = Duration::from_secs(1);
/// What the session says of itself.
const ENDED: &[u8] = b"ended";
const GAP: &[u8] = b"gap";

/// What all parts of a bridge share.
pub(super) struct Life {
    pub(super) config: MqttBridge,
    pub(super) ingress: Ingress,
    pub(super) names: Names,
    /// Those that read the logs, by the patterns that go out.
    pub(super) consumers: Vec<Arc<str>>,
    /// Done when they stand, or could not be made for the first time.
    pub(super) tried: CancellationToken,
    pub(super) outward: Outward,
    pub(super) told: Arc<Told>,
    /// None until the session stands.
    pub(super) session: watch::Sender<Option<Arc<Session>>>,
    space: StorageSpace,
    remembered: Mutex<Option<Remembered>>,
}

/// Of a durable consumer. Nobody else can give one such a name.
fn consumer(pattern: &str) -> Arc<str> {
    let hash: String = Sha256::digest(pattern).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("$bridge.mqtt.{hash}").into()
}

impl Life {
    pub(super) fn new(
        config: MqttBridge,
        ingress: Ingress,
        space: StorageSpace,
        metrics: BridgeMetrics,
    ) -> Self {
        let names = Names::new(&config);
        Self {
            consumers: names.leaving().iter().map(|pattern| consumer(pattern.as_str())).collect(),
            names,
            config,
            ingress,
            outward: Outward::default(),
            told: Arc::new(Told::new(metrics)),
            session: watch::Sender::new(None),
            space,
            remembered: Mutex::default(),
            tried: CancellationToken::new(),
        }
    }

    pub(super) async fn run(&self, closing: CancellationToken) {
        tokio::select! {
            () = self.stay() => {}
            () = self.connect(&closing) => {}
        }
        self.tried.cancel();
    }

    /// Keeps a session open, and takes what the router has for it.
    async fn stay(&self) {
        loop {
            match self.open().await {
                Ok(visit) => {
                    self.tried.cancel();
                    self.session.send_replace(Some(Arc::clone(visit.session())));
                    self.follow(visit.session()).await;
                }
                Err(reason) => {
                    tracing::error!(reason, "the bridge to the MQTT broker cannot read what is to go out")
                }
            }
            self.tried.cancel();
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn open(&self) -> Result<Visit, String> {
        let arriving = self.names.arriving();
        let arriving: Vec<_> = arriving.iter().map(String::as_str).collect();
        let leaving: Vec<_> = self.names.leaving().iter().map(|pattern| pattern.as_str()).collect();
        let entrant = Entrant {
            gateway: GATEWAY,
            address: self.config.url.to_string(),
            tenant: "main".into(),
            name: NAME.into(),
            origin: "service",
            rights: Rights::new(&arriving, &leaving).map_err(|error| error.to_string())?,
            ..Entrant::default()
        };
        let session = self.ingress.enter(entrant, Some(notice)).map_err(|error| error.to_string())?;
        let visit = Visit::new(self.ingress.clone(), session);
        let mut remembered = self.remembered().await?;
        let before = remembered.consumers.clone();
        remembered.consumers.extend(self.consumers.iter().map(ToString::to_string));
        remembered.consumers.sort();
        remembered.consumers.dedup();
        self.remember(&remembered).await?;
        for (pattern, name) in self.names.leaving().iter().zip(&self.consumers) {
            self.join(visit.session(), pattern.as_str(), name).await?;
        }
        for name in before.iter().filter(|name| self.consumers.iter().all(|own| **own != ***name)) {
            let ended = Subscription { consumer: Some(name.clone()), ..Subscription::default() };
            self.ingress.end_reader(&visit.session().principal, &ended);
        }
        remembered.consumers = self.consumers.iter().map(ToString::to_string).collect();
        self.remember(&remembered).await?;
        Ok(visit)
    }

    /// Reads the logs for a pattern, and what no log keeps as it is published.
    async fn join(&self, session: &Arc<Session>, pattern: &str, name: &str) -> Result<(), String> {
        let parsed = weir_contract::topic::Pattern::parse(pattern).map_err(|error| error.to_string())?;
        let keeps = self.ingress.keeps(&parsed);
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).ok();
        if keeps != Keeps::Nothing {
            let options = Asked {
                ack_wait_ms: milliseconds(NEVER),
                max_in_flight: Some(self.config.max_in_flight.get().into()),
                expires_after_ms: milliseconds(EXPIRY),
            };
            let (name, pattern) = (name.to_owned(), pattern.to_owned());
            let request = Request { name, shared: false, pattern, options, since: Since::Now };
            let read = self.ingress.consume_persistent(session, &request).await;
            read.map_err(|outcome| outcome.reason())?;
        }
        if keeps != Keeps::All {
            let subscribe =
                Subscribe { pattern: pattern.to_owned(), retained: Some(false), ..Subscribe::default() };
            self.ingress.subscribe(session, subscribe).await.map_err(|outcome| outcome.reason())?;
        }
        Ok(())
    }

    /// Takes messages until the session ends. What they wait for is bounded by [`Outward`], so they never wait here.
    async fn follow(&self, session: &Session) {
        let mut items = std::collections::VecDeque::new();
        loop {
            session.outbound.take(&mut items).await;
            for item in items.drain(..) {
                match item {
                    Item::Message(routed) => {
                        session.outbound.expires(&routed);
                        self.accept(session, routed);
                    }
                    Item::Control(said) if said == GAP => self.told.lost("", "gone-from-the-log"),
                    Item::Gap(_) => self.told.lost("", "too-slow"),
                    Item::Control(said) if said == ENDED => {
                        tracing::warn!(
                            "a consumer of the bridge to the MQTT broker was deleted: a new one begins now"
                        );
                        return;
                    }
                    Item::Control(_) => {}
                    Item::Close(_, reason) => {
                        self.told.lost("", "too-slow");
                        tracing::warn!(
                            reason,
                            "the session of the bridge to the MQTT broker was cut, and begins anew"
                        );
                        return;
                    }
                }
            }
        }
    }

    async fn connect(&self, closing: &CancellationToken) {
        let mut pauses = Pauses::new(&self.config);
        let mut stands = self.session.subscribe();
        tokio::select! {
            _ = stands.wait_for(Option::is_some) => {}
            () = closing.cancelled() => return,
        }
        while !closing.is_cancelled() {
            self.told.metrics.attempts.inc();
            let told = Arc::clone(&self.told);
            let version = if self.config.version == 5 { Version::V5_0 } else { Version::V3_1_1 };
            let link =
                Link::new(version, self.config.receive_maximum.get(), move |outcome| told.outcome(outcome));
            let connected = tokio::select! {
                connected = dial(&self.config, link) => connected,
                () = closing.cancelled() => return,
            };
            let reason = match connected {
                Ok(connected) => {
                    let since = Instant::now();
                    let reason = self.talk(connected, closing).await;
                    self.interrupt();
                    self.told.metrics.connected.set(0);
                    self.told.metrics.disconnects.inc();
                    pauses.stood(since.elapsed());
                    reason
                }
                Err(reason) => reason,
            };
            if closing.is_cancelled() {
                return;
            }
            let pause = pauses.next();
            let (broker, pause_ms) = (&self.config.url, pause.as_millis());
            // Pauses grow, so these lines become rare.
            tracing::warn!(%broker, reason, pause_ms, "no connection to the MQTT broker");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = closing.cancelled() => return,
            }
        }
    }

    /// What was last remembered.
    pub(super) async fn remembered(&self) -> Result<Remembered, String> {
        let mut known = self.remembered.lock().await;
        if let Some(known) = &*known {
            return Ok(known.clone());
        }
        let space = self.space.clone();
        let loaded = tokio::task::spawn_blocking(move || Remembered::load(&space)).await;
        let loaded = loaded.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(known.insert(loaded).clone())
    }

    /// Remembers, unless that is known.
    pub(super) async fn remember(&self, now: &Remembered) -> Result<(), String> {
        let mut known = self.remembered.lock().await;
        if known.as_ref() == Some(now) {
            return Ok(());
        }
        let (space, saving) = (self.space.clone(), now.clone());
        let saved = tokio::task::spawn_blocking(move || saving.save(&space)).await;
        saved.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        *known = Some(now.clone());
        Ok(())
    }
}

/// Of all that the router may say, these matter.
fn notice(notice: Notice<'_>) -> Bytes {
    Bytes::from_static(match notice {
        Notice::ConsumerEnded { .. } => ENDED,
        Notice::ConsumerGap { .. } => GAP,
        _ => b"",
    })
}
