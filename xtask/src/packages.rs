//! What `cargo metadata` knows: the packages of a workspace and the files they build.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

/// One package of a workspace.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// The folder of its `Cargo.toml`.
    pub(crate) folder: PathBuf,
    /// The name of its library, when that is built as a `cdylib`: all that a component can be made of.
    pub(crate) cdylib: Option<String>,
    /// The names of its programs.
    pub(crate) programs: Vec<String>,
}

/// The packages of the workspace that `dir` belongs to; `metadata` is a `cargo metadata` started there.
pub(crate) fn members(metadata: &mut Command) -> Result<Vec<Package>> {
    metadata.args(["--no-deps", "--format-version", "1"]);
    let text = command::output("reading the manifests", metadata)?;
    let value: Value =
        serde_json::from_str(&text).context("cargo metadata printed something else than JSON")?;
    Ok(list(&value, "packages").filter_map(package).collect())
}

/// `--locked` where the lock file agrees with the manifests, which is everywhere but in the middle of a change
/// to them; there the build shall go on and bring the lock file up to date.
pub(crate) fn locked(metadata: &mut Command) -> Option<&'static str> {
    metadata.args(["--locked", "--format-version", "1", "--filter-platform", crate::toolchain::TARGET]);
    let agrees = metadata.output().is_ok_and(|output| output.status.success());
    if !agrees {
        command::step("no Cargo.lock that agrees with the manifests here: building without --locked");
    }
    agrees.then_some("--locked")
}

fn package(value: &Value) -> Option<Package> {
    let manifest = Path::new(value.get("manifest_path")?.as_str()?);
    let mut package = Package {
        name: value.get("name")?.as_str()?.to_owned(),
        folder: manifest.parent()?.to_owned(),
        cdylib: None,
        programs: Vec::new(),
    };
    for target in list(value, "targets") {
        let name = target.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if list(target, "crate_types").any(|kind| kind == "cdylib") {
            package.cdylib = Some(name);
        } else if list(target, "kind").any(|kind| kind == "bin") {
            package.programs.push(name);
        }
    }
    Some(package)
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_library_that_becomes_a_component() {
        let value = serde_json::json!({
            "name": "weir-plugin-open", "manifest_path": "/w/plugins/open/Cargo.toml",
            "targets": [
                { "name": "weir_plugin_open", "kind": ["cdylib"], "crate_types": ["cdylib"] },
                { "name": "tool", "kind": ["bin"], "crate_types": ["bin"] },
                { "name": "unit", "kind": ["test"], "crate_types": ["bin"] },
            ],
        });
        let package = package(&value).unwrap();
        assert_eq!(package.cdylib.as_deref(), Some("weir_plugin_open"));
        assert_eq!(package.programs, ["tool"]);
        assert_eq!(package.folder, Path::new("/w/plugins/open"));
    }
}
