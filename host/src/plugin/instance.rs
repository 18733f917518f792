//! One live instance of a binding: a store of its own, typed functions, a deadline for every call.

mod calls;
mod failure;
mod output;

use std::time::{Duration, Instant};

use wasmtime::Store;
use wasmtime::component::{
    ComponentExportIndex, ComponentNamedList, Instance as WasmInstance, Lift, Lower, TypedFunc,
};

use super::component::Loaded;
use super::contract::{
    AnswerOut, ConfigError, CredentialIn, Decision, Failure, MessageIn, Permission, QueryError, QuestionIn,
    StoreFailure, TransformOutcome, Verdict, Write,
};
use super::guest::{Guest, Shared};
use super::{CallError, Engine, Kind, LoadError};
use crate::metrics::Limit;
use failure::call_error;

/// A live instance. A trap or a deadline ends it: its owner drops it and makes another.
pub struct Instance {
    store: Store<Guest>,
    instance: WasmInstance,
    functions: Functions,
    dead: bool,
}

/// The kind's functions. Their arguments are borrowed for the call: `'static` stands for any lifetime, since
/// a typed function is covariant in its arguments.
#[derive(Clone, Copy)]
#[allow(clippy::type_complexity, reason = "a WIT signature, arm for arm")]
enum Functions {
    Auth {
        authenticate: TypedFunc<(CredentialIn,), (Result<Decision, Failure>,)>,
        authorize: TypedFunc<
            (&'static [u8], &'static [u8], &'static str, &'static str),
            (Result<Permission, Failure>,),
        >,
    },
    Filter(TypedFunc<(MessageIn<'static>,), (Result<Verdict, Failure>,)>),
    Transform(TypedFunc<(MessageIn<'static>,), (Result<TransformOutcome, Failure>,)>),
    Storage {
        store: TypedFunc<(&'static [MessageIn<'static>],), (Result<Vec<Write>, StoreFailure>,)>,
        query: TypedFunc<(QuestionIn<'static>,), (Result<AnswerOut, QueryError>,)>,
    },
}

impl Instance {
    /// Instantiates and calls `init`, both under the init deadline, with `state` read-only.
    pub fn new(
        engine: &Engine,
        loaded: &Loaded,
        shared: Shared,
        config: &str,
        context: &[u8],
    ) -> Result<Self, LoadError> {
        let started = Instant::now();
        let kind = shared.kind;
        let mut store = Guest::store(engine, shared);
        store.set_epoch_deadline(Engine::ticks(deadline(&store, Limit::InitDeadline)));
        let instance = loaded
            .pre
            .instantiate(&mut store)
            .map_err(|error| LoadError::Init(call_error(&store, &error, Limit::InitDeadline)))?;
        let functions = functions(&mut store, &instance, loaded)?;
        let init: TypedFunc<_, (Result<(), ConfigError>,)> =
            typed::<(&str, &[u8]), _>(&mut store, &instance, &loaded.exports.init)?;
        let mut made = Self { store, instance, functions, dead: false };
        let (answer,) = made
            .call(Limit::InitDeadline, |store| init.call(store, (config, context)))
            .map_err(LoadError::Init)?;
        let answer = made.sized(answer).map_err(LoadError::Init)?;
        made.store.data_mut().transaction.clear();
        match answer {
            Ok(()) => {
                made.store.data().shared.used.took(Limit::InitDeadline, started.elapsed());
                made.store.data_mut().may_write = kind != Kind::Storage;
                Ok(made)
            }
            Err(ConfigError { path, reason }) => {
                let reason = made.store.data().shared.secrets.redact(&reason).into_owned();
                Err(LoadError::Config { path, reason })
            }
        }
    }

    /// Runs the optional `selftest`, on a trial instance.
    pub fn self_test(&mut self, loaded: &Loaded) -> Result<(), LoadError> {
        let Some(index) = &loaded.exports.selftest else { return Ok(()) };
        let run: TypedFunc<(), (Result<(), String>,)> = typed(&mut self.store, &self.instance, index)?;
        self.store.data_mut().may_write = false;
        let (answer,) =
            self.call(Limit::InitDeadline, |store| run.call(store, ())).map_err(LoadError::Init)?;
        match self.sized(answer).map_err(LoadError::Init)? {
            Ok(()) => Ok(()),
            Err(reason) => {
                let reason = self.store.data().shared.secrets.redact(&reason).into_owned();
                Err(LoadError::SelfTest(reason))
            }
        }
    }

    /// The number of what the component keeps in `state`, asked before `init`; 0 if it says none.
    pub fn schema(engine: &Engine, loaded: &Loaded, shared: Shared) -> Result<u32, LoadError> {
        let Some((schema, _)) = &loaded.exports.migration else { return Ok(0) };
        let mut store = Guest::store(engine, shared);
        store.set_epoch_deadline(Engine::ticks(deadline(&store, Limit::InitDeadline)));
        let failed =
            |store: &Store<Guest>, error| LoadError::Init(call_error(store, &error, Limit::InitDeadline));
        let instance = loaded.pre.instantiate(&mut store).map_err(|error| failed(&store, error))?;
        let schema: TypedFunc<(), (u32,)> = typed(&mut store, &instance, schema)?;
        let (number,) = schema.call(&mut store, ()).map_err(|error| failed(&store, error))?;
        Ok(number)
    }

    /// Runs `migration.migrate`, on a trial instance whose state is a copy that nobody else touches.
    pub fn migrate(&mut self, loaded: &Loaded, stored: u32, deadline: Duration) -> Result<(), String> {
        let Some((_, migrate)) = &loaded.exports.migration else {
            return Err("it has no `migration`".into());
        };
        let run: TypedFunc<(u32,), (Result<(), Failure>,)> =
            typed(&mut self.store, &self.instance, migrate).map_err(|error| error.to_string())?;
        let guest = self.store.data_mut();
        (guest.may_write, guest.direct) = (true, true);
        let answer = self.call_within(deadline, Limit::InitDeadline, |store| run.call(store, (stored,)));
        self.store.data_mut().direct = false;
        let answer = answer.and_then(|(answer,)| self.end(answer));
        answer.map_err(|error| error.to_string())
    }

    /// Whether a trap or a deadline has closed the store.
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// The store's data: limits, transaction, console.
    pub fn guest(&mut self) -> &mut Guest {
        self.store.data_mut()
    }

    fn call<R>(
        &mut self,
        limit: Limit,
        call: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<R>,
    ) -> Result<R, CallError> {
        self.call_within(deadline(&self.store, limit), limit, call)
    }

    /// A call that may have less time than its limit says.
    fn call_within<R>(
        &mut self,
        deadline: Duration,
        limit: Limit,
        call: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<R>,
    ) -> Result<R, CallError> {
        if self.dead {
            return Err(CallError::Engine("the instance has trapped".into()));
        }
        let guest = self.store.data_mut();
        guest.console.clear();
        guest.limiter.begin_call();
        self.store.set_epoch_deadline(Engine::ticks(deadline));
        call(&mut self.store).map_err(|error| {
            self.dead = true;
            call_error(&self.store, &error, limit)
        })
    }
}

fn deadline(store: &Store<Guest>, limit: Limit) -> Duration {
    let limits = &store.data().shared.limits;
    match limit {
        Limit::InitDeadline => limits.init_deadline,
        Limit::StoreDeadline => limits.store_deadline,
        _ => limits.deadline,
    }
}

fn functions(
    store: &mut Store<Guest>,
    instance: &WasmInstance,
    loaded: &Loaded,
) -> Result<Functions, LoadError> {
    let main = &loaded.exports.main;
    let second = || loaded.exports.second.as_ref().ok_or(LoadError::NoKind);
    Ok(match loaded.kind {
        Kind::Auth => Functions::Auth {
            authenticate: typed(store, instance, main)?,
            authorize: typed(store, instance, second()?)?,
        },
        Kind::Filter => Functions::Filter(typed(store, instance, main)?),
        Kind::Transform => Functions::Transform(typed(store, instance, main)?),
        Kind::Storage => Functions::Storage {
            store: typed(store, instance, main)?,
            query: typed(store, instance, second()?)?,
        },
    })
}

fn typed<P, R>(
    store: &mut Store<Guest>,
    instance: &WasmInstance,
    index: &ComponentExportIndex,
) -> Result<TypedFunc<P, R>, LoadError>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    instance.get_typed_func(store, index).map_err(|error| LoadError::Types(format!("{error:#}")))
}
