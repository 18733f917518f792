//! What a guest may call, one file per interface, and the list of what it may import at all.

pub mod accounts;
pub mod logging;
pub mod state;
pub mod wasi;

use wasmtime::component::Linker;

use super::guest::Guest;
use super::{Engine, LoadError};

/// The package's track: guests built for any 0.1.x find these.
pub const PACKAGE: &str = "weir:plugin";
/// The version that this host offers.
pub const VERSION: &str = "0.1.0";

/// Everything that a guest can link to.
pub fn linker(engine: &Engine) -> Result<Linker<Guest>, LoadError> {
    let mut linker = Linker::new(engine.wasm());
    wasi::add(&mut linker).map_err(LoadError::engine)?;
    logging::add(&mut linker).map_err(LoadError::engine)?;
    state::add(&mut linker).map_err(LoadError::engine)?;
    accounts::add(&mut linker).map_err(LoadError::engine)?;
    Ok(linker)
}

/// Full name of one of the contract's interfaces.
pub fn interface(name: &str) -> String {
    format!("{PACKAGE}/{name}@{VERSION}")
}
