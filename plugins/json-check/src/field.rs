use serde::Deserialize;
use weir_plugin::serde_json::Value;
use weir_plugin::{ConfigError, Refusal};

/// What one place of a payload must be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    path: String,
    #[serde(default)]
    required: bool,
    r#type: Option<Type>,
    min: Option<f64>,
    max: Option<f64>,
    r#enum: Option<Vec<Value>>,
    max_length: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    String,
    Number,
    Integer,
    Boolean,
    Object,
    Array,
    Null,
}

impl Field {
    pub(crate) fn check_config(&self) -> Result<(), ConfigError> {
        if !self.path.is_empty() && !self.path.starts_with('/') {
            let reason = format!("`{}` is no JSON Pointer: empty, or begins with `/`", self.path);
            return Err(ConfigError::new("/path", reason));
        }
        if matches!((self.min, self.max), (Some(min), Some(max)) if min > max) {
            return Err(ConfigError::new("/max", "must not be less than min"));
        }
        if self.r#enum.as_ref().is_some_and(Vec::is_empty) {
            return Err(ConfigError::new("/enum", "must hold at least one value"));
        }
        Ok(())
    }

    pub(crate) fn check(&self, body: &Value) -> Result<(), Refusal> {
        let levels: Vec<&str> = self.path.split('/').skip(1).collect();
        self.walk(body, &levels, String::new())
    }

    /// Goes down level by level; `at` is the pointer so far.
    fn walk(&self, value: &Value, levels: &[&str], at: String) -> Result<(), Refusal> {
        let Some((level, deeper)) = levels.split_first() else { return self.check_value(value, &at) };
        if *level == "*" {
            let Value::Array(all) = value else { return Err(must_be("an array", value, &at)) };
            return all
                .iter()
                .enumerate()
                .try_for_each(|(index, value)| self.walk(value, deeper, format!("{at}/{index}")));
        }
        let child = value.pointer(&format!("/{level}"));
        match child {
            Some(child) => self.walk(child, deeper, format!("{at}/{level}")),
            None if self.required => {
                let rest: String = deeper.iter().map(|level| format!("/{level}")).collect();
                Err(Refusal::new("is missing").at(format!("{at}/{level}{rest}")))
            }
            None => Ok(()),
        }
    }

    fn check_value(&self, value: &Value, at: &str) -> Result<(), Refusal> {
        if let Some(wanted) = self.r#type
            && !wanted.is(value)
        {
            return Err(must_be(wanted.name(), value, at));
        }
        if self.min.is_some() || self.max.is_some() {
            let Some(number) = value.as_f64() else { return Err(must_be("a number", value, at)) };
            if let Some(min) = self.min.filter(|min| number < *min) {
                return Err(Refusal::new(format!("must be at least {min}, is {number}")).at(at));
            }
            if let Some(max) = self.max.filter(|max| number > *max) {
                return Err(Refusal::new(format!("must be at most {max}, is {number}")).at(at));
            }
        }
        if let Some(choice) = &self.r#enum
            && !choice.iter().any(|one| equal(one, value))
        {
            let accepted: Vec<String> = choice.iter().map(Value::to_string).collect();
            return Err(Refusal::new(format!("must be one of {}", accepted.join(", "))).at(at));
        }
        match self.max_length {
            Some(most) => check_length(value, most, at),
            None => Ok(()),
        }
    }
}

impl Type {
    fn is(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Number => value.is_number(),
            // As in JSON Schema, 2.0 is an integer: not every language writes it without the fraction.
            Self::Integer => {
                value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
            }
            Self::Boolean => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::Null => value.is_null(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Number => "a number",
            Self::Integer => "an integer",
            Self::Boolean => "a boolean",
            Self::Object => "an object",
            Self::Array => "an array",
            Self::Null => "null",
        }
    }
}

fn check_length(value: &Value, most: usize, at: &str) -> Result<(), Refusal> {
    let (length, of) = match value {
        Value::String(text) => (text.chars().count(), "characters"),
        Value::Array(all) => (all.len(), "elements"),
        _ => return Err(must_be("a string or an array", value, at)),
    };
    if length > most {
        return Err(Refusal::new(format!("must have at most {most} {of}, has {length}")).at(at));
    }
    Ok(())
}

/// Numbers are equal by value: 1 and 1.0 are.
fn equal(one: &Value, other: &Value) -> bool {
    one == other || (one.is_number() && other.is_number() && one.as_f64() == other.as_f64())
}

fn must_be(wanted: &str, found: &Value, at: &str) -> Refusal {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Refusal::new(format!("must be {wanted}, is {found}")).at(at)
}
