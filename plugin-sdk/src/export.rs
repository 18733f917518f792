//! How a type becomes a component: the instance, and what the `export_…!` macros of the kinds share.

use crate::bindings::imports::weir::plugin::types as wit;
use crate::{Context, Error, Plugin};
use std::cell::OnceCell;
use std::thread::LocalKey;

/// A plugin that has a place for its one instance. Statics cannot be generic, so the macros make it.
pub trait Instance: Plugin {
    /// The place.
    fn cell() -> &'static LocalKey<OnceCell<Self>>;
}

/// The type that stands at the component's boundary for the plugin `P`.
#[derive(Debug)]
pub struct Export<P>(std::marker::PhantomData<P>);

/// `init` of every kind.
pub(crate) fn init<P: Instance>(config: &str, context: Vec<u8>) -> Result<(), wit::ConfigError> {
    let plugin: P = crate::plugin::from_json(config, &Context::from_packed(context))?;
    P::cell().with(|cell| {
        cell.set(plugin).map_err(|_| wit::ConfigError {
            path: String::new(),
            reason: "init was called twice on one instance".to_owned(),
        })
    })
}

/// Calls the instance; a call before `init` is the host's mistake and told as a failure.
pub(crate) fn call<P: Instance, T>(with: impl FnOnce(&P) -> Result<T, Error>) -> Result<T, Error> {
    P::cell().with(|cell| match cell.get() {
        Some(plugin) => with(plugin),
        None => Err(Error::Internal("called before init".to_owned())),
    })
}

/// Compile-time checks, so that a native build already says that a trait is missing.
pub mod assert {
    /// The type is an auth plugin.
    pub const fn auth<T: crate::Auth>() {}
    /// The type is a filter.
    pub const fn filter<T: crate::Filter>() {}
    /// The type is a transform.
    pub const fn transform<T: crate::Transform>() {}
    /// The type is a storage plugin.
    pub const fn storage<T: crate::Storage>() {}
    /// The type has the optional export.
    pub const fn ticker<T: crate::Ticker>() {}
    /// The type has the optional export.
    pub const fn migration<T: crate::Migration>() {}
    /// The type has the optional export.
    pub const fn selftest<T: crate::SelfTest>() {}
}

/// Makes a component of an auth plugin. Optional exports: `export_auth!(Keys, migration, selftest)`.
#[macro_export]
macro_rules! export_auth {
    ($plugin:ty $(, $optional:ident)* $(,)?) => {
        $crate::__weir_instance!($plugin);
        $crate::__weir_export!(auth export_auth_world $plugin);
        $($crate::__weir_optional!(auth $optional $plugin);)*
    };
}

/// Makes a component of a filter. Optional exports: `export_filter!(Dedupe, migration, selftest)`.
#[macro_export]
macro_rules! export_filter {
    ($plugin:ty $(, $optional:ident)* $(,)?) => {
        $crate::__weir_instance!($plugin);
        $crate::__weir_export!(filter export_filter_world $plugin);
        $($crate::__weir_optional!(filter $optional $plugin);)*
    };
}

/// Makes a component of a transform. Optional exports: `export_transform!(Game, ticker, migration, selftest)`.
#[macro_export]
macro_rules! export_transform {
    ($plugin:ty $(, $optional:ident)* $(,)?) => {
        $crate::__weir_instance!($plugin);
        $crate::__weir_export!(transform export_transform_world $plugin);
        $($crate::__weir_optional!(transform $optional $plugin);)*
    };
}

/// Makes a component of a storage plugin. Optional export: `export_storage!(Latest, selftest)`.
#[macro_export]
macro_rules! export_storage {
    ($plugin:ty $(, $optional:ident)* $(,)?) => {
        $crate::__weir_instance!($plugin);
        $crate::__weir_export!(storage export_storage_world $plugin);
        $($crate::__weir_optional!(storage $optional $plugin);)*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __weir_instance {
    ($plugin:ty) => {
        impl $crate::Instance for $plugin {
            fn cell() -> &'static ::std::thread::LocalKey<::std::cell::OnceCell<Self>> {
                ::std::thread_local! {
                    static INSTANCE: ::std::cell::OnceCell<$plugin> = const { ::std::cell::OnceCell::new() };
                }
                &INSTANCE
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __weir_export {
    ($module:ident $world:ident $plugin:ty) => {
        const _: () = $crate::assert::$module::<$plugin>();
        // Natively there is no component: tests call the plugin through `testing::Host`.
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Boundary = $crate::Export<$plugin>;
    $crate::bindings::$module::$world!(Boundary with_types_in $crate::bindings::$module);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __weir_optional {
    (transform ticker $plugin:ty) => { $crate::__weir_export!(ticker export_ticker_world $plugin); };
    ($kind:ident ticker $plugin:ty) => { ::core::compile_error!("only a transform can have a ticker"); };
    (storage migration $plugin:ty) => {
        ::core::compile_error!("a storage plugin has no migration: it is rebuilt from the log");
    };
    ($kind:ident migration $plugin:ty) => { $crate::__weir_export!(migration export_migration_world $plugin); };
    ($kind:ident selftest $plugin:ty) => { $crate::__weir_export!(selftest export_selftest_world $plugin); };
    ($kind:ident $other:ident $plugin:ty) => {
        ::core::compile_error!(::core::concat!(
            "`", ::core::stringify!($other), "` is no optional export: ticker, migration, selftest are"
        ));
    };
}
