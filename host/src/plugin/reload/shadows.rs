//! Bindings with `mode = "shadow"`: loaded like the others, compared with one of them, never in the chain.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::super::binding::{Mode, Secrets, Spec};
use super::super::folder::Seal;
use super::super::shadow::Shadow;
use super::super::{Binding, Chain, LoadError, PluginInfo, PluginState, ShadowLine};
use super::candidate::Bench;
use super::wanted::Wanted;
use crate::metrics::Metrics;

/// The shadows that run, by name. Those that are let go end.
#[derive(Default)]
pub(super) struct Shadows {
    running: BTreeMap<String, Running>,
    failed: BTreeMap<String, Failed>,
}

struct Running {
    tried: Tried,
    shadow: Arc<Shadow>,
    /// Beside which load of the live binding it runs.
    live: Arc<Binding>,
}

/// What a version is made of.
#[derive(PartialEq)]
struct Tried {
    /// Digest and signature of the component, if it could be read.
    file: Option<([u8; 32], Seal)>,
    spec: Spec,
    /// Digest of the secrets.
    secrets: [u8; 32],
}

/// A version that does not run. One that has been refused is not tried again until something of it changes.
struct Failed {
    tried: Tried,
    /// Beside which load of the live binding.
    beside: Weak<Binding>,
    error: LoadError,
}

impl Failed {
    fn waits(&self) -> bool {
        matches!(self.error, LoadError::Waits(_))
    }

    fn refuses(&self, tried: &Tried, beside: &Arc<Binding>) -> bool {
        let same_live = self.beside.ptr_eq(&Arc::downgrade(beside));
        !self.waits() && tried.file.is_some() && self.tried == *tried && same_live
    }
}

impl Running {
    fn version(&self) -> &str {
        &self.shadow.binding.shared.version
    }

    /// Drops its series. Always false: it does not stay.
    fn forget(&self, metrics: &Metrics) -> bool {
        let name = self.shadow.binding.name();
        metrics.forget_shadow(name);
        metrics.forget_stage(name, self.version());
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shadow.end();
    }
}

/// Takes the shadows out of what the folder asks for.
pub(super) fn take(wanted: &mut BTreeMap<String, Wanted>) -> BTreeMap<String, Wanted> {
    let is_shadow = |_: &String, wanted: &mut Wanted| matches!(wanted.spec.mode, Mode::Shadow { .. });
    wanted.extract_if(.., is_shadow).collect()
}

impl Shadows {
    /// Whether a binding is a shadow, running or not.
    pub(super) fn is_one(&self, name: &str) -> bool {
        self.running.contains_key(name) || self.failed.contains_key(name)
    }

    /// Makes the shadows what the folder asks for. `live` is the binding of a name that serves. True: something
    /// changed.
    pub fn adopt<'l>(
        &mut self,
        wanted: BTreeMap<String, Wanted>,
        live: impl Fn(&str) -> Option<&'l Arc<Binding>>,
        bench: &Bench,
        metrics: &Metrics,
    ) -> bool {
        let before = self.running.len();
        self.running.retain(|name, running| wanted.contains_key(name) || running.forget(metrics));
        self.failed.retain(|name, _| wanted.contains_key(name));
        let mut changed = self.running.len() != before;
        for (name, Wanted { spec, file, .. }) in wanted {
            let Mode::Shadow { of, .. } = spec.mode.clone() else { continue };
            let secrets = Secrets::read(&spec);
            let tried = Tried {
                file: file.as_ref().ok().map(|file| (file.digest, file.seal.clone())),
                secrets: secrets.as_ref().map_or([0; 32], Secrets::digest),
                spec,
            };
            let Some(beside) = live(&of) else {
                let error = LoadError::Waits(format!("{of:?}, the binding of `shadow-of`: it is not live"));
                changed |= self.fail(name, Failed { tried, beside: Weak::new(), error }, metrics);
                continue;
            };
            let runs = |it: &Running| it.tried == tried && Arc::ptr_eq(beside, &it.live);
            if self.running.get(&name).is_some_and(runs) {
                self.failed.remove(&name);
                continue;
            }
            if self.failed.get(&name).is_some_and(|failed| failed.refuses(&tried, beside)) {
                continue;
            }
            let loaded = file.and_then(|file| bench.load(&tried.spec, &file, secrets?, beside));
            match loaded {
                Ok(binding) => {
                    self.run(name, tried, binding, beside, metrics);
                    changed = true;
                }
                Err(error) => {
                    let failed = Failed { tried, beside: Arc::downgrade(beside), error };
                    changed |= self.fail(name, failed, metrics);
                }
            }
        }
        changed
    }

    fn run(&mut self, name: String, tried: Tried, binding: Binding, live: &Arc<Binding>, metrics: &Metrics) {
        let Mode::Shadow { of, sample } = &tried.spec.mode else { return };
        let shadow = Shadow::new(Arc::new(binding), of, *sample, metrics.shadow(&name));
        tracing::info!(plugin = name, version = %shadow.binding.shared.version, of, "shadow loaded");
        self.failed.remove(&name);
        let next = Running { tried, shadow: Arc::new(shadow), live: Arc::clone(live) };
        if let Some(before) = self.running.insert(name.clone(), next) {
            let (old, new) = (before.version(), self.running.get(&name).map(Running::version));
            if new != Some(old) {
                metrics.forget_stage(&name, old);
            }
        }
    }

    /// Beside what no longer serves, or is served by something else, there is nothing to compare. True: it ran.
    fn fail(&mut self, name: String, failed: Failed, metrics: &Metrics) -> bool {
        let (text, stage) = (failed.error.to_string(), failed.error.stage());
        let known = self.failed.get(&name);
        if known.is_none_or(|known| known.error.to_string() != text || known.tried.file != failed.tried.file)
        {
            if !failed.waits() {
                metrics.load_failures(stage).inc();
            }
            tracing::warn!(plugin = name, stage, reason = text, "shadow not loaded");
        }
        let ran = self.running.remove(&name);
        let ran = ran.is_some_and(|running| !running.forget(metrics));
        self.failed.insert(name, failed);
        ran
    }

    /// Those that run, for the chain.
    pub fn attach(&self, chain: &mut Chain) {
        chain.shadows = self.running.values().map(|running| Arc::clone(&running.shadow)).collect();
    }

    /// Adds their lines to the list; `blank` makes one.
    pub fn list(
        &self,
        all: &mut BTreeMap<String, PluginInfo>,
        blank: impl Fn(&str, i64, PluginState, String) -> PluginInfo,
    ) {
        for (name, Running { tried: Tried { spec, .. }, shadow, .. }) in &self.running {
            let line = blank(name, spec.order, PluginState::Shadow, String::new());
            let Mode::Shadow { of, sample } = &spec.mode else { continue };
            let binding = &shadow.binding;
            all.insert(
                name.clone(),
                PluginInfo {
                    file: spec.source.to_string(),
                    kind: binding.kind().to_string(),
                    version: binding.shared.version.to_string(),
                    topics: spec.topics.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
                    loaded_us: Some(binding.loaded_us),
                    reason: None,
                    shadow: Some(ShadowLine { of: of.clone(), share: *sample, counts: shadow.counts() }),
                    ..line
                },
            );
        }
        for (name, failed) in &self.failed {
            let (spec, error) = (&failed.tried.spec, &failed.error);
            let state = if failed.waits() { PluginState::Waiting } else { PluginState::Failed };
            let line = blank(name, spec.order, state, format!("{}: {error}", error.stage()));
            all.insert(name.clone(), PluginInfo { file: spec.source.to_string(), ..line });
        }
    }
}
