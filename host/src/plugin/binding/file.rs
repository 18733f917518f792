//! The binding file `NAME.toml`: its keys, and what is wrong with them, with file and line.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use weir_contract::topic::{Pattern, is_reserved};

use super::sample::SampleTable;
use super::{Budget, DEFAULT_ORDER, Isolation, Mode, Policy, Secret, Source, Spec, valid_name};
use crate::config::{ConfigError, Grant, LimitsTable, Source as ConfigSource, unit};
use crate::plugin::LoadError;
use crate::plugin::imports::wasi;

/// Longest `[config]`, as JSON with the secrets in it, in bytes.
pub(super) const CONFIG_BYTES: usize = 64 * 1024;
/// Share of the live binding's messages that a shadow sees, if its file says none.
const SHADOW_SAMPLE: f64 = 0.01;

/// One binding, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    name: Option<String>,
    plugin: Option<String>,
    topics: Option<Vec<String>>,
    order: Option<i64>,
    #[serde(alias = "on_error")]
    on_error: Option<Policy>,
    #[serde(default)]
    emit: Vec<String>,
    #[serde(default)]
    accounts: Vec<String>,
    #[serde(default)]
    post: Vec<String>,
    #[serde(default)]
    imports: Vec<String>,
    #[serde(default, alias = "count_only")]
    count_only: bool,
    #[serde(default)]
    isolation: Isolation,
    enabled: Option<bool>,
    #[serde(default)]
    mode: ModeWord,
    #[serde(alias = "shadow_of")]
    shadow_of: Option<String>,
    share: Option<f64>,
    #[serde(default)]
    limits: LimitsTable,
    #[serde(default)]
    budget: BudgetTable,
    #[serde(default)]
    secrets: BTreeMap<String, Secret>,
    #[serde(default)]
    sample: Vec<SampleTable>,
    config: Option<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Several {
    binding: Vec<Table>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ModeWord {
    #[default]
    Live,
    Shadow,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BudgetTable {
    #[serde(deserialize_with = "unit::count")]
    failures: u32,
    #[serde(deserialize_with = "unit::duration")]
    window: Duration,
}

impl Default for BudgetTable {
    fn default() -> Self {
        let Budget { failures, window } = Budget::default();
        Self { failures, window }
    }
}

/// An error at a key of the binding.
type Refuse<'a> = &'a dyn Fn(&str, String) -> ConfigError;

impl Spec {
    /// Reads `STEM.toml`: one binding at the top level, or several as `[[binding]]`. Disabled ones are left out.
    pub fn parse(stem: &str, file: &Path, text: &str) -> Result<Vec<Self>, LoadError> {
        let source = ConfigSource::parse(file, text)?;
        // What stands at the top level decides which of the two forms it is; mistakes are found by `read`.
        let several = text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("binding"));
        let mut specs = Vec::new();
        if several {
            for (at, table) in source.read::<Several>()?.binding.into_iter().enumerate() {
                let at = at.to_string();
                specs.extend(checked(stem, table, &|key, why| source.error(&["binding", &at, key], why))?);
            }
        } else {
            let table = source.read::<Table>()?;
            specs.extend(checked(stem, table, &|key, why| source.error(&[key], why))?);
        }
        Ok(specs)
    }
}

/// None: it is disabled.
fn checked(stem: &str, table: Table, refuse: Refuse<'_>) -> Result<Option<Spec>, ConfigError> {
    if table.enabled == Some(false) {
        return Ok(None);
    }
    let name = table.name.clone().unwrap_or_else(|| stem.to_owned());
    if !valid_name(&name) {
        let why = format!("name {name:?}: accepted are 1 to 63 of a-z, 0-9 and -, not beginning with -");
        return Err(refuse("name", why));
    }
    let mode = mode(&table, &name, refuse)?;
    let grant = |text: String| -> Result<Grant, ConfigError> {
        text.parse().map_err(|error| refuse("post", format!("post {text:?}: {error}")))
    };
    let samples = table.sample.into_iter().enumerate().map(|(at, sample)| {
        sample.check().map_err(|why| refuse("sample", format!("[[sample]] number {}: {why}", at + 1)))
    });
    Ok(Some(Spec {
        source: component(stem, table.plugin.as_deref(), refuse)?,
        topics: patterns("topics", table.topics.unwrap_or_else(|| vec!["#".into()]), refuse)?,
        emit: emit(table.emit, refuse)?,
        order: table.order.unwrap_or(DEFAULT_ORDER),
        on_error: table.on_error,
        accounts: table.accounts,
        post: table.post.into_iter().map(grant).collect::<Result<_, _>>()?,
        imports: imports(table.imports, refuse)?,
        count_only: table.count_only,
        isolation: table.isolation,
        limits: table.limits,
        budget: Budget { failures: table.budget.failures, window: table.budget.window },
        mode,
        samples: samples.collect::<Result<_, _>>()?,
        config: config(table.config.unwrap_or_default(), &table.secrets, refuse)?,
        secrets: table.secrets.into_iter().collect(),
        name,
    }))
}

fn component(stem: &str, plugin: Option<&str>, refuse: Refuse<'_>) -> Result<Source, ConfigError> {
    let Some(plugin) = plugin else { return Ok(Source::File(stem.to_owned())) };
    match plugin.strip_prefix("stock:") {
        Some(stock) => Ok(Source::Stock(stock.to_owned())),
        None if valid_name(plugin) => Ok(Source::File(plugin.to_owned())),
        None => {
            let why = format!("plugin {plugin:?}: accepted are stock:NAME, or NAME of NAME.wasm");
            Err(refuse("plugin", why))
        }
    }
}

fn patterns(key: &str, texts: Vec<String>, refuse: Refuse<'_>) -> Result<Vec<Pattern>, ConfigError> {
    let parse =
        |text: String| Pattern::parse(&text).map_err(|error| refuse(key, format!("{key} {text:?}: {error}")));
    texts.into_iter().map(parse).collect()
}

/// The router's own topics are nobody's to write.
fn emit(texts: Vec<String>, refuse: Refuse<'_>) -> Result<Vec<Pattern>, ConfigError> {
    match texts.iter().find(|text| is_reserved(text)) {
        Some(text) => {
            Err(refuse("emit", format!("emit {text:?}: topics that begin with $ are the router's own")))
        }
        None => patterns("emit", texts, refuse),
    }
}

fn mode(table: &Table, name: &str, refuse: Refuse<'_>) -> Result<Mode, ConfigError> {
    if table.mode == ModeWord::Live {
        let stray = [("shadow-of", table.shadow_of.is_some()), ("share", table.share.is_some())];
        return match stray.into_iter().find(|(_, said)| *said) {
            Some((key, _)) => Err(refuse(key, format!("{key} is for mode = \"shadow\""))),
            None => Ok(Mode::Live),
        };
    }
    let why = "mode = \"shadow\" wants shadow-of = \"NAME\", the binding that it is compared with";
    let of = table.shadow_of.clone().ok_or_else(|| refuse("mode", why.into()))?;
    if !valid_name(&of) || of == name {
        return Err(refuse("shadow-of", format!("shadow-of {of:?}: accepted is another binding's name")));
    }
    let sample = table.share.unwrap_or(SHADOW_SAMPLE);
    if !(sample > 0.0 && sample <= 1.0) {
        return Err(refuse("share", format!("share {sample}: accepted is a number above 0, at most 1")));
    }
    Ok(Mode::Shadow { of, sample })
}

fn imports(names: Vec<String>, refuse: Refuse<'_>) -> Result<Vec<String>, ConfigError> {
    match names.iter().find(|name| !wasi::GRANTABLE.contains(&name.as_str())) {
        Some(name) => {
            let accepted = wasi::GRANTABLE.join(", ");
            Err(refuse("imports", format!("imports {name:?}: accepted are {accepted}, without a version")))
        }
        None => Ok(names),
    }
}

/// As JSON text. Keys whose values are secrets must not stand there.
fn config(
    table: toml::Table,
    secrets: &BTreeMap<String, Secret>,
    refuse: Refuse<'_>,
) -> Result<String, ConfigError> {
    if let Some(key) = secrets.keys().find(|key| table.contains_key(*key)) {
        return Err(refuse(
            "secrets",
            format!("{key} stands in [config] and in [secrets]: only one is accepted"),
        ));
    }
    let json = serde_json::to_string(&table)
        .map_err(|error| refuse("config", format!("[config] is no JSON: {error}")))?;
    if json.len() > CONFIG_BYTES {
        let why = format!("[config] takes {} bytes as JSON: at most {CONFIG_BYTES}", json.len());
        return Err(refuse("config", why));
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::super::Expect;
    use super::*;

    const PAGE: &str = include_str!("../../../../docs/plugins.md");

    /// What is accepted, as the refusal of something else names it.
    fn accepted<T: DeserializeOwned>(text: &str) -> Vec<String> {
        let refused = toml::from_str::<T>(text).err().unwrap().to_string();
        let (_, list) = refused.split_once("expected ").unwrap();
        list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[derive(Deserialize)]
    struct Words<T> {
        #[serde(rename = "word")]
        _word: T,
    }

    fn keys<T: DeserializeOwned>() -> Vec<String> {
        accepted::<T>("no-such-key = 1\ntopic = 'a'")
    }

    fn words<T: DeserializeOwned>() -> Vec<String> {
        accepted::<Words<T>>("word = 'no-such-word'")
    }

    #[test]
    fn the_page_for_deployers_names_every_key_and_every_word() {
        let mut all: Vec<String> = [keys::<Table>(), keys::<LimitsTable>(), keys::<BudgetTable>()].concat();
        all.extend(
            [words::<Policy>(), words::<Isolation>(), words::<ModeWord>(), words::<Expect>()].concat(),
        );
        all.extend(wasi::GRANTABLE.map(str::to_owned));
        assert!(all.len() > 40, "the keys are read: {all:?}");
        let is_named = |key: &str| {
            let spellings =
                [format!("`{key}`"), format!("`[{key}]`"), format!("`[[{key}]]`"), format!(" {key},")];
            spellings.iter().any(|spelling| PAGE.contains(spelling))
        };
        let missing: Vec<_> = all.iter().filter(|key| !is_named(key)).collect();
        assert!(missing.is_empty(), "docs/plugins.md does not name {missing:?}");
        for key in keys::<SampleTable>() {
            assert!(PAGE.contains(&format!("{key} = ")), "docs/plugins.md shows no sample with {key}");
        }
    }
}
