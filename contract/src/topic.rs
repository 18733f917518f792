//! Topics, and the patterns that match them, by MQTT's rules (3.1.1 and 5, section 4.7).

mod error;
mod pattern;

pub use error::TopicError;
pub use pattern::Pattern;

/// Most bytes of a topic or a pattern.
pub const MAX_TOPIC_BYTES: usize = 512;

/// Most levels of a topic or a pattern: `a/b/c` has three.
pub const MAX_LEVELS: usize = 32;

/// Most bytes of a principal's name, see [`check_name`].
pub const MAX_NAME_BYTES: usize = 128;

/// Whether `topic` is one that a message can have: 1 to [`MAX_TOPIC_BYTES`] bytes, at most [`MAX_LEVELS`]
/// levels, no NUL, `+` or `#`. Levels may be empty, also the first and the last.
///
/// A leading `$` passes: who may publish below the router's own topics is a question of rights, not of
/// syntax. See [`is_reserved`].
pub fn check(topic: &str) -> Result<(), TopicError> {
    check_size(topic)?;
    // Bytes, since no other character has one of these in it.
    match topic.bytes().position(|byte| matches!(byte, b'\0' | b'+' | b'#')) {
        Some(at) => Err(TopicError::Forbidden { at }),
        None => Ok(()),
    }
}

/// Whether a topic or a pattern begins with `$`, and so belongs to the router (`$SYS/…`, `$inbox/…`). No
/// pattern with a wildcard as its first level matches such a topic.
pub fn is_reserved(topic: &str) -> bool {
    topic.starts_with('$')
}

/// Whether `name` may be a principal's name: 1 to [`MAX_NAME_BYTES`] bytes of one topic level, that is
/// without `/`, `+`, `#` and NUL, and no `$` in front.
///
/// The name replaces `{principal}` in scopes ([`fill`]); a name that is not one plain level would widen them.
pub fn check_name(name: &str) -> Result<(), TopicError> {
    if name.is_empty() {
        return Err(TopicError::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(TopicError::TooLong { bytes: name.len(), most: MAX_NAME_BYTES });
    }
    if is_reserved(name) {
        return Err(TopicError::Forbidden { at: 0 });
    }
    match name.find(['\0', '+', '#', '/']) {
        Some(at) => Err(TopicError::Forbidden { at }),
        None => Ok(()),
    }
}

/// `pattern` with each `{principal}` and `{tenant}` replaced, also where they are only a part of a level.
///
/// One pass: what was put in is not looked at again, so a principal named `{tenant}` stays one. Both names
/// must have passed [`check_name`], else they can widen the pattern.
pub fn fill(pattern: &str, principal: &str, tenant: &str) -> String {
    let mut filled = String::with_capacity(pattern.len() + principal.len());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        rest = if let Some(tail) = after.strip_prefix("principal}") {
            filled.push_str(principal);
            tail
        } else if let Some(tail) = after.strip_prefix("tenant}") {
            filled.push_str(tenant);
            tail
        } else {
            filled.push('{');
            after
        };
    }
    filled.push_str(rest);
    filled
}

/// Any text as one topic level: `%`, `/`, `+`, `#`, control characters and a `$` in front are
/// percent-encoded, byte by byte, so that different texts stay different. An empty text stays empty, and the
/// length is the caller's to limit.
pub fn encode_level(text: &str) -> String {
    let mut level = String::with_capacity(text.len());
    for (at, letter) in text.char_indices() {
        if matches!(letter, '%' | '/' | '+' | '#') || letter.is_control() || (at == 0 && letter == '$') {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                level.push_str(&format!("%{byte:02X}"));
            }
        } else {
            level.push(letter);
        }
    }
    level
}

/// The limits that topics and patterns share.
fn check_size(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_TOPIC_BYTES {
        return Err(TopicError::TooLong { bytes: text.len(), most: MAX_TOPIC_BYTES });
    }
    // Short texts, which most are, have too few bytes for too many levels.
    if text.len() < MAX_LEVELS {
        return Ok(());
    }
    let levels = text.bytes().filter(|byte| *byte == b'/').count() + 1;
    if levels > MAX_LEVELS { Err(TopicError::TooManyLevels { levels }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_topic_is() {
        for good in ["a", "a/b", "/", "/a", "a//b", "a/", "$SYS/x", "°/ä", &"x".repeat(512), &"/".repeat(31)]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert_eq!(check(""), Err(TopicError::Empty));
        assert_eq!(check(&"x".repeat(513)), Err(TopicError::TooLong { bytes: 513, most: 512 }));
        assert_eq!(check(&"/".repeat(32)), Err(TopicError::TooManyLevels { levels: 33 }));
        assert_eq!(check("a/+"), Err(TopicError::Forbidden { at: 2 }));
        assert_eq!(check("a#"), Err(TopicError::Forbidden { at: 1 }));
        assert_eq!(check("a\0"), Err(TopicError::Forbidden { at: 1 }));
    }

    #[test]
    fn names_are_one_plain_level() {
        assert_eq!(check_name("dev-7"), Ok(()));
        for bad in ["", "a/b", "+", "#", "a+", "$a", "a\0", &"x".repeat(129)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn encoded_levels_are_levels() {
        assert_eq!(encode_level("a/b+c#d%\0é"), "a%2Fb%2Bc%23d%25%00é");
        assert_eq!(encode_level("$a$"), "%24a$");
        assert_eq!(check_name(&encode_level("$/+#\u{85}")), Ok(()));
    }

    #[test]
    fn fill_replaces_once() {
        assert_eq!(fill("{tenant}/{principal}/#", "dev-7", "main"), "main/dev-7/#");
        assert_eq!(fill("a/x-{principal}-y", "7", "main"), "a/x-7-y");
        assert_eq!(fill("{principal}", "{tenant}", "main"), "{tenant}");
        assert_eq!(fill("{other}/{", "a", "b"), "{other}/{");
    }
}
