//! Finds, or installs, a compiler that builds WebAssembly components (`wasm32-wasip2`).
//!
//! Rustup's own target is the plain way. Where rustup cannot download it (closed networks, distribution
//! mirrors), Debian carries a newer compiler for its browsers, `rustc-web`, with the standard library's
//! source beside it: the library is then built once for the guests.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::{command, debian, linker};

/// What guests are compiled for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// `rustup target add` loads about 20 MB; a closed network should not cost much longer than an open one.
const RUSTUP_LIMIT: Duration = Duration::from_secs(90);
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "wasi-libc"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
/// The C library's folder twice: the search path of rustc for its own libraries, and that of the linker.
const DEBIAN_RUSTFLAGS: &str =
    "-C link-self-contained=no -L native=/usr/lib/wasm32-wasi -C link-arg=-L/usr/lib/wasm32-wasi";

/// How guests are compiled: like small libraries, whatever the host's own release profile says.
const PROFILE: [(&str, &str); 7] = [
    ("CARGO_PROFILE_RELEASE_LTO", "true"),
    ("CARGO_PROFILE_RELEASE_STRIP", "true"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
];

/// A cargo that can build guests.
pub(crate) struct Toolchain {
    cargo: OsString,
    env: Vec<(&'static str, OsString)>,
    flags: &'static [&'static str],
    /// Rustup chose this compiler, so its choice has to reach the guests' build.
    rustup: bool,
}

impl Toolchain {
    /// Takes the first way that works, and says which in one line.
    pub(crate) fn find() -> Result<Self> {
        match env::var("WEIR_GUESTS").as_deref() {
            Ok("debian") => return debian_toolchain(),
            Ok("rustup") | Err(_) => {}
            Ok(other) => bail!("WEIR_GUESTS={other}: expected `rustup` or `debian`"),
        }
        if target_installed() {
            return Ok(rustup_toolchain("its target is installed"));
        }
        let only_rustup = env::var_os("WEIR_GUESTS").is_some();
        // A machine that went Debian's way once stays with it: asking rustup's server again on each run
        // would cost a timeout each time.
        if !only_rustup && debian::missing(&DEBIAN_PACKAGES).is_empty() {
            return debian_toolchain();
        }
        command::step(&format!("no {TARGET} in the active toolchain, trying `rustup target add {TARGET}`"));
        let mut add = Command::new("rustup");
        add.args(["target", "add", TARGET]);
        if command::succeeds_within(RUSTUP_LIMIT, &mut add) && target_installed() {
            return Ok(rustup_toolchain("its target was just added"));
        }
        if !only_rustup && debian::is_here() {
            return debian_toolchain();
        }
        bail!(
            "no compiler for {TARGET}: `rustup target add {TARGET}` failed{}. Run it by hand to see why, or on \
             Debian 12 and later install: {}",
            if only_rustup { "" } else { ", and this machine has no apt-get" },
            DEBIAN_PACKAGES.join(" ")
        )
    }

    /// `cargo VERB`, started in `dir`, with an environment of its own.
    pub(crate) fn cargo(&self, verb: &str, dir: &Path) -> Command {
        let mut command = Command::new(&self.cargo);
        command.arg(verb).current_dir(dir);
        for (name, _) in env::vars_os() {
            if leaks(&name, self.rustup) {
                command.env_remove(&name);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value))).envs(PROFILE);
        command
    }

    /// `cargo build` for guests; the caller adds what to build.
    pub(crate) fn build(&self, dir: &Path, target_dir: &Path) -> Command {
        let mut command = self.cargo("build", dir);
        command.args(["--release", "--target", TARGET]).args(self.flags);
        command.arg("--target-dir").arg(target_dir);
        command
    }
}

/// Where a guest's component lies after a build: cargo names it after the library, not the package.
pub(crate) fn artifact(target_dir: &Path, library: &str) -> PathBuf {
    target_dir.join(TARGET).join("release").join(library.replace('-', "_")).with_extension("wasm")
}

/// Variables of the outer `cargo xtask` and of the caller's shell that must not steer a guest's build. What
/// says where crates come from stays.
fn leaks(name: &OsStr, rustup: bool) -> bool {
    const KEPT: [&str; 8] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
        "CARGO_BUILD_JOBS",
        "CARGO_MAKEFLAGS",
    ];
    let Some(name) = name.to_str() else { return false };
    match name {
        "RUSTUP_TOOLCHAIN" => !rustup,
        "LD_LIBRARY_PATH" | "RUSTFLAGS" | "RUSTDOCFLAGS" => true,
        "RUSTC" | "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER" | "RUSTC_BOOTSTRAP" | "RUSTDOC" => true,
        _ => name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept)),
    }
}

fn rustup_toolchain(why: &str) -> Toolchain {
    command::step(&format!("guests are built with the active toolchain: {why}"));
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Toolchain { cargo, env: Vec::new(), flags: &[], rustup: true }
}

fn debian_toolchain() -> Result<Toolchain> {
    debian::install(&DEBIAN_PACKAGES)?;
    let path = linker::path(sysroot().as_deref(), DEBIAN_CARGO, DEBIAN_RUSTC)?;
    command::step("guests are built with Debian's rustc-web, their standard library from source");
    let env = vec![
        ("RUSTC", DEBIAN_RUSTC.into()),
        // Building the standard library is an unstable flag, which only this variable opens in a release.
        ("RUSTC_BOOTSTRAP", "1".into()),
        ("PATH", path),
        ("CARGO_TARGET_WASM32_WASIP2_LINKER", linker::NAME.into()),
        ("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", DEBIAN_RUSTFLAGS.into()),
    ];
    Ok(Toolchain { cargo: DEBIAN_CARGO.into(), env, flags: &["-Zbuild-std=std,panic_abort"], rustup: false })
}

fn target_installed() -> bool {
    // An emptied folder stays behind when rustup removes a target: only libraries count.
    let libraries = sysroot().map(|sysroot| sysroot.join("lib/rustlib").join(TARGET).join("lib"));
    libraries.and_then(|folder| folder.read_dir().ok()).is_some_and(|mut files| files.next().is_some())
}

fn sysroot() -> Option<PathBuf> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "sysroot"]);
    let answer = command::output("asking rustc for its folder", &mut rustc).ok()?;
    Some(PathBuf::from(answer.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_compiler_does_not_reach_guests_but_its_mirror_does() {
        for name in
            ["RUSTC", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO", "CARGO_PKG_NAME"]
        {
            assert!(leaks(OsStr::new(name), true), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_REGISTRIES_CRATES_IO_PROTOCOL", "PATH", "HOME"]
        {
            assert!(!leaks(OsStr::new(name), true), "{name}");
        }
        assert!(leaks(OsStr::new("RUSTUP_TOOLCHAIN"), false));
        assert!(!leaks(OsStr::new("RUSTUP_TOOLCHAIN"), true));
    }

    #[test]
    fn a_component_is_named_after_its_library() {
        let path = artifact(Path::new("t"), "weir-plugin-open");
        assert_eq!(path, Path::new("t/wasm32-wasip2/release/weir_plugin_open.wasm"));
    }
}
