//! What serde says of a wrong value, in the words of a configuration file instead of those of Rust.

/// `found X, expected Y` of whatever serde says; what is not known stays as it is.
pub(super) fn plain(message: &str) -> String {
    let mistaken = ["invalid type: ", "invalid value: ", "invalid length "];
    if let Some(rest) = mistaken.iter().find_map(|start| message.strip_prefix(start))
        && let Some((found, wanted)) = rest.split_once(", expected ")
    {
        return format!("found {}, expected {}", value(found), kind(wanted));
    }
    if let Some((field, rest)) = quoted(message, "missing field `") {
        return format!("the key `{field}` is missing{rest}");
    }
    if let Some((field, rest)) = quoted(message, "duplicate field `") {
        return format!("the key `{field}` stands there twice{rest}");
    }
    if let Some((variant, rest)) = quoted(message, "unknown variant `") {
        return format!("found {variant:?}{rest}");
    }
    match message {
        "wanted string or table" => "expected a text in quotes".to_owned(),
        message => message.to_owned(),
    }
}

fn quoted<'m>(message: &'m str, start: &str) -> Option<(&'m str, &'m str)> {
    message.strip_prefix(start)?.split_once('`')
}

/// A value as it stands in the file.
fn value(found: &str) -> &str {
    let named = ["boolean `", "integer `", "floating point `", "character `"];
    if let Some(rest) = named.iter().find_map(|start| found.strip_prefix(start)) {
        return rest.trim_end_matches('`');
    }
    match found {
        "sequence" => "a list",
        "map" => "a table",
        found => found.strip_prefix("string ").unwrap_or(found),
    }
}

/// What is accepted. Whatever has a name of its own is a table.
fn kind(wanted: &str) -> &str {
    match wanted {
        "a boolean" => "true or false",
        "a string" | "string" | "str" | "path string" => "a text in quotes",
        "a sequence" => "a list, in [ ]",
        "a map" | "map" => "a table, in { }",
        "f32" | "f64" => "a number",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "a nonzero u16" => "a whole number, 1 to 65535",
        wanted if wanted.starts_with("struct ") => "a table, in { } or below its own [ ]",
        wanted => wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_speaks_rust() {
        for (said, wanted) in [
            (
                "invalid type: boolean `true`, expected struct Tls",
                "found true, expected a table, in { } or below its own [ ]",
            ),
            ("invalid type: string \"x\", expected a sequence", "found \"x\", expected a list, in [ ]"),
            ("invalid type: sequence, expected a string", "found a list, expected a text in quotes"),
            ("invalid type: map, expected a boolean", "found a table, expected true or false"),
            (
                "invalid type: floating point `1.5`, expected usize",
                "found 1.5, expected a whole number, 0 or more",
            ),
            ("invalid value: integer `-1`, expected u16", "found -1, expected a whole number, 0 or more"),
            (
                "invalid value: integer `0`, expected a nonzero u16",
                "found 0, expected a whole number, 1 to 65535",
            ),
            ("missing field `key`", "the key `key` is missing"),
            ("unknown variant `x`, expected `a` or `b`", "found \"x\", expected `a` or `b`"),
            ("anything else", "anything else"),
        ] {
            assert_eq!(plain(said), wanted, "{said}");
        }
    }
}
