//! The steps that a plugin's file must pass before there is an instance of it, the cheap ones first: format,
//! signature, kind and WIT version, imports, and only then the compiling.
//!
//! Its size was checked before it was read (`folder`); `init`, self-test and the swap come after (`reload`).

use wasmtime::component::Component;

use super::binding::Source;
use super::compiler::Compiler;
use super::component::Loaded;
use super::folder::File;
use super::inspect::inspect;
use super::{Engine, LoadError, kind, signature};
use crate::config::Trust;

/// What decides about a file.
pub struct Activation {
    engine: Engine,
    compiler: Option<Compiler>,
    trust: Trust,
}

impl Activation {
    /// Without a compiler, components are compiled in this process, without limits: only for those that are trusted,
    /// as benchmarks trust theirs.
    pub fn new(engine: Engine, compiler: Option<Compiler>, trust: Trust) -> Self {
        Self { engine, compiler, trust }
    }

    /// Takes the file through all steps. `known` is the same component, if it is in use already: it is not compiled
    /// again, but this file must pass the others. Blocks for as long as compiling may take: never on a shard.
    pub fn load(&self, source: &Source, file: &File, known: Option<Loaded>) -> Result<Loaded, LoadError> {
        let surface = inspect(&file.bytes)?;
        let signed = signature::verify(&self.trust, source, file)?;
        signed.allows(kind::of(surface.exports)?)?;
        kind::check_imports(surface.imports)?;
        if let Some(known) = known {
            return Ok(known);
        }
        let component = match &self.compiler {
            Some(compiler) => compiler.compile(&self.engine, &file.bytes)?,
            None => Component::from_binary(self.engine.wasm(), &file.bytes)
                .map_err(|error| LoadError::Compile(format!("{error:#}")))?,
        };
        Loaded::new(&self.engine, &component, file.digest)
    }
}
