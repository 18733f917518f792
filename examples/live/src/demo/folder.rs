//! The router's folder: its configuration, and five bindings of stock plugins.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A folder that is gone when the demo is.
pub(super) struct Folder(tempfile::TempDir);

/// In which unit the transforms tell amounts of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// 2^20 bytes.
    Mebi,
    /// 2^30 bytes.
    Gibi,
}

impl Unit {
    /// As the page shows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mebi => "MiB",
            Self::Gibi => "GiB",
        }
    }

    /// Bytes in one.
    pub(super) fn bytes(self) -> f64 {
        match self {
            Self::Mebi => 1_048_576.0,
            Self::Gibi => 1_073_741_824.0,
        }
    }

    /// The unit with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Mebi, Self::Gibi].into_iter().find(|unit| unit.name() == name)
    }

    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Mebi => Self::Gibi,
            Self::Gibi => Self::Mebi,
        }
    }
}

const CONFIG: &str = r#"# The demo's router. It chooses free ports, and writes them to data/addresses.json.
data = "data"
plugins = "plugins"

[http]
listen = "127.0.0.1:0"

[admin]
listen = "127.0.0.1:0"
"#;

const API_KEY: &str = r#"# Who has a key comes in, with the scopes of the key.
plugin = "stock:api-key"
"#;

const DEDUPE: &str = r#"# Who posts something twice, for want of an answer, has it counted once.
plugin = "stock:dedupe"
order = 20

[config]
by = "message-id"
window_s = 60
"#;

const JSON_CHECK: &str = r#"# What is not as it should be is refused, with the reason and the place.
[[binding]]
name = "check-readings"
plugin = "stock:json-check"
topics = ["devices/+/readings"]
order = 10

[binding.config]
fields = [
    { path = "/seq", required = true, type = "integer", min = 1 },
    { path = "/load", required = true, type = "number", min = 0, max = 100000 },
    { path = "/cpu_percent", required = true, type = "number", min = 0, max = 100 },
    { path = "/memory_used", required = true, type = "number", min = 0 },
    { path = "/memory_total", required = true, type = "number", min = 0 },
    { path = "/received", required = true, type = "number", min = 0 },
    { path = "/sent", required = true, type = "number", min = 0 },
]

[[binding]]
name = "check-batches"
plugin = "stock:json-check"
topics = ["sensors/+/batches"]
order = 10

[binding.config]
fields = [
    { path = "", type = "array", max_length = 100 },
    { path = "/*/seq", required = true, type = "integer", min = 1 },
    { path = "/*/load", required = true, type = "number", min = 0, max = 100000 },
    { path = "/*/cpu_percent", required = true, type = "number", min = 0, max = 100 },
    { path = "/*/memory_used", required = true, type = "number", min = 0 },
    { path = "/*/memory_total", required = true, type = "number", min = 0 },
    { path = "/*/received", required = true, type = "number", min = 0 },
    { path = "/*/sent", required = true, type = "number", min = 0 },
]

[[binding]]
name = "check-commands"
plugin = "stock:json-check"
topics = ["devices/+/commands"]
order = 10

[binding.config]
fields = [
    { path = "/seq", required = true, type = "integer", min = 1 },
    { path = "/interval_ms", type = "integer", min = 10, max = 60000 },
    { path = "/blink", type = "boolean" },
]
"#;

const LATEST: &str = r#"# The last message of each topic that pages see, to be asked for.
plugin = "stock:latest"
topics = ["page/#"]
"#;

/// `{{convert}}` and `{{unit}}` are filled in.
const JSON_MAP: &str = r#"# What pages see: amounts in {{unit}}, who said it and when; batches one by one.
[[binding]]
name = "map-readings"
plugin = "stock:json-map"
topics = ["devices/+/readings"]
emit = ["page/devices/+/readings"]

[binding.config]
copy_to = ["page/devices/{level.1}/readings"]
convert = [
{{convert}}]
add = { "/unit" = "{{unit}}", "/by" = "{principal}", "/at" = "{time}" }

[[binding]]
name = "map-states"
plugin = "stock:json-map"
topics = ["devices/+/state"]
emit = ["page/devices/+/state"]

[binding.config]
copy_to = ["page/devices/{level.1}/state"]
add = { "/by" = "{principal}", "/at" = "{time}" }

[[binding]]
name = "map-batches"
plugin = "stock:json-map"
topics = ["sensors/+/batches"]
emit = ["page/sensors/+/readings"]

[binding.config]
topic = "page/sensors/{level.1}/readings"
split = { path = "" }
convert = [
{{convert}}]
add = { "/unit" = "{{unit}}", "/by" = "{principal}", "/at" = "{time}" }
"#;

/// Amounts of bytes in what is published.
const AMOUNTS: [&str; 4] = ["memory_used", "memory_total", "received", "sent"];

/// The binding of the transforms, for a unit.
fn json_map(unit: Unit) -> String {
    let scale = 1.0 / unit.bytes();
    let convert: String = AMOUNTS
        .iter()
        .map(|amount| format!("    {{ path = \"/{amount}\", scale = {scale:e}, digits = 4 }},\n"))
        .collect();
    JSON_MAP.replace("{{convert}}", &convert).replace("{{unit}}", unit.name())
}

impl Folder {
    /// Writes everything that a router needs to start. Amounts are told in `unit`.
    pub(super) fn make(unit: Unit) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("weir-demo-")
            .tempdir()
            .context("making a temporary folder for the router")?;
        let folder = Self(dir);
        for sub in [folder.data(), folder.plugins()] {
            fs::create_dir(&sub).with_context(|| format!("making {}", sub.display()))?;
        }
        write(&folder.config(), CONFIG)?;
        for (name, text) in
            [("api-key", API_KEY), ("dedupe", DEDUPE), ("json-check", JSON_CHECK), ("latest", LATEST)]
        {
            write(&folder.plugins().join(format!("{name}.toml")), text)?;
        }
        folder.map_to(unit)?;
        Ok(folder)
    }

    /// Puts another binding of the transforms in the place of the one before, in one step: the router sees
    /// the one or the other, never a half-written file.
    pub(super) fn map_to(&self, unit: Unit) -> Result<()> {
        // The router leaves dot-files alone.
        let fresh = self.plugins().join(".json-map.toml.new");
        let place = self.plugins().join("json-map.toml");
        write(&fresh, &json_map(unit))?;
        fs::rename(&fresh, &place).with_context(|| format!("renaming to {}", place.display()))
    }

    /// The unit that stands in the binding now.
    #[cfg(test)]
    pub(super) fn mapped_to(&self) -> Unit {
        let text = fs::read_to_string(self.plugins().join("json-map.toml")).unwrap();
        if text.contains("GiB") { Unit::Gibi } else { Unit::Mebi }
    }

    /// The router's configuration file.
    pub(super) fn config(&self) -> PathBuf {
        self.0.path().join("weir.toml")
    }

    /// Where the router keeps its data.
    pub(super) fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn plugins(&self) -> PathBuf {
        self.0.path().join("plugins")
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_there_and_a_swap_leaves_nothing_behind() {
        let folder = Folder::make(Unit::Mebi).unwrap();
        let names = || {
            let entries = fs::read_dir(folder.plugins()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let all = ["api-key.toml", "dedupe.toml", "json-check.toml", "json-map.toml", "latest.toml"];
        assert_eq!(names(), all);
        folder.map_to(Unit::Gibi).unwrap();
        assert_eq!(names(), all);
        let text = fs::read_to_string(folder.plugins().join("json-map.toml")).unwrap();
        assert!(text.contains("\"/unit\" = \"GiB\"") && !text.contains("MiB") && !text.contains("{{"));
    }

    #[test]
    fn scales_are_exact() {
        for unit in [Unit::Mebi, Unit::Gibi] {
            let text = json_map(unit);
            let (_, rest) = text.split_once("scale = ").unwrap();
            let scale: f64 = rest.split(',').next().unwrap().parse().unwrap();
            assert_eq!(scale * unit.bytes(), 1.0);
            assert_eq!(text.matches("scale").count(), 2 * AMOUNTS.len());
        }
    }

    #[test]
    fn units_are_known_by_name() {
        assert_eq!(Unit::named("GiB"), Some(Unit::Gibi));
        assert_eq!(Unit::named("B"), None);
        assert_eq!(Unit::Gibi.other(), Unit::Mebi);
    }
}
