use crate::convert::Convert;
use crate::pointer::Pointer;
use crate::template::{Fill, Template};
use serde::Deserialize;
use std::collections::BTreeMap;
use weir_plugin::ConfigError;

/// The keys of `[config]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub(crate) on_not_json: OnNotJson,
    pub(crate) split: Option<Split>,
    #[serde(default)]
    pub(crate) rename: BTreeMap<Pointer, Pointer>,
    #[serde(default)]
    pub(crate) convert: Vec<Convert>,
    #[serde(default)]
    pub(crate) remove: Vec<Pointer>,
    #[serde(default)]
    pub(crate) add: BTreeMap<Pointer, Fill>,
    pub(crate) topic: Option<Template>,
    #[serde(default)]
    pub(crate) copy_to: Vec<Template>,
}

/// What becomes of a payload that is not JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnNotJson {
    #[default]
    Refuse,
    Pass,
}

/// Which array becomes several messages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Split {
    pub(crate) path: Pointer,
    #[serde(default)]
    pub(crate) keep: Vec<Pointer>,
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for (index, convert) in self.convert.iter().enumerate() {
            convert
                .check()
                .map_err(|error| ConfigError::new(format!("/convert/{index}{}", error.path), error.reason))?;
        }
        Ok(())
    }

    /// Whether a body is not the same afterwards, split apart.
    pub(crate) fn changes_body(&self) -> bool {
        !(self.rename.is_empty() && self.convert.is_empty() && self.remove.is_empty() && self.add.is_empty())
    }
}
