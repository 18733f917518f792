//! `weir init`: a commented configuration and its folders.

use std::fs::DirBuilder;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::print;
use super::settings::DEFAULT_FILE;
use crate::config::EXAMPLE;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where; made if need be
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
}

const API_KEY: &str = "\
# Whoever shows an API key (`weir key create`) gets in, with the key's name and rights. A key that is
# unknown, expired or revoked is no key.
plugin = \"stock:api-key\"
";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = &args.folder;
    let config = folder.join(DEFAULT_FILE);
    if config.exists() {
        bail!("{} is there already; nothing was changed", config.display());
    }
    make_folder(folder, 0o755)?;
    make_folder(&folder.join("data"), 0o700)?;
    make_folder(&folder.join("plugins"), 0o755)?;
    let binding = folder.join("plugins/api-key.toml");
    write_new(&binding, API_KEY)?;
    // Last: a folder with a configuration is a finished one.
    write_new(&config, EXAMPLE)?;
    print(&next_steps(folder, &config, &binding))?;
    Ok(ExitCode::SUCCESS)
}

fn next_steps(folder: &Path, config: &Path, binding: &Path) -> String {
    let flag =
        if folder == Path::new(".") { String::new() } else { format!(" --config {}", config.display()) };
    format!(
        "\
Made {config}, {data}/ and {binding}.

Next:
  weir key create{flag} --name demo --origin service --publish 'demo/#' --subscribe 'demo/#'
  weir check{flag}
  weir serve{flag}",
        config = config.display(),
        data = folder.join("data").display(),
        binding = binding.display(),
    )
}

fn make_folder(path: &Path, mode: u32) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.with_context(|| format!("cannot make the folder {}", path.display()))
}

/// A file that is there already is somebody's work and stays.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    match std::fs::File::create_new(path) {
        Ok(mut file) => {
            file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    #[test]
    fn what_is_made_is_sound_and_made_once() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("a/site");
        let args = Args { folder: folder.clone() };
        run(&args).unwrap();
        let config = Config::load(Some(&folder.join(DEFAULT_FILE)), Overrides::default()).unwrap();
        assert!(config.data.is_dir() && config.plugins.join("api-key.toml").is_file());
        std::fs::write(folder.join("plugins/api-key.toml"), "mine").unwrap();
        assert!(run(&args).unwrap_err().to_string().ends_with("is there already; nothing was changed"));
        std::fs::remove_file(folder.join(DEFAULT_FILE)).unwrap();
        run(&args).unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("plugins/api-key.toml")).unwrap(), "mine");
    }
}
