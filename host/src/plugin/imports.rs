//! What a guest may call, one file per interface, and the list of what it may import at all.

pub mod accounts;
pub mod logging;
pub mod state;
pub mod wasi;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType};

use super::guest::Guest;
use super::{Engine, LoadError};

/// The package's track: guests built for any 0.1.x find these.
pub const PACKAGE: &str = "weir:plugin";
/// The version that this host offers.
pub const VERSION: &str = "0.1.0";

/// Everything that a guest can link to, with the imports that its binding grants.
pub fn linker(engine: &Engine, granted: &[String]) -> Result<Linker<Guest>, LoadError> {
    let mut linker = Linker::new(engine.wasm());
    wasi::add(&mut linker, granted).map_err(LoadError::engine)?;
    logging::add(&mut linker).map_err(LoadError::engine)?;
    state::add(&mut linker).map_err(LoadError::engine)?;
    accounts::add(&mut linker).map_err(LoadError::engine)?;
    Ok(linker)
}

/// A resource of an import that is not granted: there is none of it.
struct Nothing;

/// Links imports that are not granted but let through: whoever calls one of their functions traps.
pub fn add_refusals(
    linker: &mut Linker<Guest>,
    engine: &Engine,
    component: &Component,
    names: &[&str],
) -> wasmtime::Result<()> {
    // A type that an earlier import has brought is only used by later ones, and is not linked again.
    let mut known = Vec::new();
    for (name, import) in component.component_type().imports(engine.wasm()) {
        let refused = names.contains(&name);
        match import.ty {
            ComponentItem::ComponentInstance(instance) => {
                let mut refusals = if refused { Some(linker.instance(name)?) } else { None };
                for (item, export) in instance.exports(engine.wasm()) {
                    let is_new = match &export.ty {
                        ComponentItem::Resource(resource) if known.contains(resource) => false,
                        ComponentItem::Resource(resource) => {
                            known.push(*resource);
                            true
                        }
                        _ => true,
                    };
                    if let Some(refusals) = refusals.as_mut().filter(|_| is_new) {
                        refuse(refusals, item, &export.ty, format!("{name}#{item}"))?;
                    }
                }
            }
            other if refused => refuse(&mut linker.root(), name, &other, name.to_owned())?,
            _ => {}
        }
    }
    Ok(())
}

fn refuse(
    linker: &mut LinkerInstance<'_, Guest>,
    item: &str,
    kind: &ComponentItem,
    full: String,
) -> wasmtime::Result<()> {
    match kind {
        ComponentItem::ComponentFunc(_) => linker.func_new(item, move |_, _, _, _| {
            Err(wasmtime::Error::msg(format!("{full} is not granted (imports of its binding)")))
        }),
        ComponentItem::Resource(_) => linker.resource(item, ResourceType::host::<Nothing>(), |_, _| Ok(())),
        _ => Ok(()),
    }
}

/// Full name of one of the contract's interfaces.
pub fn interface(name: &str) -> String {
    format!("{PACKAGE}/{name}@{VERSION}")
}
