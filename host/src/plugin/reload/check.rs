//! `weir check`: everything that loading does, without a router and without its state.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::activation::Activation;
use super::super::binding::Secrets;
use super::super::folder::Folder;
use super::super::guest::{Shared, StateAccess};
use super::super::space::Space;
use super::super::{Engine, Instance, LoadError, Problem};
use super::compiler;
use super::samples;
use super::wanted::{Wanted, check_isolation, limits, wanted};
use crate::config::Config;
use crate::metrics::Counter;

/// Compiles and initialises every plugin of the folder, on empty state. Blocks.
pub fn check(config: &Config) -> Vec<Problem> {
    let at_folder = |error: LoadError| vec![problem(config, "", error)];
    // Not the router's cache: that may be another user's, or not be there yet.
    let scratch = match Scratch::new() {
        Ok(scratch) => scratch,
        Err(error) => return at_folder(error),
    };
    let made = compiler(
        Some(&scratch.0),
        config.compiler.clone(),
        &config.compile,
        Arc::default(),
        Counter::default(),
    );
    let (engine, compiler) = match made {
        Ok(made) => made,
        Err(error) => return at_folder(error),
    };
    let activation = Activation::new(compiler, config.trust.clone());
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
        if let Err(error) = rehearse(&engine, &activation, config, &wanted) {
            problems.push(problem(config, &file, wanted.placed(&config.plugins, error)));
        }
    }
    problems
}

fn rehearse(
    engine: &Engine,
    activation: &Activation,
    config: &Config,
    wanted: &Wanted,
) -> Result<(), LoadError> {
    let Wanted { spec, file, .. } = wanted;
    let limits = limits(spec, &config.plugin, &config.plugin_ceiling)?;
    let engine = &engine.with_stack(limits.stack_bytes)?;
    let loaded = activation.load(engine, spec, &limits, file.as_ref().map_err(LoadError::clone)?, None)?;
    check_isolation(spec, loaded.kind)?;
    let secrets = Secrets::read(spec)?;
    let secrets = Arc::new(secrets);
    let filled = secrets.fill(&spec.config)?;
    let space = Space::new(spec.name.as_str().into(), limits.state_bytes, []);
    let state = StateAccess::Space(Arc::new(space));
    let shared = Shared::new(spec, &loaded, limits, secrets, state, Arc::default());
    let _clock = engine.running();
    let mut instance = Instance::new(engine, &loaded, shared, &filled, &[1])?;
    instance.self_test(&loaded)?;
    samples::run(&mut instance, spec, loaded.kind)
}

fn problem(config: &Config, file: &str, error: LoadError) -> Problem {
    match error {
        LoadError::Binding(problem) | LoadError::Placed { problem, .. } => problem,
        other => Problem { file: config.plugins.join(file), line: None, message: other.to_string() },
    }
}

/// A folder of this process alone, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, LoadError> {
        let folder = std::env::temp_dir().join(format!("weir-check-{}", ulid::Ulid::generate()));
        let failed = |error| LoadError::Engine(format!("cannot make {}: {error}", folder.display()));
        // Not `recursive`: a folder that is there already may be somebody else's.
        DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing but time can be done about it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
