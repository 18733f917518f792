//! What stands behind the listener in its tests.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::super::*;
use crate::accounts::{Change, Records};
use crate::consumer::{Beginning, RebuildRefused, RebuildReport, RebuildState};
use crate::plugin::shadow::ShadowReport;
use crate::plugin::{Deed, Event, HistoryLine, PluginInfo, PluginState, Refused};

#[derive(Default)]
struct Memory(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Records for Memory {
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.lock().clone().into_iter().collect())
    }

    fn save(&self, key: &[u8], value: &[u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.0.lock().insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn apply(&self, changes: &[Change]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        for (key, value) in changes.iter().cloned() {
            match value {
                Some(value) => drop(self.0.lock().insert(key, value)),
                None => drop(self.0.lock().remove(&key)),
            }
        }
        Ok(())
    }
}

struct OnePlugin;

impl PluginView for OnePlugin {
    fn act(&self, name: &str, deed: Deed) -> Result<String, Refused> {
        match name {
            "gone" => Ok(format!("{deed:?}")),
            "open" => Err(Refused::Impossible("open is not gone".into())),
            _ => Err(Refused::Unknown { name: name.into(), known: vec!["open".into()] }),
        }
    }

    fn history(&self, name: &str) -> Result<Vec<HistoryLine>, Refused> {
        Ok(vec![HistoryLine::new(Event::Live, name)])
    }

    fn list(&self) -> Vec<PluginInfo> {
        vec![PluginInfo {
            name: "open".into(),
            file: "stock:open".into(),
            kind: "auth".into(),
            version: "0123456789ab".into(),
            order: 100,
            topics: vec!["#".into()],
            state: PluginState::Active,
            reason: None,
            notes: Vec::new(),
            grants: crate::plugin::Grants::default(),
            loaded_us: None,
            calls: 3,
            failures: 0,
            lag: None,
            missed: None,
            shadow: None,
        }]
    }

    fn shadow(&self, _: &str) -> Option<ShadowReport> {
        None
    }
}

struct OneRebuild;

impl RebuildView for OneRebuild {
    fn rebuild(&self, name: &str, _: bool) -> Result<RebuildReport, RebuildRefused> {
        Err(RebuildRefused::Unknown { name: name.into(), there_are: "latest".into() })
    }

    fn rebuilds(&self) -> BTreeMap<String, RebuildReport> {
        let begins = vec![Beginning { log: "default".into(), offset: 7, time_us: Some(1) }];
        let report = RebuildReport {
            state: RebuildState::Running,
            version: "0123456789ab".into(),
            started_us: 1,
            ended_us: None,
            done: 3,
            of: 9,
            begins,
            error: None,
        };
        [("open".to_owned(), report)].into()
    }
}

struct NoRequeue;

impl crate::ingress::RequeueLetters for NoRequeue {
    fn requeue(
        &self,
        _: crate::dead_letters::Letter,
    ) -> futures_util::future::BoxFuture<'_, crate::ingress::Requeued> {
        let (outcome, reason) = ("accepted", String::new());
        Box::pin(async move { crate::ingress::Requeued { outcome, reason, gone: false } })
    }
}

struct NoConsumer;

impl ConsumerView for NoConsumer {
    fn list(&self) -> Vec<crate::durable::ConsumerInfo> {
        Vec::new()
    }

    fn reset(&self, id: &str, _: &crate::message::Since) -> Result<(), crate::durable::Refused> {
        self.delete(id)
    }

    fn delete(&self, id: &str) -> Result<(), crate::durable::Refused> {
        Err(crate::durable::Refused::Invalid(format!("there is no {id}")))
    }
}

/// What the listener is asked about.
pub(super) fn state() -> AdminState {
    let folder = tempfile::tempdir().unwrap();
    let store = crate::store::Store::open(&folder.path().join("data"), crate::store::StoreOptions::default());
    let store = store.unwrap();
    let metrics = Metrics::new();
    let most = crate::retained::Most { messages: 9, bytes: 9_000 };
    let retained = crate::retained::Retained::load(store.clone(), most, metrics.retained.clone()).unwrap();
    let (received, _) = crate::received::Received::open(store.clone()).unwrap();
    let log_metrics = |log: &str| metrics.log(log);
    let sequencer = Arc::new(Sequencer::new(
        store.clone(),
        Arc::default(),
        retained,
        received,
        vec![Vec::new()],
        log_metrics,
    ));
    let dead_letters = crate::dead_letters::DeadLetters::open(
        store.clone(),
        Default::default(),
        metrics.dead_letters.clone(),
    );
    AdminState {
        dead_letters: Arc::new(dead_letters.unwrap()),
        requeue: Arc::new(NoRequeue),
        trials: Arc::new(()),
        sequencer,
        token: AdminToken::load_or_create(folder.path()).unwrap(),
        hosts: vec!["weir.internal".into()],
        accounts: Arc::new(Accounts::open(Box::<Memory>::default()).unwrap()),
        sessions: Arc::default(),
        metrics: Arc::default(),
        traces: Arc::default(),
        plugins: Arc::new(OnePlugin),
        rebuilds: Arc::new(OneRebuild),
        consumers: Arc::new(NoConsumer),
        tenta: None,
        ready: Arc::default(),
        logs: Logs::new(store, &[crate::config::LogRule::default()]),
    }
}
