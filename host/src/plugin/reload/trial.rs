//! Two chains for a replay: what is live, and the same with a candidate in a binding's place. Both have instances and
//! data of their own, so that nothing of a replay reaches what serves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::super::binding::{Budget, Mode, Secrets, Source, Spec, valid_name};
use super::super::folder::{File, Seal};
use super::super::grants::Ungranted;
use super::super::guest::StateAccess;
use super::super::health::Health;
use super::super::imports::logging::LogGate;
use super::super::report::Report;
use super::super::space::Space;
use super::super::{Binding, Chain, LoadError, Problem, component};
use super::Plugins;
use crate::metrics::PluginUse;

/// A component that is not in the folder, and where it would stand.
#[derive(Debug)]
pub struct Candidate {
    /// The binding whose place it takes, or that it would be.
    pub name: String,
    /// The component.
    pub component: Vec<u8>,
    /// Its signature, as in `NAME.wasm.minisig`.
    pub signature: Option<String>,
    /// A binding file; none = as the live binding is, or the defaults.
    pub binding: Option<String>,
}

/// What a candidate is compared with, and itself.
pub struct Trial {
    /// What is live.
    pub live: Chain,
    /// The same with the candidate.
    pub candidate: Chain,
    /// The candidate's version.
    pub version: String,
    /// The version that it would take the place of.
    pub replaces: Option<String>,
}

impl Plugins {
    /// Takes a candidate through the steps that one in the folder passes before the swap. Blocks.
    pub fn trial(&self, candidate: Candidate) -> Result<Trial, LoadError> {
        let chain = self.chain.load_full();
        let replaced = chain.bindings().find(|binding| *binding.spec.name == candidate.name);
        let spec = spec(&candidate, replaced.map(|binding| &binding.spec))?;
        let secrets = Secrets::read(&spec)?;
        let file = File {
            digest: component::digest(&candidate.component),
            bytes: candidate.component.into(),
            seal: candidate.signature.map_or(Seal::None, |text| Seal::Text(text.into())),
        };
        let state = match replaced {
            Some(live) => copy(&live.shared.state),
            None => empty(&spec.name, self.bench.limits.state_bytes),
        };
        let tried = self.bench.load_over(&spec, &file, secrets, state, replaced.map(|live| &**live))?;
        let version = tried.shared.version.to_string();
        let replaces = replaced.map(|live| live.shared.version.to_string());
        let others = |side: &mut Vec<Arc<Binding>>, but: Option<&str>| {
            let serving = chain.auth.iter().filter_map(|slot| slot.binding());
            let serving = serving.chain(&chain.filters).chain(&chain.transforms);
            for binding in serving.filter(|binding| Some(&**binding.name()) != but) {
                let beside = quiet(binding.beside(copy(&binding.shared.state)));
                let instance = beside.make()?;
                beside.ready.lock().push(instance);
                side.push(Arc::new(beside));
            }
            Ok::<_, LoadError>(())
        };
        let (mut live, mut with) = (Vec::new(), Vec::new());
        others(&mut live, None)?;
        others(&mut with, Some(&spec.name))?;
        with.push(Arc::new(quiet(tried)));
        let mut closed = chain.closed.clone();
        let live = Chain { generation: 1, ..Chain::build(&live, &closed) };
        closed.retain(|closed| *closed.name != *spec.name);
        let candidate = Chain { generation: 1, ..Chain::build(&with, &closed) };
        Ok(Trial { live, candidate, version, replaces })
    }
}

/// Without a word in the router's log, without a budget, and counted nowhere.
fn quiet(mut binding: Binding) -> Binding {
    let used = Arc::<PluginUse>::default();
    binding.shared.ungranted = Arc::new(Ungranted::new(&binding.spec, Arc::clone(&used)));
    binding.shared.used = used;
    let budget = Budget { failures: u32::MAX, window: Duration::ZERO };
    binding.shared.gate = Arc::new(LogGate::new(0, Arc::clone(&binding.shared.secrets)));
    binding.complaints = LogGate::new(0, Arc::default());
    (binding.health, binding.report) = (Health::new(budget), Arc::new(Report::new(|| {})));
    for instance in binding.ready.get_mut() {
        instance.guest().shared.gate = Arc::clone(&binding.shared.gate);
    }
    binding
}

fn copy(state: &StateAccess) -> StateAccess {
    match state {
        StateAccess::Space(space) => StateAccess::Space(Arc::new(space.copy())),
        StateAccess::Storage(space) => StateAccess::Storage(Arc::clone(space)),
    }
}

fn empty(name: &str, quota: usize) -> StateAccess {
    StateAccess::Space(Arc::new(Space::new(name.into(), quota, [])))
}

fn spec(candidate: &Candidate, live: Option<&Spec>) -> Result<Spec, LoadError> {
    let name = &candidate.name;
    if !valid_name(name) {
        return Err(LoadError::Name(name.clone()));
    }
    let mut spec = match (&candidate.binding, live) {
        (None, Some(live)) => live.clone(),
        (None, None) => Spec::bare(name),
        (Some(text), _) => {
            let file = PathBuf::from(format!("{name}.toml"));
            let mut all = Spec::parse(name, &file, text)?;
            let at = all.iter().position(|spec| spec.name == *name);
            match (at, all.len()) {
                (Some(at), _) => all.swap_remove(at),
                (None, 1) => all.swap_remove(0),
                _ => {
                    let message = format!("none of its bindings is named {name:?}: name one with --binding");
                    return Err(LoadError::Binding(Problem { file, line: None, message }));
                }
            }
        }
    };
    // Whoever may ask for a try need not be one who may read the router's files.
    if let Some((key, _)) =
        spec.secrets.iter().find(|secret| !live.is_some_and(|l| l.secrets.contains(secret)))
    {
        let reason = "a try takes no secrets but those that the live binding has, too".into();
        return Err(LoadError::Secret { key: key.clone(), reason });
    }
    spec.name.clone_from(name);
    (spec.mode, spec.source) = (Mode::Live, Source::File(name.clone()));
    Ok(spec)
}
