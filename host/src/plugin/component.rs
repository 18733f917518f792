//! A compiled component: checked once at load, instantiated as often as needed.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use super::binding::Spec;
use super::guest::Guest;
use super::{Engine, Kind, LoadError, grants, imports, kind};

/// A component that passed every check that needs no instance.
#[derive(Clone)]
pub struct Loaded {
    /// SHA-256 of the file.
    pub digest: [u8; 32],
    /// Its kind.
    pub kind: Kind,
    /// Resolved imports.
    pub pre: InstancePre<Guest>,
    /// Where the exported functions are.
    pub exports: Arc<Exports>,
    /// Imports that would be refused, were they not only counted.
    pub ungranted: Arc<[String]>,
}

/// Exported functions, resolved once.
pub struct Exports {
    /// `init` of the kind.
    pub init: ComponentExportIndex,
    /// `authenticate`, `check`, `apply` or `store`.
    pub main: ComponentExportIndex,
    /// `authorize` or `query`.
    pub second: Option<ComponentExportIndex>,
    /// `selftest.run`.
    pub selftest: Option<ComponentExportIndex>,
    /// `migration.schema` and `migration.migrate`.
    pub migration: Option<(ComponentExportIndex, ComponentExportIndex)>,
}

/// SHA-256 of a file's bytes.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// First 12 hex digits of a digest: what lists, logs and metrics call the version.
pub fn version(digest: &[u8; 32]) -> String {
    hex(digest.get(..6).unwrap_or_default())
}

/// Hexadecimal digits, two for each byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Loaded {
    /// Checks a compiled component and resolves what it imports and exports.
    pub fn new(
        engine: &Engine,
        component: &Component,
        digest: [u8; 32],
        spec: &Spec,
    ) -> Result<Self, LoadError> {
        let kind = kind::detect(engine, component)?;
        let names = component.component_type();
        let extra = kind::extra_imports(names.imports(engine.wasm()).map(|(name, _)| name));
        let counted = grants::check(spec, &extra)?;
        let exports = exports(component, kind)?;
        let mut linker = imports::linker(engine, &spec.imports)?;
        imports::add_refusals(&mut linker, engine, component, &counted).map_err(LoadError::engine)?;
        let ungranted = counted.into_iter().map(str::to_owned).collect();
        let pre =
            linker.instantiate_pre(component).map_err(|error| LoadError::Types(format!("{error:#}")))?;
        Ok(Self { digest, kind, pre, exports: Arc::new(exports), ungranted })
    }
}

fn exports(component: &Component, kind: Kind) -> Result<Exports, LoadError> {
    let (main, second) = match kind {
        Kind::Auth => ("authenticate", Some("authorize")),
        Kind::Filter => ("check", None),
        Kind::Transform => ("apply", None),
        Kind::Storage => ("store", Some("query")),
    };
    let instance = imports::interface(kind.as_str());
    let function = |name: &str| {
        let parent = component.get_export_index(None, &instance);
        let found = parent.and_then(|parent| component.get_export_index(Some(&parent), name));
        found.ok_or_else(|| LoadError::Types(format!("{instance} has no function {name}")))
    };
    let optional = |interface: &str, name: &str| {
        let parent = component.get_export_index(None, imports::interface(interface).as_str())?;
        component.get_export_index(Some(&parent), name)
    };
    Ok(Exports {
        init: function("init")?,
        main: function(main)?,
        second: second.map(function).transpose()?,
        selftest: optional("selftest", "run"),
        migration: optional("migration", "schema").zip(optional("migration", "migrate")),
    })
}
