//! Answers: one page of buckets or points between two times.

mod cursor;
mod when;

use crate::config::{Rules, width};
use crate::series::{self, Aggregate, RAW};
use cursor::Cursor;
use serde::{Deserialize, Serialize};
use weir_plugin::serde_json::{self, Value};
use weir_plugin::{Answer, Pattern, QueryError, Question, Range, Time, state};

/// Bytes of items after which a page ends: an answer may have 1 MiB in all.
const PAGE_BYTES: usize = 900 * 1024;

/// Scans per page: a question that matches little of a large range is answered with an early `next`, since a
/// query has one second.
const SCANS: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    bucket: Option<String>,
    from: Option<Value>,
    to: Option<Value>,
    field: Option<String>,
}

#[derive(Serialize)]
struct Item<'a> {
    topic: &'a str,
    field: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<&'a str>,
    time_us: u64,
    #[serde(flatten)]
    value: Numbers,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers {
    Point { value: f64 },
    Bucket { count: u64, min: f64, max: f64, mean: f64, sum: f64 },
}

impl From<f64> for Numbers {
    fn from(value: f64) -> Self {
        Self::Point { value }
    }
}

impl From<Aggregate> for Numbers {
    #[expect(clippy::cast_precision_loss, reason = "a count of more than 2^53 would take centuries")]
    fn from(Aggregate { count, min, max, sum }: Aggregate) -> Self {
        // The sum is rounded, so the quotient may lie a hair outside what it is the mean of. A sum that has
        // become infinite stays so, and is `null` in JSON.
        let mean = sum / count as f64;
        let mean = if mean.is_finite() { mean.clamp(min, max) } else { mean };
        Self::Bucket { count, min, max, mean, sum }
    }
}

/// A question that has been understood.
struct Wanted<'a> {
    pattern: Pattern,
    /// The configured name and length in seconds; none and [`RAW`] for points.
    bucket: Option<&'a str>,
    width: u32,
    from: Time,
    to: Option<Time>,
    field: Option<String>,
    limit: usize,
}

pub(crate) fn answer(rules: &Rules, question: &Question) -> Result<Answer, QueryError> {
    let wanted = Wanted::read(rules, question)?;
    let begin = match &question.cursor {
        Some(bytes) => Some(Cursor::decode(bytes).ok_or_else(cursor::made_up)?),
        None => None,
    };
    let from_start = begin.is_none();
    let answer = wanted.page(begin)?;
    if from_start && answer.items.is_empty() && answer.next.is_none() && !wanted.is_known(rules)? {
        return Err(QueryError::NotFound);
    }
    Ok(answer)
}

impl<'a> Wanted<'a> {
    fn read(rules: &'a Rules, question: &Question) -> Result<Self, QueryError> {
        let pattern = Pattern::parse(&question.topic).map_err(QueryError::Invalid)?;
        let Params { bucket, from, to, field } = question.params()?;
        let (bucket, width) = pick(rules, bucket.as_deref())?;
        if field.as_deref().is_some_and(|field| !field.is_empty() && !field.starts_with('/')) {
            return Err(QueryError::invalid("/field", "a JSON Pointer is accepted, as `/celsius`"));
        }
        let from = from.as_ref().map(|from| when::parse("/from", from)).transpose()?.unwrap_or_default();
        let to = to.as_ref().map(|to| when::parse("/to", to)).transpose()?;
        if to.is_some_and(|to| to <= from) {
            return Err(QueryError::invalid("/to", "a time after `from` is accepted"));
        }
        // The bucket into which `from` falls is wanted too.
        let from = from.bucket(std::time::Duration::from_secs(width.into()));
        Ok(Self { pattern, bucket, width, from, to, field, limit: question.limit })
    }

    fn page(&self, begin: Option<Cursor>) -> Result<Answer, QueryError> {
        let (start, end) = self.range();
        let begin = begin.unwrap_or_else(|| Cursor::at(start.clone()));
        // A cursor that somebody made up does not widen the range.
        let mut at = if begin.key < start { start } else { begin.key.clone() };
        let mut page = Page { wanted: self, answer: Answer::default(), bytes: 0 };
        for _ in 0..SCANS {
            if at >= end {
                return Ok(page.answer);
            }
            let pairs = state::scan(Range::between(&at, &end), state::MAX_SCAN)?;
            let Some((last, _)) = pairs.last() else { return Ok(page.answer) };
            let next = self.beyond(last)?;
            for (key, value) in &pairs {
                let behind = begin.field.as_deref().filter(|_| *key == begin.key);
                if let Some(cursor) = page.take(key, value, behind)? {
                    page.answer.next = Some(cursor.encode());
                    return Ok(page.answer);
                }
            }
            at = next;
        }
        page.answer.next = Some(Cursor::at(at).encode());
        Ok(page.answer)
    }

    /// The keys to look at: all that a literal topic wants, or what begins as the pattern does.
    fn range(&self) -> (Vec<u8>, Vec<u8>) {
        let prefix = self.pattern.literal_prefix();
        if self.pattern.is_literal() {
            let end = self.to.map(|to| series::place(self.width, prefix, to));
            let end = end.unwrap_or_else(|| series::after_topic(self.width, prefix));
            return (series::place(self.width, prefix, self.from), end);
        }
        // No byte of UTF-8 is so high.
        let end = [series::topics(self.width, prefix).as_slice(), &[0xff]].concat();
        (series::topics(self.width, prefix), end)
    }

    /// Where to look on behind a key, passing by what is not wanted.
    fn beyond(&self, last: &[u8]) -> Result<Vec<u8>, QueryError> {
        let (topic, time) = parse(last)?;
        if !self.pattern.matches(topic) || self.to.is_some_and(|to| time >= to) {
            return Ok(series::after_topic(self.width, topic));
        }
        let next = [last, &[0]].concat();
        Ok(if time < self.from { series::place(self.width, topic, self.from).max(next) } else { next })
    }

    /// Whether anything is kept of a literal topic, in whatever length and of whatever time.
    fn is_known(&self, rules: &Rules) -> Result<bool, QueryError> {
        if !self.pattern.is_literal() {
            return Ok(true);
        }
        for width in std::iter::once(RAW).chain(rules.buckets.iter().map(|bucket| bucket.width_s)) {
            let start = series::place(width, self.pattern.as_str(), Time::default());
            let end = series::after_topic(width, self.pattern.as_str());
            if !state::scan(Range::between(start, end), 1)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The bucket of this name or length; the shortest if none is named.
fn pick<'a>(rules: &'a Rules, named: Option<&str>) -> Result<(Option<&'a str>, u32), QueryError> {
    let found = match named {
        Some("raw") => None,
        Some(name) => rules.buckets.iter().find(|bucket| width(name) == Some(bucket.width_s)),
        None => rules.buckets.first(),
    };
    match found {
        Some(bucket) => Ok((Some(&bucket.name), bucket.width_s)),
        None if named.is_none_or(|name| name == "raw") && rules.raw_age.is_some() => Ok((None, RAW)),
        None => {
            let raw = rules.raw_age.map(|_| "raw");
            let kept: Vec<_> = raw.into_iter().chain(rules.buckets.iter().map(|b| b.name.as_str())).collect();
            Err(QueryError::invalid("/bucket", format!("accepted are {}", kept.join(", "))))
        }
    }
}

/// A page being filled.
struct Page<'a> {
    wanted: &'a Wanted<'a>,
    answer: Answer,
    bytes: usize,
}

impl Page<'_> {
    /// Takes what is wanted of a pair, of its fields only those behind `behind`. A cursor: the page is full.
    fn take(&mut self, key: &[u8], value: &[u8], behind: Option<&str>) -> Result<Option<Cursor>, QueryError> {
        let (topic, time) = parse(key)?;
        let wanted = self.wanted;
        if time < wanted.from || wanted.to.is_some_and(|to| time >= to) || !wanted.pattern.matches(topic) {
            return Ok(None);
        }
        let mut last = behind.map(str::to_owned);
        for (name, numbers) in numbers(wanted.width, value)? {
            let is_wanted = wanted.field.as_ref().is_none_or(|field| *field == name);
            if !is_wanted || behind.is_some_and(|behind| name.as_str() <= behind) {
                continue;
            }
            let item =
                Item { topic, field: &name, bucket: wanted.bucket, time_us: time.micros(), value: numbers };
            let item = serde_json::to_string(&item)?;
            self.bytes += item.len();
            if self.answer.items.len() >= wanted.limit || self.bytes > PAGE_BYTES {
                return Ok(Some(Cursor { key: key.to_vec(), field: last }));
            }
            self.answer.items.push(item);
            last = Some(name);
        }
        Ok(None)
    }
}

fn numbers(width: u32, value: &[u8]) -> Result<Vec<(String, Numbers)>, QueryError> {
    fn all<P: series::Part + Into<Numbers>>(value: &[u8]) -> Option<Vec<(String, Numbers)>> {
        let fields = series::decode::<P>(value)?.into_iter();
        Some(fields.map(|(name, part)| (name, part.into())).collect())
    }
    let fields = if width == RAW { all::<f64>(value) } else { all::<Aggregate>(value) };
    fields.ok_or_else(unreadable)
}

fn parse(key: &[u8]) -> Result<(&str, Time), QueryError> {
    series::parse(key).ok_or_else(unreadable)
}

fn unreadable() -> QueryError {
    QueryError::Internal("what is stored cannot be read".to_owned())
}
