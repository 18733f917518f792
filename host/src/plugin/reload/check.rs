//! `weir check`: everything that loading does, without a router and without its state.

use std::sync::Arc;

use super::super::binding::Secrets;
use super::super::folder::Folder;
use super::super::guest::{Shared, StateAccess};
use super::super::imports::logging::LogGate;
use super::super::space::Space;
use super::super::{Engine, Instance, LoadError, Problem, component::Loaded};
use super::samples;
use super::wanted::{Wanted, limits, wanted};
use crate::config::Config;

/// Compiles and initialises every plugin of the folder, on empty state. Blocks.
pub fn check(config: &Config) -> Vec<Problem> {
    let at_folder = |error: LoadError| vec![problem(config, "", error)];
    let engine = match Engine::new(None) {
        Ok(engine) => engine,
        Err(error) => return at_folder(error),
    };
    let entries = match Folder::new(&config.plugins, config.plugin.most_file_bytes(&config.plugin_ceiling))
        .scan(|_| true)
    {
        Ok(entries) => entries,
        Err(error) => return at_folder(error),
    };
    let (bindings, broken) = wanted(&config.plugins, &entries, |_| None);
    let mut problems: Vec<_> =
        broken.into_iter().map(|(stem, error)| problem(config, &format!("{stem}.toml"), error)).collect();
    for wanted in bindings.into_values() {
        let file =
            if entries.get(&wanted.stem).is_some_and(|entry| entry.toml.is_some()) { "toml" } else { "wasm" };
        let file = format!("{}.{file}", wanted.stem);
        if let Err(error) = rehearse(&engine, config, wanted) {
            problems.push(problem(config, &file, error));
        }
    }
    problems
}

fn rehearse(engine: &Engine, config: &Config, wanted: Wanted) -> Result<(), LoadError> {
    let Wanted { spec, file, .. } = wanted;
    let limits = limits(&spec, &config.plugin, &config.plugin_ceiling)?;
    let engine = &engine.with_stack(limits.stack_bytes)?;
    let loaded = Loaded::new(engine, &file?.bytes, &spec)?;
    let secrets = Secrets::read(&spec).map_err(LoadError::Secret)?;
    let secrets = Arc::new(secrets);
    let filled = secrets.fill(&spec.config).map_err(LoadError::Secret)?;
    let space = Space::new(spec.name.as_str().into(), limits.state_bytes, []);
    let shared = Shared {
        binding: spec.name.as_str().into(),
        version: "check".into(),
        kind: loaded.kind,
        state: StateAccess::Space(Arc::new(space)),
        realms: spec.accounts.clone().into(),
        accounts: None,
        gate: Arc::new(LogGate::new(limits.log_lines_per_s, Arc::clone(&secrets))),
        limits,
        secrets,
    };
    let _clock = engine.running();
    let mut instance = Instance::new(engine, &loaded, shared, &filled, &[1])?;
    instance.self_test(&loaded)?;
    samples::run(&mut instance, &spec, loaded.kind)
}

fn problem(config: &Config, file: &str, error: LoadError) -> Problem {
    match error {
        LoadError::Binding(problem) => problem,
        other => Problem { file: config.plugins.join(file), line: None, message: other.to_string() },
    }
}
