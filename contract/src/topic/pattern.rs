use super::{TopicError, check_size, is_reserved};

/// A checked topic pattern: levels of a topic, `+` for any one level, and `#` as the last level for the
/// level before it and everything below.
///
/// - `a/#` matches `a`, `a/b` and `a/b/c`; `+` matches `a`, but not `a/b`; levels may be empty, so `+/+`
///   matches `/`.
/// - A pattern whose first level is a wildcard matches no topic that begins with `$`.
///
/// Limits: those of a topic ([`super::MAX_TOPIC_BYTES`], [`super::MAX_LEVELS`]).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// Checks a pattern: 1 to 512 bytes, at most 32 levels, no NUL, `+` only as a whole level, `#` only as
    /// the whole last level.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        Self::check(text)?;
        Ok(Self(text.to_owned()))
    }

    /// [`Pattern::parse`] without keeping the pattern.
    pub fn check(text: &str) -> Result<(), TopicError> {
        check_size(text)?;
        if let Some(at) = text.find('\0') {
            return Err(TopicError::Forbidden { at });
        }
        let mut at = 0;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            let whole = level == "+" || (level == "#" && levels.peek().is_none());
            if !whole && level.contains(['+', '#']) {
                return Err(TopicError::Wildcard { at });
            }
            at += level.len() + 1;
        }
        Ok(())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern has no wildcard, and so matches exactly one topic.
    pub fn is_literal(&self) -> bool {
        !self.0.contains(['+', '#'])
    }

    /// Whether a message with this topic is meant. `topic` is taken to be a checked topic.
    pub fn matches(&self, topic: &str) -> bool {
        if is_reserved(topic) && self.leads_with_wildcard() {
            return false;
        }
        let mut levels = topic.split('/');
        for wanted in self.0.split('/') {
            if wanted == "#" {
                return true;
            }
            match levels.next() {
                Some(level) if wanted == "+" || wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Whether this pattern matches **every** topic that `other`, a topic or a pattern, matches. It decides
    /// whether somebody who may read `self` may subscribe to `other`. False when `other` is no pattern.
    pub fn covers(&self, other: &str) -> bool {
        if Self::check(other).is_err() || (is_reserved(other) && self.leads_with_wildcard()) {
            return false;
        }
        // `#` alone is every topic of one or more levels, and so is `+/#`.
        if other == "#" {
            return self.0 == "#" || self.0 == "+/#";
        }
        let mut levels = other.split('/');
        for wide in self.0.split('/') {
            if wide == "#" {
                return true;
            }
            match levels.next() {
                None | Some("#") => return false,
                Some(_) if wide == "+" => {}
                Some(level) if wide == level => {}
                Some(_) => return false,
            }
        }
        levels.next().is_none()
    }

    /// Whether some topic may match both patterns. Never false when there is one.
    pub fn overlaps(&self, other: &Self) -> bool {
        let barred = |a: &Self, b: &Self| a.leads_with_wildcard() && is_reserved(&b.0);
        if barred(self, other) || barred(other, self) {
            return false;
        }
        let (mut mine, mut theirs) = (self.0.split('/'), other.0.split('/'));
        loop {
            match (mine.next(), theirs.next()) {
                // `a/#` matches `a` too.
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (None, _) | (_, None) => return false,
                (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
                _ => return false,
            }
        }
    }

    /// What every topic that matches begins with: `a/` of `a/+/c`, `a` of `a/#` (which matches `a` too), the
    /// whole of a pattern without wildcards. A range scan over this prefix misses no match.
    pub fn literal_prefix(&self) -> &str {
        let end = self.0.find(['+', '#']).unwrap_or(self.0.len());
        let prefix = self.0.get(..end).unwrap_or_default();
        if self.0.ends_with('#') && end + 1 == self.0.len() {
            return prefix.strip_suffix('/').unwrap_or(prefix);
        }
        prefix
    }

    fn leads_with_wildcard(&self) -> bool {
        self.0.starts_with(['+', '#'])
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::str::FromStr for Pattern {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::parse(text)
    }
}

impl AsRef<str> for Pattern {
    fn as_ref(&self) -> &str {
        &self.0
    }
}
