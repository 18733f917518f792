//! What one binding of the folder leads to: nothing new, a version that goes live, or one that does not.

use std::sync::Arc;

use super::super::binding::{Secrets, Spec};
use super::super::folder::{File, Seal};
use super::super::guest::StateAccess;
use super::super::{Grants, LoadError, component};
use super::load::Draft;
use super::loader::{Failed, Live, Loader};
use super::migrate::Migrating;
use super::versions::{Event, HistoryLine, Pair};
use super::wanted::Wanted;
use crate::message::now_us;

impl Loader {
    /// Binds what the folder asks for or, while that is quarantined, the version that serves in its place.
    pub(super) fn bind(&mut self, name: &str, wanted: Wanted) {
        let digest = match &wanted.file {
            Ok(file) => file.digest,
            Err(error) => {
                let error = wanted.placed(self.folder.path(), error.clone());
                return self.fail(name, None, Some(wanted.spec), error);
            }
        };
        let record = self.versions.get(name).filter(|record| record.is_quarantined(&digest, &wanted.spec));
        let Some(kept) = record.and_then(|record| record.live()).cloned() else {
            return self.bind_one(name, digest, wanted, false);
        };
        let serves = |live: &Live| kept.pair.is(&live.digest, &live.binding.spec);
        match self.live.get(name).filter(|live| serves(live)) {
            Some(live) if self.has_its_secrets(live) => drop(self.failed.remove(name)),
            _ => match self.versions.wanted(&kept) {
                Ok(wanted) => self.bind_one(name, kept.pair.digest, wanted, true),
                Err(error) => self.fail(name, None, kept.pair.spec, error),
            },
        }
    }

    fn has_its_secrets(&self, live: &Live) -> bool {
        let shared = &live.binding.shared;
        Secrets::read(&live.binding.spec).is_ok_and(|secrets| secrets == *shared.secrets)
    }

    fn bind_one(&mut self, name: &str, digest: [u8; 32], wanted: Wanted, is_kept: bool) {
        let secrets = match Secrets::read(&wanted.spec) {
            Ok(secrets) => secrets,
            Err(error) => {
                let error = self.placed(&wanted, is_kept, error);
                return self.fail(name, None, Some(wanted.spec), error);
            }
        };
        let seal = wanted.file.as_ref().map(|file| file.seal.clone()).unwrap_or(Seal::None);
        let same = |live: &Live| {
            let binding = &live.binding;
            live.digest == digest
                && live.seal == seal
                && binding.spec == wanted.spec
                && *binding.shared.secrets == secrets
        };
        if self.live.get(name).is_some_and(same) {
            self.failed.remove(name);
            return;
        }
        let tried_with = secrets.digest();
        let known_bad = |failed: &Failed| {
            let same = failed.digest == Some(digest) && failed.spec.as_ref() == Some(&wanted.spec);
            // The machine's failures (no process, no room on the disk) may pass.
            let passing = matches!(failed.error, LoadError::Engine(_));
            same && failed.seal.as_ref() == Some(&seal) && failed.secrets == tried_with && !passing
        };
        if self.failed.get(name).is_some_and(known_bad) {
            return;
        }
        match self.draft(&wanted, secrets, is_kept) {
            Ok(Draft { plan: Some(plan), binding, entry, leaves }) => {
                let draft = Draft { binding, entry, leaves, plan: None };
                let name = name.to_owned();
                self.migrating.push(Migrating { name, wanted, digest, secrets: tried_with, draft, plan });
            }
            Ok(draft) => {
                self.put_live(name, draft.live(&wanted, digest));
                if !is_kept {
                    self.note_live(name, &wanted, digest);
                }
            }
            Err(error) => {
                let error = self.placed(&wanted, is_kept, error);
                self.fail(name, wanted.file.as_ref().ok(), Some(wanted.spec), error);
                if let Some(failed) = self.failed.get_mut(name) {
                    failed.secrets = tried_with;
                }
            }
        }
    }

    /// With its place in the folder's file, unless the version is one that was kept.
    fn placed(&self, wanted: &Wanted, is_kept: bool, error: LoadError) -> LoadError {
        if is_kept { error } else { wanted.placed(self.folder.path(), error) }
    }

    /// Takes a version through every step but the swap.
    pub(super) fn draft(
        &mut self,
        wanted: &Wanted,
        secrets: Secrets,
        is_kept: bool,
    ) -> Result<Draft, LoadError> {
        let Wanted { stem, spec, file, .. } = wanted;
        let file = file.as_ref().map_err(LoadError::clone)?;
        self.load(stem, spec, file, secrets, is_kept)
    }

    /// Puts a version in place for the next swap.
    pub(super) fn put_live(&mut self, name: &str, mut live: Live) {
        let (version, kind) = (&live.binding.shared.version, live.binding.kind());
        let grants = Grants::from(&live.binding.spec);
        tracing::info!(plugin = name, %version, %kind, %grants, "plugin loaded");
        self.options.metrics.show_plugin_use(name, &live.binding.shared.used);
        if let Some((key, entry)) = live.entry.take()
            && let Err(error) = self.schemas.put(&key, entry)
        {
            tracing::error!(plugin = name, %error, "the schema of the plugin's state cannot be kept");
        }
        if let StateAccess::Space(space) = &live.binding.shared.state {
            self.spaces.insert(space.name.to_string(), Arc::clone(space));
        }
        self.failed.remove(name);
        self.live.insert(name.to_owned(), live);
        self.changed = true;
    }

    /// Remembers what went live, with all that is needed to go back to it.
    pub(super) fn note_live(&mut self, name: &str, wanted: &Wanted, digest: [u8; 32]) {
        let Some(live) = self.live.get(name) else { return };
        let pair = Pair::of(wanted, digest);
        let mut record = self.versions.get(name).cloned().unwrap_or_default();
        let resealed = record.reseal(&pair);
        if !resealed && !record.went_live(pair.clone(), live.binding.kind().as_str(), now_us()) {
            return;
        }
        if let Err(error) = self.versions.keep(&pair, wanted) {
            let version = pair.version();
            tracing::error!(plugin = name, version, error, "a version cannot be kept: no way back to it");
        }
        let line = HistoryLine { number: record.live, ..HistoryLine::new(Event::Live, &pair.version()) };
        self.versions.save_or_tell(name, record);
        if !resealed {
            self.versions.history.add(name, line);
        }
    }

    /// Notes why a version, or a file, is not used. What is live stays so.
    pub(super) fn fail(&mut self, name: &str, file: Option<&File>, spec: Option<Spec>, error: LoadError) {
        let (digest, seal) = (file.map(|file| file.digest), file.map(|file| file.seal.clone()));
        let (text, stage) = (error.to_string(), error.stage());
        let known = self.failed.get(name);
        if known.is_none_or(|known| known.error.to_string() != text || known.digest != digest) {
            let serving = self.live.contains_key(name);
            self.options.metrics.load_failures(stage).inc();
            tracing::error!(plugin = name, stage, serving, reason = text, "plugin not loaded");
            let version = digest.map(|digest| component::version(&digest)).unwrap_or_default();
            let line = HistoryLine::new(Event::Failed, &version).because(&text);
            self.versions.history.add(name, HistoryLine { stage: Some(stage.to_owned()), ..line });
        }
        self.failed.insert(name.to_owned(), Failed { digest, seal, spec, secrets: [0; 32], error });
    }

    /// The folder no longer asks for it.
    pub(super) fn note_unbound(&mut self, name: &str) {
        let Some(mut record) = self.versions.get(name).cloned() else { return };
        let version = record.live().map(|live| live.pair.version()).unwrap_or_default();
        (record.live, record.back) = (None, None);
        record.quarantine.clear();
        self.versions.save_or_tell(name, record);
        self.versions.history.add(name, HistoryLine::new(Event::Unbound, &version));
    }
}
