//! What no type can say: limits that must not be zero, addresses that collide, patterns that match nothing.

mod bridge;
mod listeners;

pub(super) use bridge::authorities;
pub(super) use listeners::certificate;

use std::collections::HashSet;
use std::time::Duration;

use weir_contract::topic::{Pattern, is_reserved};

use super::{Config, ConfigError, LogRule, Source, Webhook, post_header};

/// Most bytes of a payload that the plugin contract knows.
const CONTRACT_MESSAGE_BYTES: usize = 1 << 20;
/// Whoever lists dead letters reads all of them into memory.
const MAX_DEAD_LETTER_BYTES: usize = 1 << 30;
/// More threads than any machine that this runs on has cores.
const MAX_SHARDS: usize = 1_024;
/// A plugin call that may take longer would hold up its shard for as long.
const MAX_DEADLINE: Duration = Duration::from_secs(60);

/// While a plugin is compiled, no other goes live.
/// Longest life of a session without a connection.
const MAX_SESSION: Duration = Duration::from_secs(30 * 24 * 3_600);
const MAX_COMPILE: Duration = Duration::from_secs(60 * 60);
/// Guests run on the stacks of threads that have 2 MiB.
const MAX_STACK: usize = 1 << 20;

/// A wrong setting: where, and what is accepted.
pub(super) struct Problem {
    path: Vec<String>,
    message: String,
}

impl Problem {
    fn new(path: &[&str], message: impl Into<String>) -> Self {
        Self { path: path.iter().map(|step| (*step).to_owned()).collect(), message: message.into() }
    }

    /// As an error in the file, unless flags or environment set what is wrong.
    pub(super) fn placed(self, source: &Source<'_>, set: &[&str]) -> ConfigError {
        if set.contains(&self.path.join(".").as_str()) {
            return self.unplaced(set);
        }
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        source.error(&path, format!("{}: {}", self.path.join("."), self.message))
    }

    /// As an error in the file, if there is one.
    pub(super) fn placed_or_not(self, source: Option<&Source<'_>>) -> ConfigError {
        match source {
            Some(source) => self.placed(source, &[]),
            None => self.unplaced(&[]),
        }
    }

    /// As an error without a file.
    pub(super) fn unplaced(self, set: &[&str]) -> ConfigError {
        let name = self.path.join(".");
        let from = if set.contains(&name.as_str()) { " (set by a flag or the environment)" } else { "" };
        ConfigError::Setting(format!("{name}{from}: {}", self.message))
    }
}

/// Hands the configuration back when it is sound.
pub(super) fn check(config: &Config) -> Result<Config, Problem> {
    folders(config)?;
    listeners::check(config)?;
    counts(config)?;
    times(config)?;
    logs(&config.logs)?;
    webhooks(config)?;
    config.bridge.mqtt.as_ref().map_or(Ok(()), bridge::check)?;
    trust(config)?;
    for (index, rule) in config.delivery.iter().enumerate() {
        patterns("delivery", index, &rule.topics, "[\"video/#\"]")?;
    }
    logging(config)?;
    Ok(config.clone())
}

fn folders(config: &Config) -> Result<(), Problem> {
    for (name, folder) in [("data", &config.data), ("plugins", &config.plugins)] {
        if folder.as_os_str().is_empty() {
            return Err(Problem::new(&[name], "expected a folder, found an empty path"));
        }
    }
    if config.data == config.plugins {
        return Err(Problem::new(&["plugins"], "must be another folder than `data`"));
    }
    Ok(())
}

fn counts(config: &Config) -> Result<(), Problem> {
    let (limits, plugin) = (&config.limits, &config.plugin);
    let positive = [
        ("limits", "message_bytes", limits.message_bytes),
        ("limits", "subscriptions_per_session", limits.subscriptions_per_session),
        ("limits", "connections", limits.connections),
        ("limits", "queue_messages", limits.queue_messages),
        ("limits", "queue_bytes", limits.queue_bytes),
        ("limits", "request_bytes", limits.request_bytes),
        ("limits", "requests_messages", limits.requests_messages),
        ("plugin", "memory_bytes", plugin.memory_bytes),
        ("plugin", "table_elements", plugin.table_elements),
        ("plugin", "stack_bytes", plugin.stack_bytes),
        ("plugin", "hostcall_bytes", plugin.hostcall_bytes),
        ("plugin", "file_bytes", plugin.file_bytes),
        ("plugin", "output_bytes", plugin.output_bytes),
        ("plugin", "output_messages", plugin.output_messages),
        ("plugin", "pass_messages", plugin.pass_messages),
        ("plugin", "state_bytes", plugin.state_bytes),
        ("compile", "memory_bytes", config.compile.memory_bytes),
        ("compile", "cache_bytes", config.compile.cache_bytes),
        ("dead_letters", "max_letters", config.dead_letters.max_letters),
        ("dead_letters", "max_bytes", config.dead_letters.max_bytes),
        ("outbox", "max_posts", config.outbox.max_posts),
        ("outbox", "max_bytes", config.outbox.max_bytes),
        ("outbox", "max_attempts", usize::try_from(config.outbox.max_attempts).unwrap_or(usize::MAX)),
    ];
    for (table, key, value) in positive {
        if value == 0 {
            return Err(Problem::new(&[table, key], "found 0, expected 1 or more"));
        }
    }
    if limits.message_bytes > CONTRACT_MESSAGE_BYTES {
        let message = format!("found {}, expected at most 1MiB (1048576)", limits.message_bytes);
        return Err(Problem::new(&["limits", "message_bytes"], message));
    }
    if limits.unfinished_bytes < limits.message_bytes {
        let (found, least) = (limits.unfinished_bytes, limits.message_bytes);
        let message =
            format!("found {found}, expected at least message_bytes ({least}): else none would fit");
        return Err(Problem::new(&["limits", "unfinished_bytes"], message));
    }
    let most = config.dead_letters.max_bytes;
    if most > MAX_DEAD_LETTER_BYTES {
        let message = format!("found {most}, expected at most 1GiB (1073741824)");
        return Err(Problem::new(&["dead_letters", "max_bytes"], message));
    }
    for (table, found) in
        [("plugin", plugin.stack_bytes), ("plugin_ceiling", config.plugin_ceiling.stack_bytes.unwrap_or(0))]
    {
        if found > MAX_STACK {
            let message = format!("found {found}, expected at most 1MiB ({MAX_STACK}), half of a thread's");
            return Err(Problem::new(&[table, "stack_bytes"], message));
        }
    }
    if config.shards > MAX_SHARDS {
        let message = format!("found {}, expected 0 (one per core) to {MAX_SHARDS}", config.shards);
        return Err(Problem::new(&["shards"], message));
    }
    Ok(())
}

fn times(config: &Config) -> Result<(), Problem> {
    let (limits, plugin, ceiling) = (&config.limits, &config.plugin, &config.plugin_ceiling);
    let all = [
        ("limits", "first_byte", limits.first_byte, Duration::MAX),
        ("limits", "headers", limits.headers, Duration::MAX),
        ("limits", "body", limits.body, Duration::MAX),
        ("limits", "message", limits.message, Duration::MAX),
        ("limits", "silence", limits.silence, Duration::MAX),
        ("limits", "write", limits.write, Duration::MAX),
        ("plugin", "deadline", plugin.deadline, MAX_DEADLINE),
        ("plugin", "init_deadline", plugin.init_deadline, MAX_DEADLINE),
        ("plugin", "store_deadline", plugin.store_deadline, MAX_DEADLINE),
        ("plugin", "pass_deadline", plugin.pass_deadline, MAX_DEADLINE),
        ("compile", "cpu", config.compile.cpu, MAX_COMPILE),
        ("compile", "deadline", config.compile.deadline, MAX_COMPILE),
        ("outbox", "first_pause", config.outbox.first_pause, Duration::MAX),
        ("outbox", "longest_pause", config.outbox.longest_pause, Duration::MAX),
        ("outbox", "connect", config.outbox.connect, Duration::MAX),
        ("outbox", "timeout", config.outbox.timeout, Duration::MAX),
    ];
    let ceilings = [
        ("plugin_ceiling", "deadline", ceiling.deadline),
        ("plugin_ceiling", "init_deadline", ceiling.init_deadline),
        ("plugin_ceiling", "store_deadline", ceiling.store_deadline),
    ];
    let ceilings =
        ceilings.into_iter().filter_map(|(table, key, value)| Some((table, key, value?, MAX_DEADLINE)));
    let session =
        config.mqtt.iter().map(|mqtt| ("mqtt", "session_expiry_max", mqtt.session_expiry_max, MAX_SESSION));
    for (table, key, value, most) in all.into_iter().chain(ceilings).chain(session) {
        if value.is_zero() {
            return Err(Problem::new(&[table, key], "found no time at all, expected 1ms or more"));
        }
        if value > most {
            return Err(Problem::new(&[table, key], format!("found {value:?}, expected at most {most:?}")));
        }
    }
    let sys = config.mqtt.iter().map(|mqtt| mqtt.sys_interval).find(|every| !every.is_zero());
    if sys.is_some_and(|every| every < Duration::from_secs(1)) {
        let message = format!("found {:?}, expected 0s (never) or at least 1s", sys.unwrap_or_default());
        return Err(Problem::new(&["mqtt", "sys_interval"], message));
    }
    let (first, longest) = (config.outbox.first_pause, config.outbox.longest_pause);
    if first > longest {
        let message = format!("found {first:?}, expected at most longest_pause ({longest:?})");
        return Err(Problem::new(&["outbox", "first_pause"], message));
    }
    Ok(())
}

fn logs(rules: &[LogRule]) -> Result<(), Problem> {
    let mut names = HashSet::new();
    for (index, rule) in rules.iter().enumerate() {
        let at = index.to_string();
        if !is_name(&rule.name) {
            let message = format!("found {:?}, expected {NAME}", rule.name);
            return Err(Problem::new(&["log", &at, "name"], message));
        }
        if !names.insert(rule.name.as_str()) {
            let message = format!("a second log is named {:?}: names must differ", rule.name);
            return Err(Problem::new(&["log", &at, "name"], message));
        }
        patterns("log", index, &rule.topics, "[\"sensors/#\"]")?;
        if let Some(name) = shadow(rule, rules.get(..index).unwrap_or_default()) {
            let message = format!(
                "log {name:?} stands before this one and takes all of its topics: put the narrower one first"
            );
            return Err(Problem::new(&["log", &at, "topics"], message));
        }
        limits_of(rule, &at)?;
    }
    Ok(())
}

/// The first log before this one with which no message would ever reach it.
fn shadow<'a>(rule: &LogRule, before: &'a [LogRule]) -> Option<&'a str> {
    let taken = |topic: &String| {
        let covers = |earlier: &&LogRule| parsed(&earlier.topics).any(|pattern| pattern.covers(topic));
        // Logs of input and the others take nothing from each other.
        let mut before = before.iter().filter(|earlier| earlier.record_input == rule.record_input);
        before.find(covers).map(|earlier| earlier.name.as_str())
    };
    let by: Option<Vec<&str>> = rule.topics.iter().map(taken).collect();
    by?.first().copied()
}

fn meets_a_log(webhook: &Webhook, logs: &[LogRule]) -> bool {
    let kept = |pattern: &Pattern| {
        let reserved = is_reserved(pattern.as_str());
        let mut kept = logs.iter().filter(|log| !log.record_input);
        !reserved && kept.any(|log| parsed(&log.topics).any(|topic| topic.overlaps(pattern)))
    };
    parsed(&webhook.topics).any(|pattern| kept(&pattern))
}

fn parsed(topics: &[String]) -> impl Iterator<Item = Pattern> {
    topics.iter().filter_map(|topic| Pattern::parse(topic).ok())
}

/// The `topics` of the rule with this index.
fn patterns(table: &str, index: usize, topics: &[String], example: &str) -> Result<(), Problem> {
    let at = index.to_string();
    if topics.is_empty() {
        let message = format!("expected at least one pattern, for example {example}");
        return Err(Problem::new(&[table, &at, "topics"], message));
    }
    for (nth, topic) in topics.iter().enumerate() {
        if let Err(error) = Pattern::check(topic) {
            let message = format!("pattern {topic:?} cannot be used: {error}");
            return Err(Problem::new(&[table, &at, "topics", &nth.to_string()], message));
        }
    }
    Ok(())
}

fn limits_of(rule: &LogRule, at: &str) -> Result<(), Problem> {
    let zero = [
        ("max_age", rule.max_age.is_some_and(|age| age.is_zero())),
        ("max_bytes", rule.max_bytes == Some(0)),
        ("max_messages", rule.max_messages == Some(0)),
    ];
    if rule.record_input && rule.max_age.is_none() && rule.max_bytes.is_none() {
        let message = "a log with record_input needs one of max_age and max_bytes, found \"none\" for both";
        return Err(Problem::new(&["log", at, "record_input"], message));
    }
    match zero.iter().find(|(_, zero)| *zero) {
        Some((key, _)) => Err(Problem::new(
            &["log", at, key],
            "found 0, which would keep nothing; expected more, or \"none\" for no limit",
        )),
        None => Ok(()),
    }
}

fn webhooks(config: &Config) -> Result<(), Problem> {
    let mut names = HashSet::new();
    for (index, webhook) in config.webhooks.iter().enumerate() {
        let at = index.to_string();
        let problem = |path: &[&str], message: String| {
            let path: Vec<&str> = ["webhook", &at].into_iter().chain(path.iter().copied()).collect();
            Err(Problem::new(&path, message))
        };
        if !is_name(&webhook.name) {
            return problem(&["name"], format!("found {:?}, expected {NAME}", webhook.name));
        }
        if !names.insert(webhook.name.as_str()) {
            return problem(
                &["name"],
                format!("a second webhook is named {:?}: names must differ", webhook.name),
            );
        }
        if webhook.topics.is_empty() {
            return problem(&["topics"], "expected at least one pattern, for example [\"orders/#\"]".into());
        }
        for (nth, topic) in webhook.topics.iter().enumerate() {
            if let Err(error) = Pattern::check(topic) {
                return problem(
                    &["topics", &nth.to_string()],
                    format!("pattern {topic:?} cannot be used: {error}"),
                );
            }
        }
        if !meets_a_log(webhook, &config.logs) {
            let message = "no [[log]] keeps these topics, so nothing would ever be posted".into();
            return problem(&["topics"], message);
        }
        for (name, text) in &webhook.headers {
            // What the environment has is looked at by who needs it.
            if let Err(error) = post_header(name, text.literal().unwrap_or_default()) {
                return problem(&["headers", name], error.to_string());
            }
        }
        if webhook.max_attempts == Some(0) {
            return problem(&["max_attempts"], "found 0, expected 1 or more".into());
        }
    }
    Ok(())
}

/// Whether the environment has what the headers of webhooks are to be.
pub(super) fn headers(webhooks: &[Webhook]) -> Result<(), Problem> {
    for (index, webhook) in webhooks.iter().enumerate() {
        for (name, text) in &webhook.headers {
            if let Err(why) = Webhook::header(name, text) {
                return Err(Problem::new(&["webhook", &index.to_string(), "headers", name], why));
            }
        }
    }
    Ok(())
}

/// What [`is_name`] accepts, in words.
const NAME: &str = "1 to 63 of a-z, 0-9 and `-`, not beginning with `-`";

/// `[a-z0-9][a-z0-9-]{0,62}`: safe as a folder's name.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(plain)
}

fn trust(config: &Config) -> Result<(), Problem> {
    if config.trust.require_signatures && config.trust.keys.is_empty() {
        let message = "no [[trust.key]] stands below it, so no plugin of the folder would ever be accepted";
        return Err(Problem::new(&["trust", "require_signatures"], message));
    }
    for (index, key) in config.trust.keys.iter().enumerate() {
        if key.kinds.is_empty() {
            let message = "expected at least one of auth, filter, transform, storage";
            return Err(Problem::new(&["trust", "key", &index.to_string(), "kinds"], message));
        }
    }
    Ok(())
}

fn logging(config: &Config) -> Result<(), Problem> {
    // A bare word that is no level would be taken for a module's name, and everything else silenced.
    let level = |word: &str| matches!(word, "error" | "warn" | "info" | "debug" | "trace" | "off");
    let text = &config.logging.level;
    let sound = text.split(',').all(|part| part.contains('=') || level(part.trim()));
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) if sound => Ok(()),
        _ => Err(Problem::new(
            &["logging", "level"],
            format!(
                "found {:?}, expected error, warn, info, debug or trace, or per module as \"info,weir::plugin=debug\"",
                config.logging.level
            ),
        )),
    }
}
