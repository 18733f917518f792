//! The game behind `weir serve --ganomics`: its binding, made if there is none.

use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::Context;

/// The binding's file.
const FILE: &str = "ganomics.toml";

/// Without what is as by default.
const BINDING: &str = "# The game that tablets play. What [config] may say: docs/stock-plugins.md.
plugin = \"stock:ganomics\"
topics = [\"ganomics/ask\", \"ganomics/identity\", \"ganomics/room\"]
emit = [\"ganomics/#\"]
on_error = \"deny\"

[config]
flavour = \"seed\"             # or \"newest\"
";

/// Makes the binding, before the router starts, and says so in the log. One that is there stays as it is.
pub(super) fn bind(plugins: &Path) -> anyhow::Result<()> {
    let file = plugins.join(FILE);
    let make = || {
        std::fs::create_dir_all(plugins)?;
        std::fs::File::create_new(&file)?.write_all(BINDING.as_bytes())
    };
    match make() {
        Ok(()) => tracing::info!(file = %file.display(), "the game has its binding"),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot write the game's binding {}", file.display()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_that_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let plugins = folder.path().join("data/plugins");
        bind(&plugins).unwrap();
        let file = plugins.join(FILE);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), BINDING);
        std::fs::write(&file, "mine").unwrap();
        bind(&plugins).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    }
}
