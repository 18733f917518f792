//! Which kind a component is, read from its exports, and whether it asks for anything it may not have.

use std::fmt;

use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::imports::{self, wasi};
use super::{Engine, LoadError, grants};

/// The four kinds, in the order in which the pipeline calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Decides who a client is and what it may do.
    Auth,
    /// Keeps or stops messages.
    Filter,
    /// Changes, splits, adds or consumes messages.
    Transform,
    /// Turns the log into data that can be queried.
    Storage,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Auth, Self::Filter, Self::Transform, Self::Storage];

    /// The word in WIT, logs, metrics and lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Filter => "filter",
            Self::Transform => "transform",
            Self::Storage => "storage",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Optional exports that this host knows. It does not call `ticker` yet.
const OPTIONAL: [&str; 3] = ["ticker", "migration", "selftest"];

/// Contract interfaces that a component may import.
const IMPORTS: [&str; 4] = ["types", "logging", "state", "accounts"];

/// Reads the kind of a compiled component: exactly one of the four, of this host's version track.
pub fn detect(engine: &Engine, component: &Component) -> Result<Kind, LoadError> {
    let exports = component.component_type();
    let exports = exports.exports(engine.wasm());
    of(exports.map(|(name, item)| (name, matches!(item.ty, ComponentItem::ComponentInstance(_)))))
}

/// The same, from the names of exports and whether each is an interface.
pub fn of<'a>(exports: impl IntoIterator<Item = (&'a str, bool)>) -> Result<Kind, LoadError> {
    let mut kinds = Vec::new();
    for (name, is_interface) in exports {
        let Some((interface, version)) = contract_name(name) else { continue };
        if !is_interface {
            continue;
        }
        if !same_track(version) {
            return Err(LoadError::Version { found: name.to_owned(), wanted: imports::interface(interface) });
        }
        match Kind::ALL.into_iter().find(|kind| kind.as_str() == interface) {
            Some(kind) => kinds.push(kind),
            None if OPTIONAL.contains(&interface) || interface == "types" => {}
            None => return Err(LoadError::UnknownExport(name.to_owned())),
        }
    }
    match kinds.as_slice() {
        [kind] => Ok(*kind),
        [] => Err(LoadError::NoKind),
        several => Err(LoadError::SeveralKinds(
            several.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", "),
        )),
    }
}

/// Imports beyond those that every plugin may have.
pub fn extra_imports<'a>(imports: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut extra = Vec::new();
    for name in imports {
        let allowed = match contract_name(name) {
            Some((interface, version)) => IMPORTS.contains(&interface) && same_track(version),
            None => wasi::ALLOWED.contains(&grants::bare(name)),
        };
        if !allowed {
            extra.push(name.to_owned());
        }
    }
    extra
}

/// `weir:plugin/NAME@VERSION` into name and version.
fn contract_name(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(imports::PACKAGE)?.strip_prefix('/')?;
    Some(rest.split_once('@').unwrap_or((rest, "")))
}

/// Before 1.0 the second number is the track.
fn same_track(version: &str) -> bool {
    let track = |v: &str| v.splitn(3, '.').take(2).map(str::to_owned).collect::<Vec<_>>();
    track(version) == track(imports::VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tracks() {
        assert_eq!(contract_name("weir:plugin/filter@0.1.0"), Some(("filter", "0.1.0")));
        assert_eq!(contract_name("wasi:io/poll@0.2.0"), None);
        assert!(same_track("0.1.7"));
        assert!(!same_track("0.2.0"));
        assert!(!same_track(""));
    }
}
