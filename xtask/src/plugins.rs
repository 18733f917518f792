//! Builds guests: the stock plugins, the test guests, and an integrator's own crate.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::{self, root};
use crate::packages::{self, Package};
use crate::toolchain::{self, Toolchain};

/// `cargo xtask plugins`: the stock plugins into `target/plugins`, the test guests into `target/fixtures`.
/// The host embeds what lies in the first, so a file there is only touched when its bytes changed.
pub(crate) fn plugins() -> Result<()> {
    let toolchain = Toolchain::find()?;
    let plugins = root().join("plugins");
    collect(&toolchain, "the plugins", &root(), &plugins, &root().join("target/plugins"))?;
    let guests = root().join("host/tests/fixtures/guests");
    if guests.join("Cargo.toml").exists() {
        collect(&toolchain, "the test guests", &guests, &guests, &root().join("target/fixtures"))?;
    }
    Ok(())
}

/// `cargo xtask plugin build PATH`: one crate outside this workspace, into its own target folder. The last
/// line on stdout is the component's path, for scripts.
pub(crate) fn build_one(path: &Path) -> Result<()> {
    let expected = "expected the folder of a crate, with a Cargo.toml that says `crate-type = [\"cdylib\"]`";
    let folder = fs::canonicalize(path).with_context(|| format!("{}: {expected}", path.display()))?;
    if !folder.join("Cargo.toml").is_file() {
        bail!("{} has no Cargo.toml: {expected}", folder.display());
    }
    let toolchain = Toolchain::find()?;
    let members = packages::members(&mut toolchain.cargo("metadata", &folder))?;
    let Some(package) = members.iter().find(|package| package.folder == folder) else {
        bail!("{}/Cargo.toml is not a package: {expected}", folder.display());
    };
    let Some(library) = &package.cdylib else {
        bail!("{}: {} builds no cdylib: {expected}", folder.display(), package.name);
    };
    let target_dir = folder.join("target");
    let mut build = toolchain.build(&folder, &target_dir);
    build
        .args(["--package", &package.name])
        .args(packages::locked(&mut toolchain.cargo("metadata", &folder)));
    command::run(&format!("building {}", package.name), build.stdout(std::io::stderr()))?;
    let component = toolchain::artifact(&target_dir, library);
    if !component.is_file() {
        bail!("the build went well but left no {}", component.display());
    }
    println!("{}", component.display());
    Ok(())
}

/// Builds every package of `workspace` that lies directly under `parent`, in one cargo run, into `out`.
fn collect(toolchain: &Toolchain, what: &str, workspace: &Path, parent: &Path, out: &Path) -> Result<()> {
    let members = packages::members(&mut toolchain.cargo("metadata", workspace))?;
    let members: Vec<Package> =
        members.into_iter().filter(|package| package.folder.parent() == Some(parent)).collect();
    if members.is_empty() {
        bail!("{} holds no package of its workspace", parent.display());
    }
    if let Some(odd) = members.iter().find(|package| package.cdylib.is_none()) {
        bail!("{}/Cargo.toml: a guest says `crate-type = [\"cdylib\"]` under [lib]", odd.folder.display());
    }
    let target_dir = root().join("target/guest");
    let mut build = toolchain.build(workspace, &target_dir);
    build.args(packages::locked(&mut toolchain.cargo("metadata", workspace)));
    for package in &members {
        build.args(["--package", &package.name]);
    }
    command::run(&format!("building {what}"), &mut build)?;

    fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let mut made = Vec::new();
    let mut changed = 0_usize;
    for package in &members {
        let Some(library) = &package.cdylib else { continue };
        let name = package.folder.file_name().unwrap_or_default();
        let to = out.join(name).with_extension("wasm");
        changed += usize::from(copy_if_changed(&toolchain::artifact(&target_dir, library), &to)?);
        made.push(to);
    }
    remove_others(out, &made)?;
    command::step(&format!("{what}: {} in {}, {changed} changed", made.len(), out.display()));
    Ok(())
}

/// Whether `to` had other bytes. It is replaced in one step: a running host may be watching it.
fn copy_if_changed(from: &Path, to: &Path) -> Result<bool> {
    let bytes = fs::read(from).with_context(|| format!("the build left no {}", from.display()))?;
    match fs::read(to) {
        Ok(old) if old == bytes => return Ok(false),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("reading {}", to.display()));
        }
        _ => {}
    }
    let half = to.with_extension("wasm.new");
    fs::write(&half, bytes).with_context(|| format!("writing {}", half.display()))?;
    fs::rename(&half, to).with_context(|| format!("replacing {}", to.display()))?;
    Ok(true)
}

/// A plugin whose crate is gone must not stay in the host.
fn remove_others(folder: &Path, keep: &[PathBuf]) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("wasm")) && !keep.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unchanged_bytes_leave_the_file_alone_and_leftovers_go() {
        let folder = std::env::temp_dir().join(format!("xtask-plugins-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (from, to, old) = (folder.join("from"), folder.join("a.wasm"), folder.join("old.wasm"));
        fs::write(&from, b"one").unwrap();
        fs::write(&old, b"left over").unwrap();
        assert!(copy_if_changed(&from, &to).unwrap());
        assert!(!copy_if_changed(&from, &to).unwrap());
        fs::write(&from, b"two").unwrap();
        assert!(copy_if_changed(&from, &to).unwrap());
        assert_eq!(fs::read(&to).unwrap(), b"two");
        remove_others(&folder, std::slice::from_ref(&to)).unwrap();
        assert!(to.exists() && from.exists() && !old.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
