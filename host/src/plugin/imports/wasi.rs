//! WASI 0.2 as a Rust `std` guest needs it to start, with nothing granted: no files, no environment, no
//! arguments, no sockets. Waiting is refused, since the clock that stops a guest does not stop one that
//! waits inside the host.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::DynPollable;

use crate::plugin::guest::Guest;

/// WASI interfaces that a guest may import; any other is refused at load.
pub const ALLOWED: [&str; 18] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    // Hash maps want a seed at their start.
    "wasi:random/insecure-seed",
];

/// What a binding may grant beyond them, as `imports = ["…"]`: what a plugin draws by lot cannot be tried again.
pub const GRANTABLE: [&str; 2] = ["wasi:random/insecure", "wasi:random/random"];

const NO_WAITING: &str = "plugins cannot wait: a call must return at once (use `state` and message times)";

/// Links WASI, with the functions that wait replaced by a refusal.
pub fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    linker.allow_shadowing(true);
    let mut clock = linker.instance("wasi:clocks/monotonic-clock@0.2.12")?;
    for name in ["subscribe-duration", "subscribe-instant"] {
        clock.func_wrap(
            name,
            |_: StoreContextMut<'_, Guest>, (_,): (u64,)| -> wasmtime::Result<(Resource<DynPollable>,)> {
                Err(wasmtime::Error::msg(NO_WAITING))
            },
        )?;
    }
    linker.allow_shadowing(false);
    Ok(())
}
