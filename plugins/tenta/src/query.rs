//! Answers about one sensor.

mod acknowledgments;
mod groups;
mod means;
mod number;
mod page;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use weir_plugin::{Answer, QueryError, Question, Time};
use weir_tenta_messages::{Kind, Timestamp};

use crate::leaves::Table;

/// Bytes of items after which a page ends: an answer may have 1 MiB in all.
const PAGE_BYTES: usize = 900 * 1024;

/// Which way a page lies from its cursor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    #[default]
    Next,
    Previous,
}

/// Of measurements and logs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(default)]
    direction: Direction,
    creation_timestamp: Option<f64>,
    #[serde(default)]
    aggregate: bool,
    now: Option<f64>,
}

pub(crate) fn answer(question: &Question) -> Result<Answer, QueryError> {
    let topic = question.topic.as_str();
    let Some((kind, _)) = Kind::of(topic).filter(|_| !topic.contains(['+', '#'])) else {
        let accepted =
            "accepted are measurements/ID, logs/ID and acknowledgments/ID, behind a base if there is one";
        return Err(QueryError::invalid("", accepted));
    };
    let table = match kind {
        Kind::Acknowledgments => return acknowledgments::answer(question),
        Kind::Measurements => Table::Measurements,
        Kind::Logs => Table::Logs,
    };
    let params: Params = question.params()?;
    match (params.aggregate, table) {
        (true, Table::Measurements) => means::answer(question, now(&params)),
        (true, Table::Logs) => groups::answer(question, now(&params)),
        (false, _) => page::answer(question, table, &params),
    }
}

/// What the asker calls now, else the clock: only who asks looks at it, what is stored never depends on it.
fn now(params: &Params) -> Time {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let given = |seconds| u64::try_from(Timestamp::nearest(seconds).micros()).unwrap_or_default();
    let since_1970 = params.now.map_or_else(clock, |seconds| Duration::from_micros(given(seconds)));
    Time::default().after(since_1970)
}

fn unreadable() -> QueryError {
    QueryError::Internal("what is stored cannot be read".to_owned())
}

fn made_up() -> QueryError {
    QueryError::invalid("", "the cursor is none of ours: the `next` of an earlier answer is accepted")
}
