//! Old state, new code: migrated on a copy, while those whose messages need it wait, and swapped with the chain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::folder::Seal;
use super::super::guest::{Shared, StateAccess};
use super::super::space::{Change, Space, Value};
use super::super::{Binding, Instance, LoadError};
use super::load::Draft;
use super::loader::{Live, Loader};
use super::samples;
use super::schema::{Entry, flushed};
use super::wanted::Wanted;
use crate::message::now_us;
use crate::store::{StateValue, SubmitError};

/// Longest that messages wait, from the first look at the old state to the swap.
const FENCE: Duration = Duration::from_secs(5);
/// Bytes and pairs that are handed to the writer at once.
const CHUNK: (usize, usize) = (1 << 20, 1_000);
/// Between two tries to hand them over while its queue is full.
const BUSY: Duration = Duration::from_millis(5);

/// What has to be migrated.
#[derive(Clone)]
pub(super) struct Plan {
    /// Where the state lies now.
    pub from: Arc<Space>,
    /// Its number.
    pub stored: u32,
    /// The number that it will have.
    pub schema: u32,
}

/// A version that goes live with a migrated copy of its state, or not at all.
pub(super) struct Migrating {
    pub name: String,
    pub wanted: Wanted,
    pub digest: [u8; 32],
    /// Digest of the secrets that it is tried with.
    pub secrets: [u8; 32],
    pub draft: Draft,
    pub plan: Plan,
}

type Pairs = Vec<(Vec<u8>, Value)>;

impl Loader {
    /// Tries it out on a copy of its own: what fails, fails while nobody waits.
    pub(super) fn rehearse_migration(
        &self,
        stem: &str,
        binding: &Binding,
        plan: &Plan,
    ) -> Result<(), LoadError> {
        let copy = Space::new(Arc::clone(&plan.from.name), plan.from.quota(), []);
        let shared = Shared { state: StateAccess::Space(Arc::new(copy)), ..binding.shared.clone() };
        let mut trial =
            self.migrated(stem, binding, shared, plan.from.pairs(), plan, Instant::now() + FENCE)?;
        trial.self_test(&binding.loaded)?;
        samples::run(&mut trial, &binding.spec, binding.kind())
    }

    /// Migrates all that waits for it. The fence stays raised until the next swap.
    pub(super) fn migrate_all(&mut self) {
        let all = std::mem::take(&mut self.migrating);
        if all.is_empty() {
            return;
        }
        self.fence.raise();
        let until = Instant::now() + FENCE;
        for Migrating { name, wanted, digest, secrets, draft, plan } in all {
            match self.migrate(&wanted.stem, &draft, &plan, until) {
                Ok(()) => {
                    self.spaces.remove(&*plan.from.name);
                    let (schema, stored) = (plan.schema, plan.stored);
                    tracing::info!(plugin = name, stored, schema, "the state of a plugin is migrated");
                    self.put_live(&name, draft.live(&wanted, digest));
                    self.note_live(&name, &wanted, digest);
                }
                Err(error) => {
                    plan.from.unseal();
                    self.fail(&name, wanted.file.as_ref().ok(), Some(wanted.spec), error);
                    if let Some(failed) = self.failed.get_mut(&name) {
                        failed.secrets = secrets;
                    }
                }
            }
        }
    }

    fn migrate(&mut self, stem: &str, draft: &Draft, plan: &Plan, until: Instant) -> Result<(), LoadError> {
        let binding = &draft.binding;
        let StateAccess::Space(copy) = &binding.shared.state else { return Ok(()) };
        let pairs = plan.from.seal();
        drop(self.migrated(stem, binding, binding.shared.clone(), pairs, plan, until)?);
        self.fill_ready(binding)?;
        self.write(copy, until).map_err(|why| LoadError::State(format!("its migrated state: {why}")))?;
        if Instant::now() > until {
            return Err(refused(plan, "it took longer than 5 s with all that belongs to it"));
        }
        let key = format!("{stem}.{}", binding.name());
        let window = u64::try_from(binding.spec.budget.window.as_micros()).unwrap_or(u64::MAX);
        let until_us = now_us().saturating_add(window);
        self.schemas.put(&key, self.schemas.get(&key).migrated(plan.schema, until_us))
    }

    /// A trial instance over a copy of these pairs, migrated.
    fn migrated(
        &self,
        stem: &str,
        binding: &Binding,
        shared: Shared,
        pairs: Pairs,
        plan: &Plan,
        until: Instant,
    ) -> Result<Instance, LoadError> {
        let _clock = self.engine.running();
        if let StateAccess::Space(copy) = &shared.state {
            let all = pairs.into_iter().map(|(key, value)| Change { key, value: Some(value) });
            copy.lock().apply(all);
        }
        let context = self.bench.context(stem, binding.name(), &binding.loaded.digest, true);
        let mut trial = Instance::new(&binding.engine, &binding.loaded, shared, &binding.config, &context)?;
        let left = until.saturating_duration_since(Instant::now());
        let deadline = binding.shared.limits.init_deadline.min(left);
        trial.migrate(&binding.loaded, plan.stored, deadline).map_err(|why| refused(plan, &why))?;
        Ok(trial)
    }

    /// Writes a whole space, in place of whatever a crash has left there.
    fn write(&self, space: &Space, until: Instant) -> Result<(), String> {
        let store = &self.options.store;
        store.drop_space(&space.name).map_err(|error| error.to_string())?;
        let pairs = space.pairs();
        let mut rest = pairs.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take(CHUNK.1).take_while(|(key, value)| {
                bytes += key.len() + value.bytes.len();
                bytes <= CHUNK.0
            });
            let (chunk, more) = rest.split_at(fits.count().max(1));
            match store.writer().submit(|queue| {
                for (key, value) in chunk {
                    let bytes = Bytes::copy_from_slice(&value.bytes);
                    queue.state(
                        &space.name,
                        key.clone(),
                        Some(StateValue { bytes, expires_us: value.expires_us }),
                    );
                }
            }) {
                Ok(()) => rest = more,
                Err(SubmitError::Full { .. }) if Instant::now() < until => std::thread::sleep(BUSY),
                Err(error) => return Err(error.to_string()),
            }
        }
        flushed(store, until.saturating_duration_since(Instant::now()))
    }
}

impl Draft {
    /// As it goes live.
    pub(super) fn live(self, wanted: &Wanted, digest: [u8; 32]) -> Live {
        let Self { binding, entry, leaves, .. } = self;
        let seal = wanted.file.as_ref().map(|file| file.seal.clone()).unwrap_or(Seal::None);
        Live { stem: wanted.stem.clone(), seal, digest, binding, note: None, entry, leaves }
    }
}

/// What a kept version finds. None: state of its own schema.
pub(super) fn kept(entry: &Entry, schema: u32) -> Result<Option<Entry>, LoadError> {
    if entry.schema == schema {
        return Ok(None);
    }
    let backup = entry.backup.as_ref().filter(|b| b.schema == schema && b.until_us > now_us());
    match backup.and_then(|_| entry.clone().restored()) {
        Some(restored) => Ok(Some(restored)),
        None => Err(LoadError::Migration(format!(
            "its state has schema {}, this version knows {schema}, and what was saved before the migration is gone with the error budget's window",
            entry.schema
        ))),
    }
}

fn refused(plan: &Plan, why: &str) -> LoadError {
    let Plan { stored, schema, .. } = plan;
    LoadError::Migration(format!("its state is not migrated from schema {stored} to {schema}: {why}"))
}
