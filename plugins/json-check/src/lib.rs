//! `stock:json-check`, a filter that refuses payloads which are not the JSON that they should be.
//!
//! The publisher hears what is wrong, what is accepted, and where, as a JSON Pointer. A payload that is not
//! JSON is refused, also without any field.
//!
//! ```toml
//! [[config.fields]]
//! path = "/celsius"            # JSON Pointer; "" is the whole payload, a level `*` every element of an array
//! required = true              # default false: an absent field is fine
//! type = "number"              # string, number, integer, boolean, object, array or null
//! min = -40                    # numbers only, and the value itself is accepted
//! max = 85
//!
//! [[config.fields]]
//! path = "/readings/*/unit"
//! enum = ["K", "°C"]           # exactly one of these values
//! max_length = 8               # characters of a string, elements of an array
//! ```

mod field;

use field::Field;
use weir_plugin::serde_json::Value;
use weir_plugin::{ConfigError, Context, Filter, Message, Plugin, Result, Verdict};

/// The keys of `[config]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    fields: Vec<Field>,
}

/// The plugin.
#[derive(Debug)]
pub struct JsonCheck {
    fields: Vec<Field>,
}

impl Plugin for JsonCheck {
    type Config = Config;

    fn new(config: Config, _context: &Context) -> Result<Self, ConfigError> {
        for (index, field) in config.fields.iter().enumerate() {
            field
                .check_config()
                .map_err(|error| ConfigError::new(format!("/fields/{index}{}", error.path), error.reason))?;
        }
        Ok(Self { fields: config.fields })
    }
}

impl Filter for JsonCheck {
    fn check(&self, message: &Message) -> Result<Verdict> {
        let body: Value = message.json()?;
        for field in &self.fields {
            field.check(&body)?;
        }
        Ok(Verdict::Keep)
    }
}

weir_plugin::export_filter!(JsonCheck);

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::serde_json::json;
    use weir_plugin::testing::{self, Host};

    fn refused(fields: Value, payload: &str) -> Option<(String, String)> {
        let mut host = Host::<JsonCheck>::new(json!({ "fields": fields })).unwrap();
        match host.check(&testing::message("t", payload).build()).unwrap() {
            Verdict::Keep => None,
            Verdict::Refuse(refusal) => Some((refusal.path, refusal.reason)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_json_passes() {
        assert_eq!(refused(json!([]), "{}"), None);
        assert!(refused(json!([]), "{").is_some() && refused(json!([]), "").is_some());
    }

    #[test]
    fn required_fields_are_there() {
        let fields = json!([{"path": "/a/b", "required": true}]);
        assert_eq!(refused(fields.clone(), r#"{"a": {"b": null}}"#), None);
        for payload in ["{}", r#"{"a": {}}"#, r#"{"a": "b"}"#, "[]"] {
            assert_eq!(
                refused(fields.clone(), payload),
                Some(("/a/b".into(), "is missing".into())),
                "{payload}"
            );
        }
        assert_eq!(refused(json!([{"path": "/a", "type": "string"}]), "{}"), None);
    }

    #[test]
    fn types_are_jsons() {
        let passes =
            |name: &str, payload: &str| refused(json!([{"path": "", "type": name}]), payload).is_none();
        for (name, payload) in [
            ("string", "\"\""),
            ("number", "1.5"),
            ("integer", "2"),
            ("integer", "2.0"),
            ("boolean", "true"),
            ("object", "{}"),
            ("array", "[]"),
            ("null", "null"),
        ] {
            assert!(passes(name, payload), "{name} {payload}");
            assert_eq!(passes("null", payload), name == "null");
        }
        assert!(!passes("integer", "1.5") && !passes("number", "\"1\""));
        let reason = refused(json!([{"path": "/a", "type": "number"}]), r#"{"a": "1"}"#);
        assert_eq!(reason, Some(("/a".into(), "must be a number, is a string".into())));
    }

    #[test]
    fn ranges_lengths_and_choices() {
        let range = json!([{"path": "/n", "min": -40, "max": 85.5}]);
        for (payload, ok) in
            [("-40", true), ("85.5", true), ("-40.1", false), ("86", false), ("\"1\"", false)]
        {
            assert_eq!(refused(range.clone(), &format!("{{\"n\": {payload}}}")).is_none(), ok, "{payload}");
        }
        let length = json!([{"path": "", "max_length": 2}]);
        for (payload, ok) in
            [("\"é°\"", true), ("\"abc\"", false), ("[1,2]", true), ("[1,2,3]", false), ("1", false)]
        {
            assert_eq!(refused(length.clone(), payload).is_none(), ok, "{payload}");
        }
        let choice = json!([{"path": "/u", "enum": ["K", 1, null]}]);
        for (payload, ok) in [("\"K\"", true), ("1.0", true), ("null", true), ("\"C\"", false)] {
            assert_eq!(refused(choice.clone(), &format!("{{\"u\": {payload}}}")).is_none(), ok, "{payload}");
        }
    }

    #[test]
    fn every_element_is_checked_and_named() {
        let fields = json!([{"path": "/r/*/v", "required": true, "type": "number"}]);
        assert_eq!(refused(fields.clone(), r#"{"r": [{"v": 1}, {"v": 2}]}"#), None);
        assert_eq!(refused(fields.clone(), r#"{"r": []}"#), None);
        let (path, _) = refused(fields.clone(), r#"{"r": [{"v": 1}, {}]}"#).unwrap();
        assert_eq!(path, "/r/1/v");
        let (path, reason) = refused(fields, r#"{"r": 1}"#).unwrap();
        assert_eq!((path.as_str(), reason.as_str()), ("/r", "must be an array, is a number"));
        let (path, _) = refused(json!([{"path": "/a~1b/0", "type": "null"}]), r#"{"a/b": [1]}"#).unwrap();
        assert_eq!(path, "/a~1b/0");
    }

    #[test]
    fn what_the_configuration_may_not_say() {
        for (field, path) in [
            (json!({"path": "a"}), "/fields/0/path"),
            (json!({"path": "", "min": 2, "max": 1}), "/fields/0/max"),
            (json!({"path": "", "enum": []}), "/fields/0/enum"),
            (json!({"path": "", "type": "float"}), "/fields/0/type"),
            (json!({"path": "", "maximum": 1}), "/fields/0/maximum"),
            (json!({"min": 1}), "/fields/0"),
        ] {
            assert_eq!(Host::<JsonCheck>::new(json!({"fields": [field]})).unwrap_err().path, path);
        }
    }
}
