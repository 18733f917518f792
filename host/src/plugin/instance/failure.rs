//! What a guest's end means: which limit it met, what it said itself, and where it was.

use wasmtime::{FrameInfo, Store, Trap, WasmBacktrace};

use super::super::guest::{Guest, Shared};
use super::{CallError, deadline};
use crate::metrics::Limit;

/// In wasmtime's words: what is copied from the guest is over its limit.
const FUEL_IS_OUT: &str = "fuel allocated for hostcalls has been exhausted";

/// Functions of a backtrace that are told.
const BACKTRACE: usize = 6;

/// The failure, with the guest's own panic text where it wrote one. `limit` is the time that the call had.
pub fn call_error(store: &Store<Guest>, error: &wasmtime::Error, limit: Limit) -> CallError {
    let guest = store.data();
    let Shared { used, limits, secrets, .. } = &guest.shared;
    let trap = error.downcast_ref::<Trap>();
    if matches!(trap, Some(Trap::Interrupt)) {
        used.hit(limit);
        return CallError::Timeout(deadline(store, limit).as_millis());
    }
    let trace = error.downcast_ref::<WasmBacktrace>().map(backtrace).unwrap_or_default();
    let refused = guest.limiter.refused();
    let mut text = refused.map_or_else(|| error.root_cause().to_string(), |refused| refused.to_string());
    if matches!(trap, Some(Trap::StackOverflow)) {
        used.hit(Limit::StackBytes);
        text = format!("{text}: more than {} bytes (plugin.stack_bytes)", limits.stack_bytes);
    } else if text.contains(FUEL_IS_OUT) {
        used.hit(Limit::HostcallBytes);
        let most = limits.hostcall_bytes;
        text = format!("copied more than {most} bytes to the host at once (plugin.hostcall_bytes)");
    }
    let said = guest.console.take_tail();
    if !said.is_empty() {
        text = format!("{text}: {said}");
    }
    let text = secrets.redact(&(text + &trace)).into();
    if refused.is_some() { CallError::Memory(text) } else { CallError::Trap(text) }
}

/// The innermost functions, by name, or by number where the component was stripped of names.
fn backtrace(trace: &WasmBacktrace) -> String {
    let frames = trace.frames().iter().filter(|frame| !frame.func_name().is_some_and(is_runtime));
    let name = |frame: &FrameInfo| match frame.func_name() {
        Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
        None => format!("function {}", frame.func_index()),
    };
    let names: Vec<_> = frames.take(BACKTRACE).map(name).collect();
    if names.is_empty() { String::new() } else { format!(" [in {}]", names.join(" < ")) }
}

/// How a panic gets from its place to its end is of no use to anybody.
fn is_runtime(name: &str) -> bool {
    ["rust_panic", "begin_panic", "__rust", "panicking", "abort", "sys_backtrace"]
        .iter()
        .any(|part| name.contains(part))
}
