//! What the rules of the configuration are to the store, the logs and the router.

use weir_contract::topic::Pattern;

use crate::config::{Config, DeliveryRule, LogRule, Overflow};
use crate::store::{LogOptions, StoreOptions};

/// How the store of this configuration is opened, whoever opens it: its logs are kept as it says.
pub(crate) fn store_options(config: &Config) -> StoreOptions {
    let logs = config.logs.iter().map(log_options).collect();
    let free_floor_bytes = u64::try_from(config.free_floor).unwrap_or(u64::MAX);
    StoreOptions { logs, free_floor_bytes, ..StoreOptions::default() }
}

fn log_options(rule: &LogRule) -> LogOptions {
    LogOptions {
        max_age: rule.max_age,
        max_bytes: rule.max_bytes,
        max_messages: rule.max_messages,
        hold_max_bytes: rule.hold_max_bytes.unwrap_or(u64::MAX),
        is_input: rule.record_input,
        ..LogOptions::new(&rule.folder())
    }
}

/// The topics of the logs of input, by position.
pub(super) fn recorded(rules: &[LogRule]) -> Vec<(usize, Vec<Pattern>)> {
    let inputs = rules.iter().enumerate().filter(|(_, rule)| rule.record_input);
    inputs.map(|(at, rule)| (at, patterns(&rule.topics))).collect()
}

pub(super) fn delivery(rule: &DeliveryRule) -> Vec<(Pattern, Overflow)> {
    patterns(&rule.topics).into_iter().map(|pattern| (pattern, rule.overflow)).collect()
}

/// The configuration has checked them.
pub(super) fn patterns(topics: &[String]) -> Vec<Pattern> {
    topics.iter().filter_map(|topic| Pattern::parse(topic).ok()).collect()
}
