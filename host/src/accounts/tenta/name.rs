//! What users, networks and sensors may be called.

/// Longest name.
const BYTES: usize = 64;

/// Lower-case letters and digits, with single hyphens in between; hermes wants a letter first.
pub fn is_name(name: &str, hermes: bool) -> bool {
    let first = |first: char| first.is_ascii_lowercase() || (!hermes && first.is_ascii_digit());
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let hyphens = name.ends_with('-') || name.contains("--");
    name.starts_with(first) && !hyphens && name.len() <= BYTES && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_flavour() {
        for (name, tenta, hermes) in [
            ("a", true, true),
            ("happy-un1c0rn", true, true),
            ("0-a", true, false),
            ("9", true, false),
            ("", false, false),
            ("-a", false, false),
            ("a-", false, false),
            ("a--b", false, false),
            ("A", false, false),
            ("a_b", false, false),
            ("ä", false, false),
            ("a\n", false, false),
        ] {
            assert_eq!((is_name(name, false), is_name(name, true)), (tenta, hermes), "{name:?}");
        }
        assert!(is_name(&"a".repeat(64), false) && !is_name(&"a".repeat(65), false));
    }
}
