use serde::{Deserialize, Deserializer};
use weir_plugin::Refusal;
use weir_plugin::serde_json::{Map, Value};

/// A JSON Pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pointer(String);

impl Pointer {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.starts_with('/') {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("`{text}` is no JSON Pointer: empty, or begins with `/`"))
    }

    pub(crate) fn get<'a>(&self, body: &'a Value) -> Option<&'a Value> {
        body.pointer(&self.0)
    }

    pub(crate) fn get_mut<'a>(&self, body: &'a mut Value) -> Option<&'a mut Value> {
        body.pointer_mut(&self.0)
    }

    /// Takes a field out. Of the whole body an empty object stays, into which it can be put back elsewhere.
    pub(crate) fn take(&self, body: &mut Value) -> Option<Value> {
        let Some((parent, last)) = self.0.rsplit_once('/') else {
            return Some(std::mem::replace(body, Value::Object(Map::new())));
        };
        match body.pointer_mut(parent)? {
            Value::Object(fields) => fields.remove(&unescape(last)),
            Value::Array(all) => {
                let index = last.parse().ok().filter(|index| *index < all.len())?;
                Some(all.remove(index))
            }
            _ => None,
        }
    }

    /// Sets a field, and makes the objects on the way to it. Refused where something else is in the way.
    pub(crate) fn set(&self, body: &mut Value, value: Value) -> Result<(), Refusal> {
        let mut place = body;
        for level in self.0.split('/').skip(1) {
            let name = unescape(level);
            place = match place {
                Value::Object(fields) => fields.entry(name).or_insert_with(|| Value::Object(Map::new())),
                Value::Array(all) => match level.parse::<usize>().ok().and_then(|index| all.get_mut(index)) {
                    Some(element) => element,
                    None => return Err(self.blocked()),
                },
                _ => return Err(self.blocked()),
            };
        }
        *place = value;
        Ok(())
    }

    fn blocked(&self) -> Refusal {
        Refusal::new("cannot be set: something on the way to it is no object").at(self)
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

fn unescape(level: &str) -> String {
    level.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::serde_json::json;

    fn at(text: &str) -> Pointer {
        Pointer::parse(text).unwrap()
    }

    #[test]
    fn fields_are_taken_and_set() {
        let mut body = json!({"a": {"b/c": 1}, "l": [1, 2]});
        assert_eq!(at("/a/b~1c").take(&mut body), Some(json!(1)));
        assert_eq!(at("/l/0").take(&mut body), Some(json!(1)));
        assert_eq!((at("/l/7").take(&mut body), at("/x/y").take(&mut body)), (None, None));
        at("/x/y").set(&mut body, json!(3)).unwrap();
        at("/l/0").set(&mut body, json!(4)).unwrap();
        assert_eq!(body, json!({"a": {}, "l": [4], "x": {"y": 3}}));
        assert_eq!(at("/x/y/z").set(&mut body, json!(1)).unwrap_err().path, "/x/y/z");
        assert!(at("/l/9").set(&mut body, json!(1)).is_err());
    }

    #[test]
    fn the_whole_body_can_be_wrapped() {
        let mut body = json!(21.5);
        let whole = at("").take(&mut body).unwrap();
        at("/celsius").set(&mut body, whole).unwrap();
        assert_eq!(body, json!({"celsius": 21.5}));
        assert!(Pointer::parse("a").is_err());
    }
}
