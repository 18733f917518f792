//! Memory and tables of a guest's store: granted up to their limits, the use noted, refusals remembered for the
//! error of the call that fails of them.

use std::fmt;
use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::config::PluginLimits;
use crate::metrics::{Limit, PluginUse};

/// Core instances of a component: its own, WASI's adapter, shims.
const INSTANCES: usize = 64;
/// Tables of all of them.
const TABLES: usize = 64;
/// Memories of all of them.
const MEMORIES: usize = 8;

/// Counts all memories and tables of a store together.
pub struct Limiter {
    memory: Meter,
    table: Meter,
    used: Arc<PluginUse>,
    refused: Option<Refused>,
}

/// What a guest did not get.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// Bytes of memory, or elements of tables, in all.
    asked: usize,
    most: usize,
    limit: Limit,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, most, limit } = self;
        write!(out, "asked for {asked}, limit {most} (plugin.{})", limit.as_str())
    }
}

struct Meter {
    limit: Limit,
    most: usize,
    /// Memories and tables never shrink.
    now: usize,
}

impl Limiter {
    /// Nothing taken yet.
    pub fn new(limits: &PluginLimits, used: Arc<PluginUse>) -> Self {
        Self {
            memory: Meter { limit: Limit::MemoryBytes, most: limits.memory_bytes, now: 0 },
            table: Meter { limit: Limit::TableElements, most: limits.table_elements, now: 0 },
            used,
            refused: None,
        }
    }

    /// A call begins: what was refused before has not failed it.
    pub fn begin_call(&mut self) {
        self.refused = None;
    }

    /// What was refused since the call began.
    pub fn refused(&self) -> Option<Refused> {
        self.refused
    }
}

impl Meter {
    /// Err: what the guest asked for in all.
    fn grow(&mut self, current: usize, desired: usize) -> Result<(), usize> {
        let asked = self.now.saturating_add(desired.saturating_sub(current));
        if asked > self.most {
            return Err(asked);
        }
        self.now = asked;
        Ok(())
    }
}

fn grow(
    meter: &mut Meter,
    used: &PluginUse,
    refused: &mut Option<Refused>,
    current: usize,
    desired: usize,
    maximum: Option<usize>,
) -> bool {
    // Beyond what the component itself allows, it is the component's own mistake and is not counted.
    if maximum.is_some_and(|maximum| desired > maximum) {
        return false;
    }
    match meter.grow(current, desired) {
        Ok(()) => {
            used.note(meter.limit, meter.now as u64);
            true
        }
        Err(asked) => {
            used.hit(meter.limit);
            *refused = Some(Refused { asked, most: meter.most, limit: meter.limit });
            false
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(grow(&mut self.memory, &self.used, &mut self.refused, current, desired, maximum))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(grow(&mut self.table, &self.used, &mut self.refused, current, desired, maximum))
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_together_stay_within_the_limit() {
        let limits = PluginLimits { memory_bytes: 100, table_elements: 10, ..PluginLimits::default() };
        let mut limiter = Limiter::new(&limits, Arc::default());
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(60, 80, Some(70)).unwrap() && limiter.refused().is_none());
        assert!(!limiter.memory_growing(0, 60, None).unwrap());
        let said = limiter.refused().unwrap().to_string();
        assert!(said.contains("asked for 120") && said.contains("limit 100 (plugin.memory_bytes)"), "{said}");
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        limiter.begin_call();
        assert!(limiter.table_growing(0, 10, None).unwrap() && limiter.refused().is_none());
        assert!(!limiter.table_growing(10, 11, None).unwrap());
        assert!(limiter.refused().unwrap().to_string().contains("plugin.table_elements"));
    }

    /// A core module of `count` empty tables (section 4) or memories (section 5).
    fn module(section: u8, count: u8, entry: &[u8]) -> Vec<u8> {
        let content = [&[count][..], &entry.repeat(count.into())].concat();
        let size = u8::try_from(content.len()).unwrap();
        let size: &[u8] = if size < 0x80 { &[size] } else { &[size | 0x80, size >> 7] };
        [b"\0asm\x01\0\0\0", &[section][..], size, &content].concat()
    }

    #[test]
    fn a_store_has_only_so_many_instances_tables_and_memories() {
        let limits = PluginLimits { memory_bytes: 0, table_elements: 0, ..PluginLimits::default() };
        let engine = wasmtime::Engine::default();
        let instantiated = |wasm: &[u8], times: usize| {
            let mut store = wasmtime::Store::new(&engine, Limiter::new(&limits, Arc::default()));
            store.limiter(|limiter| limiter);
            let module = wasmtime::Module::new(&engine, wasm).unwrap();
            (0..times).all(|_| wasmtime::Instance::new(&mut store, &module, &[]).is_ok())
        };
        let (table, memory) = (&[0x70, 0, 0][..], &[0, 0][..]);
        assert!(instantiated(&module(4, 32, table), TABLES / 32) && !instantiated(&module(4, 32, table), 3));
        assert!(instantiated(&module(5, 8, memory), MEMORIES / 8) && !instantiated(&module(5, 9, memory), 1));
        let empty = module(4, 0, table);
        assert!(instantiated(&empty, INSTANCES) && !instantiated(&empty, INSTANCES + 1));
    }
}
