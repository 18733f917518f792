//! JSON as Python reads it: `NaN`, `Infinity` and `-Infinity` are numbers, an integer is told from a float, of a key that
//! comes twice the last one wins. Numbers are read exactly.

use std::collections::BTreeMap;

use crate::Malformed;

/// Deeper nesting is refused: nothing that sensors say is deeper than three levels.
const DEPTH: usize = 32;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// Written without fraction and exponent. Infinite: no float is so large.
    Integer(f64),
    Float(f64),
    Text(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

pub(crate) fn parse(payload: &[u8]) -> Result<Json, Malformed> {
    let text = std::str::from_utf8(payload).map_err(|_| Malformed::new("must be UTF-8"))?;
    let mut reader = Reader { rest: text };
    let value = reader.value(DEPTH).ok_or_else(not_json)?;
    reader.space();
    if reader.rest.is_empty() { Ok(value) } else { Err(not_json()) }
}

fn not_json() -> Malformed {
    Malformed::new("must be JSON")
}

struct Reader<'a> {
    rest: &'a str,
}

/// Of every function: none = it is no JSON.
impl<'a> Reader<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Whether the text goes on so; then it is behind that.
    fn takes(&mut self, word: &str) -> bool {
        let behind = self.rest.strip_prefix(word);
        self.rest = behind.unwrap_or(self.rest);
        behind.is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.space();
        let words = [
            ("null", Json::Null),
            ("true", Json::Bool(true)),
            ("false", Json::Bool(false)),
            ("NaN", Json::Float(f64::NAN)),
            ("Infinity", Json::Float(f64::INFINITY)),
            ("-Infinity", Json::Float(f64::NEG_INFINITY)),
        ];
        match self.rest.bytes().next()? {
            b'"' => self.text().map(Json::Text),
            b'[' => self.array(depth.checked_sub(1)?),
            b'{' => self.object(depth.checked_sub(1)?),
            b'0'..=b'9' => self.number(),
            b'-' if !self.rest.starts_with("-I") => self.number(),
            _ => words.into_iter().find_map(|(word, value)| self.takes(word).then_some(value)),
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        let mut all = Vec::new();
        self.takes("[");
        self.space();
        if self.takes("]") {
            return Some(Json::Array(all));
        }
        loop {
            all.push(self.value(depth)?);
            self.space();
            if self.takes("]") {
                return Some(Json::Array(all));
            }
            self.takes(",").then_some(())?;
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        let mut all = BTreeMap::new();
        self.takes("{");
        self.space();
        if self.takes("}") {
            return Some(Json::Object(all));
        }
        loop {
            self.space();
            let key = self.text()?;
            self.space();
            self.takes(":").then_some(())?;
            all.insert(key, self.value(depth)?);
            self.space();
            if self.takes("}") {
                return Some(Json::Object(all));
            }
            self.takes(",").then_some(())?;
        }
    }

    fn number(&mut self) -> Option<Json> {
        let all = self.rest;
        self.takes("-");
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        let mut is_integer = true;
        if self.takes(".") {
            self.digits()?;
            is_integer = false;
        }
        if self.takes("e") || self.takes("E") {
            let _sign = self.takes("+") || self.takes("-");
            self.digits()?;
            is_integer = false;
        }
        let length = all.len().checked_sub(self.rest.len())?;
        let value = all.get(..length)?.parse().ok()?;
        Some(if is_integer { Json::Integer(value) } else { Json::Float(value) })
    }

    /// One digit at least.
    fn digits(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (!digits.is_empty()).then_some(digits)
    }

    fn text(&mut self) -> Option<String> {
        self.takes("\"").then_some(())?;
        let mut out = String::new();
        loop {
            let end = self.rest.find(|c: char| c == '"' || c == '\\' || c < ' ')?;
            let (plain, rest) = self.rest.split_at_checked(end)?;
            out.push_str(plain);
            self.rest = rest;
            if self.takes("\"") {
                return Some(out);
            }
            self.takes("\\").then_some(())?;
            out.push(self.escaped()?);
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let mut rest = self.rest.chars();
        let kind = rest.next()?;
        self.rest = rest.as_str();
        Some(match kind {
            '"' | '\\' | '/' => kind,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => match self.unit()? {
                // Half of a pair: alone it is no character.
                high @ 0xd800..0xdc00 => {
                    self.takes("\\u").then_some(())?;
                    let low = self.unit().filter(|low| (0xdc00..0xe000).contains(low))?;
                    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?
                }
                unit => char::from_u32(unit)?,
            },
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u32::from_str_radix(digits, 16).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn same(ours: &Json, theirs: &Value) -> bool {
        match (ours, theirs) {
            (Json::Null, Value::Null) => true,
            (Json::Bool(ours), Value::Bool(theirs)) => ours == theirs,
            (Json::Integer(ours), Value::Number(theirs)) => {
                !theirs.is_f64() && Some(*ours) == theirs.as_f64()
            }
            (Json::Float(ours), Value::Number(theirs)) => theirs.is_f64() && Some(*ours) == theirs.as_f64(),
            (Json::Text(ours), Value::String(theirs)) => ours == theirs,
            (Json::Array(ours), Value::Array(theirs)) => {
                ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs))
            }
            (Json::Object(ours), Value::Object(theirs)) => {
                ours.len() == theirs.len()
                    && ours.iter().all(|(key, ours)| theirs.get(key).is_some_and(|theirs| same(ours, theirs)))
            }
            _ => false,
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            // With few digits, so that serde_json reads it exactly, too.
            (-1_000_000_i32..1_000_000).prop_map(|n| Value::from(f64::from(n) / 1024.0)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_others_write_is_read_as_they_read_it(value in any_json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let ours = parse(text.unwrap().as_bytes()).unwrap();
            prop_assert!(same(&ours, &value), "{:?} {}", ours, value);
        }

        #[test]
        fn what_is_no_json_elsewhere_is_none_here_but_for_three_words(text in r#"[-\[\]{},:"\\u0-9a-fetrnl.+E \n]{0,24}"#) {
            if let Ok(ours) = parse(text.as_bytes()) {
                // A float that is too large is infinite to Python, and an error to serde_json.
                let theirs = serde_json::from_str::<Value>(&text);
                prop_assert!(theirs.is_ok() || format!("{ours:?}").contains("inf"), "{}", text);
            } else {
                prop_assert!(serde_json::from_str::<Value>(&text).is_err(), "{}", text);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }

    #[test]
    fn pythons_words_are_numbers() {
        assert!(matches!(parse(b"NaN"), Ok(Json::Float(value)) if value.is_nan()));
        assert_eq!(parse(b" Infinity\n"), Ok(Json::Float(f64::INFINITY)));
        assert_eq!(parse(b"[-Infinity]"), Ok(Json::Array(vec![Json::Float(f64::NEG_INFINITY)])));
        assert_eq!(parse(b"1e999"), Ok(Json::Float(f64::INFINITY)));
        for wrong in
            ["nan", "+Infinity", "-NaN", "Inf", "-Inf", "NaNs", "'a'", "\u{feff}1", "01", "1.", ".5", "-"]
        {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_one_wins() {
        let twice = parse(br#"{"a": {"deep": [1]}, "\u0061": 2.0}"#).unwrap();
        assert_eq!(twice, Json::Object([("a".to_owned(), Json::Float(2.0))].into()));
    }

    #[test]
    fn numbers_are_exact_and_texts_whole() {
        assert_eq!(parse(b"0.30000000000000004"), Ok(Json::Float(0.1 + 0.2)));
        assert_eq!(parse(b"-7.4111e-309"), Ok(Json::Float(-7.4111e-309)));
        assert_eq!(parse(br#""\ud83d\udd25\n\u00b0""#), Ok(Json::Text("\u{1f525}\n\u{b0}".to_owned())));
        for wrong in
            [&br#""\ud83d""#[..], br#""\udd25\ud83d""#, b"\"\n\"", br#""\u+123""#, br#""\x41""#, b"\"\xff\""]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        let deep = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
        assert!(
            parse(&deep(DEPTH)).is_ok() && parse(&deep(DEPTH + 1)).is_err() && parse(&deep(100_000)).is_err()
        );
    }
}
