//! The plugins behind the gateways: the filter with the original's rules, the storage, and who is let in.

use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::Context;

use super::topics;
use crate::config::{Tenta, TentaFlavour};

const API_KEY: &str = "\
# Who has a login or a key comes in with it. `weir login create` and `weir key create` make some.
plugin = \"stock:api-key\"
";

/// Makes the bindings that are not there, before the router starts, and says so in the log. One that is there stays as it is.
pub(super) fn make(plugins: &Path, tenta: &Tenta) -> anyhow::Result<()> {
    let topics = topics(&tenta.base());
    let flavour = if tenta.flavour == TentaFlavour::Hermes { "hermes" } else { "tenta" };
    let listed = serde_json::to_string(&topics)?;
    let validate = format!(
        "# What sensors publish is held to the rules of {flavour}'s server. What [config] may say: docs/stock-plugins.md.\n\
         plugin = \"stock:tenta-validate\"\ntopics = {listed}\naccounts = [\"sensors\"]\n\n[config]\nflavour = \"{flavour}\"\n\n\
         [limits]\n# Messages of thousands of measurements take their time.\ndeadline = \"1s\"\n"
    );
    let store = format!(
        "# What sensors measure, log and acknowledge is stored. What [config] may say: docs/stock-plugins.md.\n\
         plugin = \"stock:tenta\"\ntopics = {listed}\naccounts = [\"sensors\"]\n"
    );
    std::fs::create_dir_all(plugins)
        .with_context(|| format!("cannot make the plugins folder {}", plugins.display()))?;
    write(&plugins.join("api-key.toml"), API_KEY)?;
    for (name, text) in [("tenta-validate", &validate), (tenta.storage.as_str(), &store)] {
        let file = plugins.join(format!("{name}.toml"));
        if !write(&file, text)? {
            look(&file, &topics)?;
        }
    }
    Ok(())
}

/// False: there is one.
fn write(file: &Path, text: &str) -> anyhow::Result<bool> {
    match std::fs::File::create_new(file).and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => {
            tracing::info!(file = %file.display(), "a binding is made");
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot write the binding {}", file.display())),
    }
}

/// A binding that was made with another base topic sees nothing.
fn look(file: &Path, topics: &[String]) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let missing = topics.iter().find(|topic| !text.contains(&format!("\"{topic}\"")));
    if let Some(topic) = missing {
        tracing::warn!(file = %file.display(), topic, "the binding does not name this topic: it may see nothing of what sensors publish");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_are_made_once_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        let plugins = folder.path().join("data/plugins");
        let hermes = Tenta { flavour: TentaFlavour::Hermes, base_topic: "a b".into(), ..Tenta::default() };
        make(&plugins, &hermes).unwrap();
        let read = |name: &str| std::fs::read_to_string(plugins.join(name)).unwrap();
        let binding: toml::Table = read("tenta-validate.toml").parse().unwrap();
        assert_eq!(binding["topics"][0].as_str(), Some("a b/measurements/+"));
        assert_eq!(binding["config"]["flavour"].as_str(), Some("hermes"));
        assert_eq!(binding["limits"]["deadline"].as_str(), Some("1s"));
        assert!(
            read("tenta.toml").contains("stock:tenta\"") && read("api-key.toml").contains("stock:api-key")
        );
        std::fs::write(plugins.join("tenta.toml"), "mine").unwrap();
        make(&plugins, &hermes).unwrap();
        assert_eq!(read("tenta.toml"), "mine");
    }
}
