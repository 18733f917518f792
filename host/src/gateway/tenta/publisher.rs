//! Publishes configurations, each until it has gone out once: retained, at QoS 1, those of a sensor in the order of their
//! revisions. Which are left stands on the disk, so that a restart loses none; in memory is a handful at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::GATEWAY;
use crate::accounts::tenta::{Id, Publishable};
use crate::accounts::{Accounts, AccountsError};
use crate::gateway::visit::Visit;
use crate::ingress::{Entrant, Ingress, Publish};
use crate::message::{Level, Outcome, Responder, Rights};
use crate::telemetry::Seldom;

/// Configurations that are read at once.
const AT_ONCE: usize = 16;
/// Until what failed is tried again: from the first to the longest, each time twice as long.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(256));

/// Publishes in a task of its own, until it is told to end.
pub(super) fn start(ingress: Ingress, tenant: String, base: Arc<str>, closing: CancellationToken) {
    let publisher = Publisher { ingress, tenant, base };
    drop(tokio::spawn(async move {
        tokio::select! {
            () = closing.cancelled() => {}
            () = publisher.run() => {}
        }
    }));
}

struct Publisher {
    ingress: Ingress,
    tenant: String,
    base: Arc<str>,
}

/// Why a round ended before its end.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error("the router is stopping")]
    Stopping,
}

impl Publisher {
    async fn run(&self) {
        let mut waiting = match self.ingress.accounts().tenta().publishable() {
            Ok(waiting) => waiting,
            Err(error) => return tracing::error!(%error, "configurations of sensors are not published"),
        };
        let mut pause = PAUSES.0;
        loop {
            waiting.borrow_and_update();
            let all = match self.round().await {
                Ok(all) => all,
                Err(error) => {
                    tracing::warn!(%error, "configurations of sensors are not published now");
                    false
                }
            };
            if all {
                pause = PAUSES.0;
                if waiting.changed().await.is_err() {
                    return;
                }
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(jittered(pause)) => pause = (pause * 2).min(PAUSES.1),
                // What is new need not wait for what fails.
                changed = waiting.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// Tries each that is left once. False: some are still left. Of a sensor whose configuration does not go out, the
    /// later ones wait.
    async fn round(&self) -> Result<bool, Stopped> {
        let (mut behind, mut failed, mut all) = (None, None, true);
        loop {
            let some = self.disk(move |accounts| accounts.tenta().unpublished(behind, AT_ONCE)).await?;
            let Some(last) = some.last() else { return Ok(all) };
            behind = Some((last.sensor, last.revision));
            for one in some {
                if failed == Some(one.sensor) || !self.is_ours(one.sensor) {
                    continue;
                }
                if self.publish(&one).await? {
                    let (sensor, revision) = (one.sensor, one.revision);
                    self.disk(move |accounts| accounts.tenta().published(sensor, revision)).await?;
                } else {
                    (failed, all) = (Some(one.sensor), false);
                }
            }
        }
    }

    fn is_ours(&self, sensor: Id) -> bool {
        let found = self.ingress.accounts().tenta().sensor(sensor);
        found.is_some_and(|(_, sensor)| sensor.tenant == self.tenant)
    }

    async fn publish(&self, one: &Publishable) -> Result<bool, Stopped> {
        let Some(visit) = self.visit() else { return Ok(false) };
        let payload = format!(r#"{{"revision":{},"configuration":{}}}"#, one.revision, one.value);
        let publish = Publish {
            topic: format!("{}configurations/{}", self.base, one.sensor).into(),
            payload: payload.into(),
            content_type: Some("application/json".into()),
            qos: Some(1),
            retain: true,
            level: Level::Logged,
            ..Publish::default()
        };
        let (responder, answered) = Responder::channel();
        self.ingress.publish(visit.session(), publish, responder).await;
        match answered.await.unwrap_or(Outcome::ShuttingDown) {
            Outcome::Accepted { .. } => Ok(true),
            Outcome::ShuttingDown => Err(Stopped::Stopping),
            outcome => {
                let (sensor, revision) = (one.sensor, one.revision);
                let (outcome, reason) = (outcome.as_str(), outcome.reason());
                static SAID: Seldom = Seldom::new();
                if SAID.is_due() {
                    tracing::warn!(%sensor, revision, outcome, reason, "a configuration was not published: it is tried again");
                }
                Ok(false)
            }
        }
    }

    fn visit(&self) -> Option<Visit> {
        let topics = format!("{}configurations/+", self.base);
        let entrant = Entrant {
            gateway: GATEWAY,
            tenant: self.tenant.clone(),
            name: GATEWAY.into(),
            origin: "service",
            rights: Rights::new(&[&topics], &[]).unwrap_or_default(),
            ..Entrant::default()
        };
        let session = self.ingress.enter(entrant, None);
        let session = session.inspect_err(|error| tracing::warn!(%error, "no session for configurations"));
        Some(Visit::new(self.ingress.clone(), session.ok()?))
    }

    async fn disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Accounts) -> Result<T, AccountsError> + Send + 'static,
    ) -> Result<T, Stopped> {
        let accounts = Arc::clone(self.ingress.accounts());
        let done = tokio::task::spawn_blocking(move || work(&accounts)).await;
        Ok(done.map_err(|_| Stopped::Stopping)??)
    }
}

/// Between half of it and the whole, so that what failed together is not tried together.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 1];
    // Without it the whole is good enough.
    let part = getrandom::fill(&mut random).map_or(255, |()| u32::from(u8::from_ne_bytes(random)));
    pause / 2 + pause * part / 510
}
