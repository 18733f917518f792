//! WASI 0.2 as a Rust `std` guest needs it to start, with nothing granted: no files, no environment, no
//! arguments, no sockets. Waiting is refused, since the clock that stops a guest does not stop one that
//! waits inside the host.

use wasmtime::StoreContextMut;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sync};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView as _};

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

/// The table of handles stands for `wasi:io`.
struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

const NO_WAITING: &str = "plugins cannot wait: a call must return at once (use `state` and message times)";

/// Links what a guest may import, and what its binding grants beyond it, with the functions that wait replaced by a
/// refusal. The rest of WASI is not there at all.
pub fn add(linker: &mut Linker<Guest>, granted: &[String]) -> wasmtime::Result<()> {
    cli::environment::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, Guest::clocks)?;
    clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, Guest::clocks)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, Guest::filesystem)?;
    sync::filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, Guest::filesystem)?;
    sync::io::error::add_to_linker::<_, Io>(linker, Guest::handles)?;
    sync::io::poll::add_to_linker::<_, Io>(linker, Guest::handles)?;
    sync::io::streams::add_to_linker::<_, Io>(linker, Guest::handles)?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, Guest::random)?;
    let is_granted = |name: &str| granted.iter().any(|granted| granted == name);
    if is_granted("wasi:random/insecure") {
        random::insecure::add_to_linker::<_, WasiRandom>(linker, Guest::random)?;
    }
    if is_granted("wasi:random/random") {
        random::random::add_to_linker::<_, WasiRandom>(linker, Guest::random)?;
    }
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
