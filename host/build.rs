//! Embeds the stock plugins that `cargo xtask plugins` has built into `target/plugins`. A build without them
//! works, but knows no `stock:` names: it says so in a warning, and the router says so when one is asked for.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("stock.rs");
    let folder = env::var_os("WEIR_STOCK_DIR").map_or_else(default_folder, PathBuf::from);
    println!("cargo:rerun-if-env-changed=WEIR_STOCK_DIR");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut plugins = components(&folder);
    plugins.sort();
    if plugins.is_empty() {
        println!(
            "cargo:warning=no stock plugins in {}: run `cargo xtask plugins` first to embed them",
            folder.display()
        );
    }
    let mut code = String::from("const STOCK: &[(&str, &[u8])] = &[\n");
    for (name, path) in plugins {
        println!("cargo:rerun-if-changed={}", path.display());
        code += &format!("    ({name:?}, include_bytes!({:?})),\n", path.display().to_string());
    }
    code += "];\n";
    if let Err(error) = fs::write(&out, code) {
        println!("cargo:error=cannot write {}: {error}", out.display());
    }
}

fn default_folder() -> PathBuf {
    let host = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    host.parent().unwrap_or(&host).join("target").join("plugins")
}

fn components(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_wasm = path.extension().is_some_and(|extension| extension == "wasm");
            is_wasm.then(|| Some((path.file_stem()?.to_str()?.to_owned(), path.clone())))?
        })
        .collect()
}
