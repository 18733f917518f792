//! The steps that a plugin's file must pass before there is an instance of it, the cheap ones first: format,
//! signature, kind and WIT version, imports, and only then the compiling.
//!
//! `init`, self-test and the swap come after them (`reload`).

use wasmtime::component::Component;

use super::binding::Spec;
use super::compiler::Compiler;
use super::component::Loaded;
use super::folder::File;
use super::inspect::inspect;
use super::{Engine, LoadError, grants, kind, signature};
use crate::config::{PluginLimits, Trust};

/// What decides about a file.
pub struct Activation {
    compiler: Option<Compiler>,
    trust: Trust,
}

impl Activation {
    /// Without a compiler, components are compiled in this process, without limits: only for those that are trusted,
    /// as benchmarks trust theirs.
    pub fn new(compiler: Option<Compiler>, trust: Trust) -> Self {
        Self { compiler, trust }
    }

    /// Takes the file through all steps. `known` is the same component with the same grants, if it is in use already:
    /// it is not compiled again, but this file must pass the others. Blocks for as long as compiling may take: never
    /// on a shard.
    pub fn load(
        &self,
        engine: &Engine,
        spec: &Spec,
        limits: &PluginLimits,
        file: &File,
        known: Option<Loaded>,
    ) -> Result<Loaded, LoadError> {
        if file.bytes.len() > limits.file_bytes {
            return Err(LoadError::TooBig { found: file.bytes.len() as u64, accepted: limits.file_bytes });
        }
        let surface = inspect(&file.bytes)?;
        let signed = signature::verify(&self.trust, &spec.source, file)?;
        signed.allows(kind::of(surface.exports)?)?;
        grants::check(spec, &kind::extra_imports(surface.imports))?;
        if let Some(known) = known {
            return Ok(known);
        }
        let component = match &self.compiler {
            Some(compiler) => compiler.compile(engine, &file.bytes)?,
            None => Component::from_binary(engine.wasm(), &file.bytes)
                .map_err(|error| LoadError::Compile(format!("{error:#}")))?,
        };
        Loaded::new(engine, &component, file.digest, spec)
    }
}
