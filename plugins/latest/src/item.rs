use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use weir_plugin::serde_json::{self, value::RawValue};
use weir_plugin::{Message, StoreFailure};

/// Payloads beyond it are not kept: as base64 they would not fit an item.
const MAX_PAYLOAD: usize = 40_000;

/// Most bytes of an item of an answer.
const MAX_ITEM: usize = 64 * 1024;

/// What a query answers with, and what is stored: the JSON text itself, so that a query copies it.
#[derive(Serialize)]
struct Item<'a> {
    topic: &'a str,
    time_us: u64,
    log: Option<&'a str>,
    epoch: Option<u64>,
    offset: Option<u64>,
    from: &'a str,
    #[serde(flatten)]
    payload: Payload<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload<'a> {
    Data(&'a RawValue),
    Text(&'a str),
    Base64(String),
    OmittedBytes(usize),
}

impl<'a> Payload<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        if bytes.len() > MAX_PAYLOAD {
            return Self::OmittedBytes(bytes.len());
        }
        let Ok(text) = std::str::from_utf8(bytes) else { return Self::Base64(STANDARD.encode(bytes)) };
        match serde_json::from_str::<&RawValue>(text) {
            Ok(data) => Self::Data(data),
            Err(_) => Self::Text(text),
        }
    }
}

pub(crate) fn write(message: &Message) -> Result<Vec<u8>, StoreFailure> {
    let mut item = Item {
        topic: message.topic(),
        time_us: message.received().micros(),
        log: message.log(),
        epoch: message.epoch(),
        offset: message.offset(),
        from: message.session().name(),
        payload: Payload::of(message.payload()),
    };
    let mut text = serde_json::to_vec(&item)?;
    // Control characters take six bytes each in JSON.
    if text.len() > MAX_ITEM {
        item.payload = Payload::OmittedBytes(message.payload().len());
        text = serde_json::to_vec(&item)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::serde_json::{Value, json};
    use weir_plugin::testing;

    fn item(payload: impl Into<Vec<u8>>) -> Value {
        let text = write(&testing::message("t", payload).build()).unwrap();
        assert!(text.len() <= MAX_ITEM);
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn payloads_mirror_what_was_published() {
        assert_eq!(item("{\"a\": [1.50]}")["data"], json!({"a": [1.5]}));
        assert_eq!(item("12 monkeys")["text"], json!("12 monkeys"));
        assert_eq!(item("")["text"], json!(""));
        assert_eq!(item([0xff, 0])["base64"], json!("/wA="));
    }

    #[test]
    fn json_goes_through_letter_by_letter() {
        let text = write(&testing::message("t", "{\"n\": 1.50e3}").build()).unwrap();
        assert!(String::from_utf8(text).unwrap().contains("{\"n\": 1.50e3}"));
    }

    #[test]
    fn what_is_too_large_is_told() {
        assert_eq!(item(vec![b'x'; 40_001])["omitted_bytes"], json!(40_001));
        assert_eq!(item(vec![1; 20_000])["omitted_bytes"], json!(20_000));
        assert!(item(vec![0xff; 40_000])["base64"].is_string());
    }
}
