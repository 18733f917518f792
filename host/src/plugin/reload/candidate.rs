//! What loading takes; and a version that is tried, not served: through the same steps as one that goes live, over
//! data that are given.

use std::sync::Arc;

use weir_contract::packed::{put, put_flag, put_text, put_u64, tag};

use super::super::activation::Activation;
use super::super::binding::{Secrets, Spec};
use super::super::chain::Parts;
use super::super::component::Loaded;
use super::super::folder::File;
use super::super::guest::{Shared, StateAccess};
use super::super::report::Report;
use super::super::spares::{Orders, SPARES};
use super::super::{Binding, Engine, Instance, Kind, LoadError, Problem};
use super::PluginsOptions;
use super::samples;
use super::wanted::{check_isolation, limits};
use crate::accounts::Accounts;
use crate::config::{LimitsTable, PluginLimits};
use crate::message::now_us;

/// What loading a version takes.
#[derive(Clone)]
pub(super) struct Bench {
    pub engine: Engine,
    pub activation: Arc<Activation>,
    pub limits: PluginLimits,
    pub ceiling: LimitsTable,
    pub accounts: Arc<Accounts>,
    pub orders: Orders,
    /// As in the context of those that serve.
    pub run: u64,
}

impl Bench {
    /// As the router's options say.
    pub fn new(options: &PluginsOptions, engine: &Engine, activation: Activation, orders: Orders) -> Self {
        Self {
            engine: engine.clone(),
            activation: Arc::new(activation),
            limits: options.limits.clone(),
            ceiling: options.ceiling.clone(),
            accounts: Arc::clone(&options.accounts),
            orders,
            run: now_us(),
        }
    }

    /// Loads a filter or transform in place of `live`, with its `state`.
    pub fn load(
        &self,
        spec: &Spec,
        file: &File,
        secrets: Secrets,
        live: &Binding,
    ) -> Result<Binding, LoadError> {
        self.load_over(spec, file, secrets, live.shared.state.clone(), Some(live))
    }

    /// The same over these data, in nobody's place if `live` is none.
    pub fn load_over(
        &self,
        spec: &Spec,
        file: &File,
        secrets: Secrets,
        state: StateAccess,
        live: Option<&Binding>,
    ) -> Result<Binding, LoadError> {
        let limits = limits(spec, &self.limits, &self.ceiling)?;
        let engine = self.engine.with_stack(limits.stack_bytes)?;
        let loaded = self.activation.load(&engine, spec, &limits, file, None)?;
        check_kind(spec, loaded.kind, live)?;
        check_isolation(spec, loaded.kind)?;
        let secrets = Arc::new(secrets);
        let config = secrets.fill(&spec.config)?;
        let shared = Shared {
            accounts: Some(Arc::clone(&self.accounts)),
            ..Shared::new(spec, &loaded, limits, secrets, state, Arc::default())
        };
        if let Some(live) = live {
            self.check_schema(&engine, &loaded, &shared, live)?;
        }
        let binding = Binding::new(Parts {
            spec: spec.clone(),
            config,
            context: self.context(&spec.name, &spec.name, &loaded.digest, false),
            report: Arc::new(Report::new(|| {})),
            orders: self.orders.clone(),
            engine,
            loaded,
            shared,
        });
        self.rehearse(&spec.name, &binding)?;
        // One that is called, and those that wait.
        for _ in 0..=SPARES {
            let made = binding.make()?;
            binding.ready.lock().push(made);
        }
        Ok(binding)
    }

    /// Both must read the same `state`.
    fn check_schema(
        &self,
        engine: &Engine,
        loaded: &Loaded,
        shared: &Shared,
        live: &Binding,
    ) -> Result<(), LoadError> {
        let _clock = self.engine.running();
        let wanted = Instance::schema(engine, loaded, shared.clone())?;
        let stored = Instance::schema(&live.engine, &live.loaded, live.shared.clone())?;
        if wanted == stored {
            return Ok(());
        }
        Err(LoadError::Migration(format!(
            "it keeps schema {wanted} in its state and the live version schema {stored}, which is migrated only when it goes live: the two cannot be compared"
        )))
    }

    /// A trial instance: `init`, self-test, samples.
    pub fn rehearse(&self, stem: &str, binding: &Binding) -> Result<(), LoadError> {
        let _clock = self.engine.running();
        let trial = self.context(stem, binding.name(), &binding.loaded.digest, true);
        let shared = binding.shared.clone();
        let mut instance = Instance::new(&binding.engine, &binding.loaded, shared, &binding.config, &trial)?;
        instance.self_test(&binding.loaded)?;
        samples::run(&mut instance, &binding.spec, binding.kind())
    }

    /// What a plugin's `init` is told.
    pub fn context(&self, stem: &str, binding: &str, digest: &[u8], trial: bool) -> Vec<u8> {
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

fn check_kind(spec: &Spec, kind: Kind, live: Option<&Binding>) -> Result<(), LoadError> {
    let refuse = |message: String| {
        Err(LoadError::Binding(Problem { file: format!("{}.toml", spec.name).into(), line: None, message }))
    };
    match kind {
        Kind::Auth => refuse(
            "it is an auth plugin: only filters and transforms are tried beside the live version, since who is let in must not be decided twice"
                .into(),
        ),
        Kind::Storage => refuse(format!(
            "it is a storage plugin, which reads the log at its own pace and is not tried on single messages: bind it under another name, and it fills its data from the log; `weir plugin rebuild {}` later makes the live one's data anew",
            spec.name
        )),
        kind => match live.filter(|live| live.kind() != kind) {
            Some(live) => refuse(format!(
                "it is a {kind}, and {} is a {}: they can be compared only if their kind is the same",
                live.name(),
                live.kind()
            )),
            None => Ok(()),
        },
    }
}
