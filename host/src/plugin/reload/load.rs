//! One version: compiled, checked, tried out, and its instances made.

use std::sync::Arc;

use parking_lot::Mutex;
use weir_contract::packed::{put, put_flag, put_text, put_u64, tag};

use super::super::binding::{Mode, Policy, Secrets, Spec};
use super::super::component::{self, Loaded};
use super::super::folder::File;
use super::super::guest::{Shared, StateAccess};
use super::super::imports::logging::LogGate;
use super::super::report::Report;
use super::super::space::{Space, Value};
use super::super::{Binding, Instance, Kind, LoadError, Problem};
use super::loader::{Live, Loader};
use super::samples;
use super::wanted::limits;
use crate::message::now_us;

impl Loader {
    /// Takes a version through every step but the swap. Nothing that serves is touched.
    pub(super) fn load(
        &mut self,
        stem: &str,
        spec: &Spec,
        file: &File,
        secrets: Secrets,
    ) -> Result<Arc<Binding>, LoadError> {
        if spec.mode != Mode::Live {
            let message = "mode = \"shadow\" is not served by this version".into();
            let file = self.folder.path().join(format!("{stem}.toml"));
            return Err(LoadError::Binding(Problem { file, line: None, message }));
        }
        let limits = limits(spec, &self.options.limits, &self.options.ceiling)?;
        if file.bytes.len() > limits.file_bytes {
            return Err(LoadError::TooBig { found: file.bytes.len() as u64, accepted: limits.file_bytes });
        }
        let engine = self.engine.with_stack(limits.stack_bytes)?;
        let fits = |live: &&Live| {
            let (known, stack) = (&live.binding.spec, live.binding.shared.limits.stack_bytes);
            live.digest == file.digest
                && stack == limits.stack_bytes
                && (known.count_only, &known.imports) == (spec.count_only, &spec.imports)
        };
        let loaded = match self.live.values().find(fits) {
            Some(live) => live.binding.loaded.clone(),
            None => Loaded::new(&engine, &file.bytes, spec)?,
        };
        let kind = loaded.kind;
        let policy = spec.on_error.unwrap_or(Policy::default_for(kind));
        if kind == Kind::Auth && policy == Policy::Pass {
            return Err(LoadError::Binding(Problem {
                file: self.folder.path().join(format!("{stem}.toml")),
                line: None,
                message: "on-error = \"pass\" is refused for auth plugins: a failure would let everybody in"
                    .into(),
            }));
        }
        if kind != Kind::Auth && self.ledger.was_auth(&spec.name) {
            return Err(LoadError::Binding(Problem {
                file: self.folder.path().join(format!("{stem}.toml")),
                line: None,
                message: format!(
                    "{} was an auth plugin and is now a {kind}: give it another name, so that no door opens unseen",
                    spec.name
                ),
            }));
        }
        let secrets = Arc::new(secrets);
        let config = secrets.fill(&spec.config).map_err(LoadError::Secret)?;
        let version: Arc<str> = component::version(&loaded.digest).into();
        let shared = Shared {
            binding: spec.name.as_str().into(),
            version: Arc::clone(&version),
            kind,
            state: self.state(stem, &spec.name, kind, limits.state_bytes)?,
            realms: spec.accounts.clone().into(),
            accounts: Some(Arc::clone(&self.options.accounts)),
            gate: Arc::new(LogGate::new(limits.log_lines_per_s, Arc::clone(&secrets))),
            limits,
            secrets,
        };
        let binding = Binding {
            spec: spec.clone(),
            config,
            policy,
            loaded_us: now_us(),
            engine,
            context: self.context(stem, &spec.name, &loaded.digest, false),
            ready: Mutex::default(),
            report: Arc::new(Report::new(self.over_budget_waker())),
            loaded,
            shared,
        };
        self.rehearse(stem, &binding)?;
        self.ledger.note(stem, spec, kind)?;
        Ok(Arc::new(binding))
    }

    /// A trial instance first, then those that the shards will take: `init` never runs on a shard.
    fn rehearse(&self, stem: &str, binding: &Binding) -> Result<(), LoadError> {
        let _clock = self.engine.running();
        let trial = self.context(stem, binding.name(), &binding.loaded.digest, true);
        let shared = binding.shared.clone();
        let mut instance = Instance::new(&binding.engine, &binding.loaded, shared, &binding.config, &trial)?;
        instance.self_test(&binding.loaded)?;
        samples::run(&mut instance, &binding.spec, binding.kind())?;
        let wanted = match binding.kind() {
            // One more, for the thread that authenticates.
            Kind::Auth => self.options.shards + 1,
            Kind::Filter | Kind::Transform => self.options.shards,
            // One that stores and one that answers queries.
            Kind::Storage => 2,
        };
        for _ in 0..wanted {
            let made = binding.make()?;
            binding.ready.lock().push(made);
        }
        Ok(())
    }

    fn state(
        &mut self,
        stem: &str,
        binding: &str,
        kind: Kind,
        quota: usize,
    ) -> Result<StateAccess, LoadError> {
        let name = format!("{stem}.{binding}");
        let unreadable = |error: crate::store::StoreError| LoadError::State(error.to_string());
        if kind == Kind::Storage {
            let space = self.options.store.storage_space(&name).map_err(unreadable)?;
            return Ok(StateAccess::Storage(Arc::new(space)));
        }
        if let Some(space) = self.spaces.get(&name) {
            space.set_quota(quota);
            return Ok(StateAccess::Space(Arc::clone(space)));
        }
        let kept = self.options.store.load_space(&name).map_err(unreadable)?;
        let pairs = kept
            .into_iter()
            .map(|pair| (pair.key, Value { bytes: pair.value.into(), expires_us: pair.expires_us }));
        let space = Arc::new(Space::new(name.as_str().into(), quota, pairs));
        self.spaces.insert(name, Arc::clone(&space));
        Ok(StateAccess::Space(space))
    }

    fn context(&self, stem: &str, binding: &str, digest: &[u8], trial: bool) -> Vec<u8> {
        let mut blob = Vec::new();
        put_text(&mut blob, tag::PLUGIN, stem);
        put_text(&mut blob, tag::BINDING, binding);
        put(&mut blob, tag::DIGEST, digest);
        put_text(&mut blob, tag::HOST_VERSION, env!("CARGO_PKG_VERSION"));
        put_u64(&mut blob, tag::RUN, self.run);
        put_flag(&mut blob, tag::TRIAL, trial);
        blob
    }
}
