//! What a plugin may offer beyond its kind: named after the type in its `export_…!` macro.

use crate::bindings::imports::weir::plugin::types;
use crate::bindings::{migration, selftest, ticker};
use crate::{Draft, Export, Instance, Plugin, Result, Time, export};

/// A clock, for transforms: `export_transform!(Game, ticker)`.
pub trait Ticker: Plugin {
    /// Every `tick-ms` of the binding, on one instance in all. The messages carry the plugin as their sender
    /// (origin `plugin`) and need the `emit` grant. They reach subscribers at most once.
    fn tick(&self, now: Time) -> Result<Vec<Draft>>;
}

/// New code over old state, for all kinds but storage: `export_filter!(Dedupe, migration)`.
pub trait Migration: Plugin {
    /// The version of what the plugin keeps in `state`, 1 or more. Without this trait: 0.
    const SCHEMA: u32;

    /// Once, on the trial instance, when another version is stored; `state` can be written. Has 5 s, and the
    /// binding's messages wait meanwhile. After an error the old code goes on with the old state.
    fn migrate(&self, stored: u32) -> Result<()>;
}

/// The last gate before a version goes live, for all kinds: `export_filter!(Dedupe, selftest)`.
pub trait SelfTest: Plugin {
    /// Once per load, on the trial instance, with an empty, read-only `state`. After an error this version
    /// does not go live; the text is shown.
    fn run(&self) -> Result<(), String>;
}

impl<P: Ticker + Instance> ticker::exports::weir::plugin::ticker::Guest for Export<P> {
    fn tick(now_us: u64) -> Result<Vec<types::Message>, types::Failure> {
        let drafts = export::call(|plugin: &P| plugin.tick(Time::from_micros(now_us)))?;
        Ok(drafts.into_iter().map(types::Message::from).collect())
    }
}

impl<P: Migration + Instance> migration::exports::weir::plugin::migration::Guest for Export<P> {
    fn schema() -> u32 {
        P::SCHEMA
    }

    fn migrate(stored: u32) -> Result<(), types::Failure> {
        Ok(export::call(|plugin: &P| plugin.migrate(stored))?)
    }
}

impl<P: SelfTest + Instance> selftest::exports::weir::plugin::selftest::Guest for Export<P> {
    fn run() -> Result<(), String> {
        P::cell().with(|cell| match cell.get() {
            Some(plugin) => plugin.run(),
            None => Err("called before init".to_owned()),
        })
    }
}
