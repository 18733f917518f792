//! Where in its file a binding is wrong, of what shows only when it is loaded.

use std::path::Path;

use super::super::{LoadError, Problem};
use super::wanted::Wanted;
use crate::config::{ConfigError, Source};

impl Wanted {
    /// The error with file and line, if it lies in the binding's file, which is in this folder.
    pub fn placed(&self, folder: &Path, error: LoadError) -> LoadError {
        let file = folder.join(format!("{}.toml", self.stem));
        let Some(keys) = error.keys() else { return error };
        let Ok(source) = Source::parse(&file, &self.text) else { return error };
        if self.text.is_empty() {
            return error;
        }
        let at = self.number().map(|at| at.to_string());
        let table = at.iter().flat_map(|at| ["binding", at.as_str()]);
        let path: Vec<&str> = table.chain(keys.iter().map(String::as_str)).collect();
        match source.error(&path, error.to_string()) {
            ConfigError::At { file, line, message } => {
                let problem = Problem { file, line: Some(line), message };
                LoadError::Placed { problem, error: Box::new(error) }
            }
            _ => error,
        }
    }

    /// Its place among the `[[binding]]` of its file; none = it is the file's only one, without such a header.
    fn number(&self) -> Option<usize> {
        let table: toml::Table = self.text.parse().ok()?;
        let all = table.get("binding")?.as_array()?;
        let named = |one: &toml::Value| {
            one.get("name").and_then(toml::Value::as_str).unwrap_or(&self.stem) == self.spec.name
        };
        all.iter().position(named)
    }
}

impl LoadError {
    /// The keys that lead to what is wrong in the binding's file. None: it is not there.
    fn keys(&self) -> Option<Vec<String>> {
        let path = |keys: &[&str]| Some(keys.iter().map(|&key| key.to_owned()).collect());
        match self {
            Self::At { keys, .. } => Some(keys.clone()),
            Self::Secret { key, .. } => path(&["secrets", key]),
            Self::Sample { number, .. } => path(&["sample", &number.saturating_sub(1).to_string()]),
            Self::Config { path, .. } => {
                let steps = path.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"));
                Some(std::iter::once("config".to_owned()).chain(steps).collect())
            }
            _ => None,
        }
    }
}
