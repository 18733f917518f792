//! A TOML file with its line numbers: reads it into a struct and says where and how it is wrong.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, words};

/// A parsed file. Also what plugin bindings are read with.
#[derive(Debug)]
pub struct Source<'t> {
    file: PathBuf,
    text: &'t str,
    root: DeTable<'t>,
}

impl<'t> Source<'t> {
    /// Parses the syntax. `file` is only for messages.
    pub fn parse(file: &Path, text: &'t str) -> Result<Self, ConfigError> {
        match DeTable::parse(text) {
            Ok(root) => Ok(Self { file: file.to_owned(), text, root: root.into_inner() }),
            Err(error) => Err(ConfigError::At {
                file: file.to_owned(),
                line: line_at(text, error.span().map_or(0, |span| span.start)),
                message: error.message().lines().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Reads the whole file as a `T`, which should deny unknown fields.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(self.text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let path = self.path_of(&span);
            ConfigError::At {
                file: self.file.clone(),
                line: line_at(self.text, span.start),
                message: explain(error.message(), &path),
            }
        })
    }

    /// An error at the place of a value: `["log", "0", "topics"]`, or of the nearest table around it.
    pub fn error(&self, path: &[&str], message: impl Into<String>) -> ConfigError {
        let mut start = 0;
        let mut value: Option<&DeValue<'_>> = None;
        for step in path {
            let next = match value {
                None => entry(&self.root, step),
                Some(DeValue::Table(table)) => entry(table, step),
                Some(DeValue::Array(array)) => {
                    let item = step.parse().ok().and_then(|index: usize| array.get(index));
                    item.map(|item| (item.span().start, item.get_ref()))
                }
                Some(_) => None,
            };
            let Some((at, inner)) = next else { break };
            start = at;
            value = Some(inner);
        }
        ConfigError::At { file: self.file.clone(), line: line_at(self.text, start), message: message.into() }
    }

    /// Names of tables and keys around a place in the text, outermost first.
    fn path_of(&self, span: &Range<usize>) -> Vec<String> {
        let mut path = Vec::new();
        descend(&self.root, span, &mut path);
        path
    }
}

/// Where a key stands, and its value.
fn entry<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Option<(usize, &'a DeValue<'i>)> {
    let (key, value) = table.iter().find(|(name, _)| name.get_ref().as_ref() == key)?;
    Some((key.span().start, value.get_ref()))
}

fn descend(table: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>) {
    for (key, value) in table {
        let here = covers(&key.span(), span) || covers(&value.span(), span);
        let before = path.len();
        path.push(key.get_ref().to_string());
        match value.get_ref() {
            // The text of a table is not one span: its keys may stand anywhere below its header.
            DeValue::Table(inner) => descend(inner, span, path),
            DeValue::Array(array) => {
                for item in array.iter() {
                    if let DeValue::Table(inner) = item.get_ref() {
                        descend(inner, span, path);
                    }
                }
            }
            _ => {}
        }
        if here || path.len() > before + 1 {
            return;
        }
        path.truncate(before);
    }
}

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Counted from 1.
fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The message for people. serde says "unknown field `x`, expected one of `a`, `b`": all names that are
/// accepted stand in it, between backticks, so that it need not be kept in a second list.
fn explain(message: &str, path: &[String]) -> String {
    let message = message.lines().collect::<Vec<_>>().join(", ");
    if message.starts_with("unknown field") {
        let mut names = message.split('`').skip(1).step_by(2);
        let unknown = names.next().unwrap_or_default();
        let accepted: Vec<&str> = names.collect();
        let table = path.split_last().map_or(&[][..], |(_, tables)| tables);
        let place = if table.is_empty() { String::new() } else { format!(" in [{}]", table.join(".")) };
        let hint =
            nearest(unknown, &accepted).map_or(String::new(), |name| format!("did you mean `{name}`? "));
        return format!("unknown key `{unknown}`{place}; {hint}accepted: {}", accepted.join(", "));
    }
    let message = words::plain(&message);
    match path {
        [] => message,
        path => format!("{}: {message}", path.join(".")),
    }
}

/// The known name that a mistyped one is most like, if any is near.
pub(super) fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let far = (unknown.chars().count() / 3).max(2);
    let distance = |name: &str| strsim::damerau_levenshtein(&unknown.to_lowercase(), name);
    known.iter().map(|name| (distance(name), *name)).filter(|(d, _)| *d <= far).min().map(|(_, name)| name)
}
