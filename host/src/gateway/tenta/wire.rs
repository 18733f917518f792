//! Data as the original writes them.

use serde::Deserialize;
use serde_json::value::RawValue;
use weir_contract::time::rfc3339;

use super::answer::Fault;
use crate::accounts::tenta::Configuration;
use crate::gateway::json::{Object, put_array};

/// Unix microseconds as Unix seconds.
pub(super) fn seconds(at_us: u64) -> f64 {
    // Exact to the microsecond until the year 2255.
    at_us as f64 / 1e6
}

/// Appends a number as Python writes it: whole ones have a fraction, too.
pub(super) fn put_float(out: &mut Vec<u8>, number: f64) {
    let _ = serde_json::to_writer(out, &number);
}

/// What a sensor said of a configuration.
#[derive(Debug, Deserialize)]
pub(super) struct Acknowledgment {
    pub(super) revision: u32,
    acknowledgment_timestamp: f64,
    success: bool,
}

/// One configuration of a list.
pub(super) fn put_configuration(
    out: &mut Vec<u8>,
    configuration: &Configuration,
    acknowledged: Option<&Acknowledgment>,
) {
    let mut object = Object::begin(out);
    object.raw("value", &configuration.value);
    object.number("revision", u64::from(configuration.revision));
    put_float(object.key("creation_timestamp"), seconds(configuration.created_us));
    match configuration.published_us {
        Some(at) => put_float(object.key("publication_timestamp"), seconds(at)),
        None => object.raw("publication_timestamp", "null"),
    }
    match acknowledged {
        Some(said) => {
            put_float(object.key("acknowledgment_timestamp"), said.acknowledgment_timestamp);
            object.flag("success", said.success);
        }
        None => {
            object.raw("acknowledgment_timestamp", "null");
            object.raw("success", "null");
        }
    }
    object.end();
}

/// Items as they came, in a list.
pub(super) fn list(items: &[String]) -> Vec<u8> {
    let mut body = Vec::with_capacity(items.iter().map(|item| item.len() + 1).sum::<usize>() + 2);
    put_array(&mut body, items, |out, item| out.extend_from_slice(item.as_bytes()));
    body
}

/// A log as tenta writes it; hermes has its message as `subject`, and nothing in `details`.
#[derive(Deserialize)]
struct Log<'a> {
    #[serde(borrow)]
    severity: &'a RawValue,
    #[serde(borrow)]
    message: &'a RawValue,
    #[serde(borrow)]
    revision: &'a RawValue,
    #[serde(borrow)]
    creation_timestamp: &'a RawValue,
}

/// Logs as hermes writes them.
pub(super) fn hermes_logs(items: &[String]) -> Result<Vec<u8>, Fault> {
    let read = |item: &String| serde_json::from_str::<Log<'_>>(item).map(|log| log_text(&log));
    let logs = items.iter().map(read).collect::<Result<Vec<_>, _>>().map_err(strange)?;
    Ok(list(&logs))
}

fn log_text(log: &Log<'_>) -> String {
    format!(
        r#"{{"severity":{},"subject":{},"details":"","revision":{},"creation_timestamp":{}}}"#,
        log.severity, log.message, log.revision, log.creation_timestamp
    )
}

/// The means of one attribute.
#[derive(Deserialize)]
struct Aggregate {
    attribute: String,
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    bucket_timestamp: f64,
    average: Mean,
}

/// A number or, where JSON has none, a text: `"Infinity"`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Mean {
    Number(f64),
    Text(String),
}

/// Means by attribute: the time of a bucket is a number, with hermes a text.
pub(super) fn aggregates(items: &[String], hermes: bool) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    let mut object = Object::begin(&mut body);
    for item in items {
        let aggregate: Aggregate = serde_json::from_str(item).map_err(strange)?;
        put_array(object.any_key(&aggregate.attribute), &aggregate.buckets, |out, bucket| {
            let mut object = Object::begin(out);
            match hermes {
                true => object.text("bucket_timestamp", &hour(bucket.bucket_timestamp)),
                false => put_float(object.key("bucket_timestamp"), bucket.bucket_timestamp),
            }
            match &bucket.average {
                Mean::Number(mean) => put_float(object.key("average"), *mean),
                Mean::Text(text) => object.text("average", text),
            }
            object.end();
        });
    }
    object.end();
    Ok(body)
}

/// As PostgreSQL writes a time into JSON.
fn hour(at: f64) -> String {
    // A time before 1970 is 1970, one behind the last is the last.
    let text = rfc3339((at.max(0.0) * 1e6) as u64);
    format!("{}+00:00", text.split('.').next().unwrap_or_default())
}

/// Not the shape that was agreed on.
pub(super) fn strange(error: serde_json::Error) -> Fault {
    tracing::error!(%error, "the storage plugin of [tenta] answered what is no data of tenta's");
    Fault::Internal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_data_are_written_as_the_original_does() {
        let mut out = Vec::new();
        put_float(&mut out, seconds(1_700_000_000_000_000));
        assert_eq!(out, b"1700000000.0");
        assert_eq!(hour(1_682_935_200.0), "2023-05-01T10:00:00+00:00");
        let bucket = |average: &str| {
            format!(r#"{{"attribute":"t","buckets":[{{"bucket_timestamp":3600.0,"average":{average}}}]}}"#)
        };
        let items = [bucket("1.5")];
        let text = |hermes| String::from_utf8(aggregates(&items, hermes).unwrap()).unwrap();
        assert_eq!(text(false), r#"{"t":[{"bucket_timestamp":3600.0,"average":1.5}]}"#);
        assert_eq!(text(true), r#"{"t":[{"bucket_timestamp":"1970-01-01T01:00:00+00:00","average":1.5}]}"#);
        let logs =
            [r#"{"severity":"info","message":"a\"b","revision":null,"creation_timestamp":1.0}"#.to_owned()];
        assert_eq!(
            String::from_utf8(hermes_logs(&logs).unwrap()).unwrap(),
            r#"[{"severity":"info","subject":"a\"b","details":"","revision":null,"creation_timestamp":1.0}]"#
        );
        let endless = String::from_utf8(aggregates(&[bucket(r#""Infinity""#)], false).unwrap()).unwrap();
        assert_eq!(endless, r#"{"t":[{"bucket_timestamp":3600.0,"average":"Infinity"}]}"#);
        assert!(aggregates(&["[]".into()], false).is_err());
    }
}
