//! Patterns against a matcher that is too simple to be wrong, and `covers` against `matches`.

#![expect(clippy::panic, reason = "helpers of tests may fail loudly")]

use proptest::prelude::*;
use weir_contract::topic::{self, Pattern};

/// MQTT's matching, written for the eye: on lists of levels, by recursion.
fn naive(pattern: &[&str], topic: &[&str]) -> bool {
    match (pattern, topic) {
        (["#"], _) => true,
        ([], []) => true,
        (["+", pattern @ ..], [_, topic @ ..]) => naive(pattern, topic),
        ([wanted, pattern @ ..], [level, topic @ ..]) => wanted == level && naive(pattern, topic),
        _ => false,
    }
}

fn naively(pattern: &str, topic: &str) -> bool {
    let wild = pattern.starts_with(['+', '#']) && topic.starts_with('$');
    !wild && naive(&pattern.split('/').collect::<Vec<_>>(), &topic.split('/').collect::<Vec<_>>())
}

/// Few levels from a small alphabet, so that matches happen.
fn a_topic() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof!["a", "b", "", "\\$s"], 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a topic has a byte", |topic| !topic.is_empty())
}

fn a_pattern() -> impl Strategy<Value = String> {
    (proptest::collection::vec(prop_oneof!["a", "b", "", "\\$s", "\\+", "\\+"], 0..4), any::<bool>())
        .prop_map(|(mut levels, all)| {
            if all || levels.is_empty() {
                levels.push("#".to_owned());
            }
            levels.join("/")
        })
        .prop_filter("a pattern has a byte", |pattern| !pattern.is_empty())
}

fn parsed(text: &str) -> Pattern {
    Pattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

proptest! {
    #[test]
    fn matches_as_the_naive_matcher(pattern in a_pattern(), topic in a_topic()) {
        prop_assert_eq!(parsed(&pattern).matches(&topic), naively(&pattern, &topic), "{} {}", pattern, topic);
    }

    #[test]
    fn covered_topics_match(wide in a_pattern(), narrow in a_pattern(), topic in a_topic()) {
        if parsed(&wide).covers(&narrow) && naively(&narrow, &topic) {
            prop_assert!(naively(&wide, &topic), "{} covers {}, but not {}", wide, narrow, topic);
        }
    }

    #[test]
    fn covers_of_a_topic_is_matches(pattern in a_pattern(), topic in a_topic()) {
        prop_assert_eq!(parsed(&pattern).covers(&topic), naively(&pattern, &topic));
    }

    #[test]
    fn matches_begin_with_the_prefix(pattern in a_pattern(), topic in a_topic()) {
        let pattern = parsed(&pattern);
        prop_assert!(!pattern.matches(&topic) || topic.starts_with(pattern.literal_prefix()));
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,40}", other in "[+#/$a\u{0}é]{0,12}") {
        let _ = (topic::check(&text), topic::check(&other), topic::fill(&text, &other, &text));
        if let (Ok(pattern), Ok(second)) = (Pattern::parse(&other), Pattern::parse(&text)) {
            let _ = (pattern.covers(&text), second.matches(&other), pattern.literal_prefix());
        }
    }
}

/// Every pair of patterns of up to three levels, decided by trying all topics of up to four levels. `c`
/// stands for each level that no pattern names. The empty text is no topic, but is tried too, so that `/#`
/// (whose parent it is) needs no rule of its own.
#[test]
fn covers_is_exact() {
    let topics = lists(&["a", "b", "c", "", "$s"], 4);
    let patterns: Vec<String> = lists(&["a", "+", "#", "$s", ""], 3)
        .into_iter()
        .filter(|text| Pattern::check(text).is_ok())
        .collect();
    for wide in &patterns {
        for narrow in &patterns {
            let every =
                topics.iter().filter(|topic| naively(narrow, topic)).all(|topic| naively(wide, topic));
            assert_eq!(parsed(wide).covers(narrow), every, "{wide} over {narrow}");
        }
    }
}

/// The same for `overlaps`.
#[test]
fn overlaps_is_exact() {
    let topics = lists(&["a", "b", "c", "", "$s"], 4);
    let patterns: Vec<String> = lists(&["a", "+", "#", "$s", ""], 3)
        .into_iter()
        .filter(|text| Pattern::check(text).is_ok())
        .collect();
    let matched: Vec<Vec<bool>> =
        patterns.iter().map(|pattern| topics.iter().map(|topic| naively(pattern, topic)).collect()).collect();
    for (one, by_one) in patterns.iter().zip(&matched) {
        for (other, by_other) in patterns.iter().zip(&matched) {
            let some = by_one.iter().zip(by_other).any(|(a, b)| *a && *b);
            assert_eq!(parsed(one).overlaps(&parsed(other)), some, "{one} and {other}");
        }
    }
}

fn lists(levels: &[&str], most: usize) -> Vec<String> {
    let mut all: Vec<String> = levels.iter().map(ToString::to_string).collect();
    let mut last = all.clone();
    for _ in 1..most {
        last =
            last.iter().flat_map(|head| levels.iter().map(move |level| format!("{head}/{level}"))).collect();
        all.extend(last.iter().cloned());
    }
    all
}

#[test]
fn what_a_pattern_is() {
    for good in ["#", "+", "a/#", "+/+/#", "/", "//", "/+", "$SYS/#", "a b/ü"] {
        assert!(Pattern::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "a+", "a/#/b", "#/a", "a#", "++", "a/b+/c", "a\0", &"/".repeat(32), &"x".repeat(513)] {
        assert!(Pattern::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn prefixes_for_scans() {
    for (pattern, prefix) in
        [("a/+/c", "a/"), ("a/#", "a"), ("#", ""), ("+", ""), ("a/b", "a/b"), ("/#", ""), ("a/+/#", "a/")]
    {
        assert_eq!(parsed(pattern).literal_prefix(), prefix, "{pattern}");
    }
}
