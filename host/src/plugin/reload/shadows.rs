//! Bindings with `mode = "shadow"`: loaded like the others, compared with one of them, never in the chain.

use std::collections::BTreeMap;
use std::sync::Arc;

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
    file: Identity,
    spec: Spec,
    shadow: Arc<Shadow>,
    /// Beside which load of the live binding it runs.
    live: Arc<Binding>,
}

/// A component's digest and signature.
type Identity = ([u8; 32], Seal);

/// A version that does not run. One that has been refused is not tried again until something of it changes.
struct Failed {
    file: Option<Identity>,
    spec: Spec,
    secrets: [u8; 32],
    error: LoadError,
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
        self.running.retain(|name, _| wanted.contains_key(name) || forget(metrics, name));
        self.failed.retain(|name, _| wanted.contains_key(name));
        let mut changed = self.running.len() != before;
        for (name, Wanted { spec, file, .. }) in wanted {
            let Mode::Shadow { of, sample } = spec.mode.clone() else { continue };
            let identity = file.as_ref().ok().map(|file| (file.digest, file.seal.clone()));
            let secrets = Secrets::read(&spec);
            let tried = secrets.as_ref().map_or([0; 32], Secrets::digest);
            let beside = live(&of);
            let runs = |running: &Running| {
                Some(&running.file) == identity.as_ref()
                    && running.spec == spec
                    && beside.is_some_and(|beside| Arc::ptr_eq(beside, &running.live))
                    && running.shadow.binding.shared.secrets.digest() == tried
            };
            let refused = |failed: &Failed| {
                failed.file == identity
                    && failed.spec == spec
                    && failed.secrets == tried
                    && identity.is_some()
                    && !matches!(failed.error, LoadError::Waits(_))
            };
            if self.running.get(&name).is_some_and(runs) {
                self.failed.remove(&name);
                continue;
            }
            let made = match beside {
                None => Err(LoadError::Waits(format!("{of:?}, the binding of `shadow-of`: it is not live"))),
                Some(_) if self.failed.get(&name).is_some_and(refused) => continue,
                Some(beside) => file.and_then(|file| {
                    let secrets = secrets.map_err(LoadError::Secret)?;
                    let binding = Arc::new(bench.load(&spec, &file, secrets, beside)?);
                    let shadow = Shadow::new(binding, &of, sample, metrics.shadow(&name));
                    let (shadow, live) = (Arc::new(shadow), Arc::clone(beside));
                    Ok(Running { file: (file.digest, file.seal), spec: spec.clone(), shadow, live })
                }),
            };
            match made {
                Ok(running) => {
                    let version = &running.shadow.binding.shared.version;
                    tracing::info!(plugin = name, %version, of, "shadow loaded");
                    self.failed.remove(&name);
                    self.running.insert(name, running);
                    changed = true;
                }
                Err(error) => {
                    // Beside what no longer serves, or is served by something else, there is nothing to compare.
                    changed |= self.running.remove(&name).is_some();
                    self.note(name, Failed { file: identity, spec, secrets: tried, error }, metrics);
                }
            }
        }
        changed
    }

    fn note(&mut self, name: String, failed: Failed, metrics: &Metrics) {
        let text = failed.error.to_string();
        let known = self.failed.get(&name);
        if known.is_none_or(|known| known.error.to_string() != text || known.file != failed.file) {
            if !matches!(failed.error, LoadError::Waits(_)) {
                metrics.load_failures(failed.error.stage()).inc();
            }
            tracing::warn!(plugin = name, stage = failed.error.stage(), reason = text, "shadow not loaded");
        }
        self.failed.insert(name, failed);
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
        for (name, Running { spec, shadow, .. }) in &self.running {
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
        for (name, Failed { spec, error, .. }) in &self.failed {
            let state = match error {
                LoadError::Waits(_) => PluginState::Waiting,
                _ => PluginState::Failed,
            };
            let line = blank(name, spec.order, state, format!("{}: {error}", error.stage()));
            all.insert(name.clone(), PluginInfo { file: spec.source.to_string(), ..line });
        }
    }
}

fn forget(metrics: &Metrics, name: &str) -> bool {
    metrics.forget_shadow(name);
    false
}
