//! The linker of components, for the compiler that does not bring its own.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, debian};

/// Debian's linker, wanted only where no rustup toolchain brings one.
const LLD: &str = "lld-22";
/// The program that links a component.
pub(crate) const NAME: &str = "wasm-component-ld";
const VERSION: &str = "^0.5";

/// A PATH on which `wasm-component-ld` finds itself and a `wasm-ld`.
pub(crate) fn path(sysroot: Option<&Path>, cargo: &str, rustc: &str) -> Result<OsString> {
    let mut folders = match sysroot.and_then(shipped) {
        Some(folders) => folders,
        None => built(cargo, rustc)?,
    };
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    env::join_paths(folders).context("a folder on PATH has a colon in its name")
}

/// Every rustup toolchain ships both, whatever targets it has.
fn shipped(sysroot: &Path) -> Option<Vec<PathBuf>> {
    let bin = host_bin(sysroot)?;
    let folders = vec![bin.clone(), bin.join("gcc-ld")];
    (bin.join(NAME).exists() && bin.join("gcc-ld/wasm-ld").exists()).then_some(folders)
}

fn host_bin(sysroot: &Path) -> Option<PathBuf> {
    let host = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let bin = sysroot.join("lib/rustlib").join(host).join("bin");
    bin.exists().then_some(bin)
}

/// Without rustup: the component linker from its crate, and Debian's lld under it.
fn built(cargo: &str, rustc: &str) -> Result<Vec<PathBuf>> {
    debian::install(&[LLD])?;
    let version = LLD.trim_start_matches("lld-");
    let tools = command::root().join("target/guest/tools");
    if !tools.join("bin").join(NAME).exists() {
        let mut install = Command::new(cargo);
        install.args(["install", "--locked", "--version", VERSION, NAME]);
        install.arg("--root").arg(&tools).env("RUSTC", rustc).env_remove("CARGO_TARGET_DIR");
        command::run(&format!("building {NAME}"), &mut install)?;
    }
    Ok(vec![tools.join("bin"), PathBuf::from(format!("/usr/lib/llvm-{version}/bin"))])
}
