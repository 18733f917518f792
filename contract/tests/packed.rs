//! The packed encoding against the vectors of `wit/vectors/meta.json`, and against arbitrary input.

#![expect(clippy::expect_used, reason = "helpers of tests may fail loudly")]

use proptest::prelude::*;
use weir_contract::packed::{
    self, MAX_META, check_output, fields, first, flag_of, named, publisher_fields, put, put_flag, put_named,
    put_text, put_u64, tag, text, u64_of, value_of,
};

fn vectors() -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/vectors/meta.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("the vectors are there"))
        .expect("and are JSON")
}

fn unhex(value: &serde_json::Value) -> Vec<u8> {
    let text = value.as_str().expect("a hexadecimal text");
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex")).collect()
}

fn list(value: &serde_json::Value) -> &Vec<serde_json::Value> {
    value.as_array().expect("a list")
}

#[test]
fn good_vectors_decode_and_encode() {
    for vector in list(&vectors()["good"]) {
        let blob = unhex(&vector["blob"]);
        let wanted: Vec<(u8, Vec<u8>)> = list(&vector["fields"])
            .iter()
            .map(|pair| (u8::try_from(pair[0].as_u64().expect("a tag")).expect("a byte"), unhex(&pair[1])))
            .collect();
        let found: Vec<(u8, Vec<u8>)> = fields(&blob)
            .map(|field| field.map(|(tag, value)| (tag, value.to_vec())).expect("good"))
            .collect();
        assert_eq!(found, wanted, "{}", vector["name"]);
        assert_eq!(check_output(&blob), Ok(()), "{}", vector["name"]);
        if !wanted.is_empty() {
            let mut again = Vec::new();
            assert!(wanted.iter().all(|(tag, value)| put(&mut again, *tag, value)));
            assert_eq!(again, blob, "{}", vector["name"]);
        }
    }
}

#[test]
fn bad_vectors_are_refused() {
    for vector in list(&vectors()["bad"]) {
        let refused = check_output(&unhex(&vector["blob"])).expect_err("is malformed");
        assert_eq!(Some(refused.offset as u64), vector["offset"].as_u64(), "{}: {refused}", vector["name"]);
    }
}

#[test]
fn the_worked_example_reads_as_written() {
    let blob = unhex(&vectors()["good"][0]["blob"]);
    assert_eq!(u64_of(&blob, tag::RECEIVED_US), Some(1_795_251_600_000_000));
    assert_eq!(text(&blob, tag::TENANT), Some("main"));
    assert_eq!(text(&blob, tag::NAME), Some("dev-7"));
    assert_eq!(value_of(&blob, tag::HEADER, "unit"), Some("°C"));
    assert!(flag_of(&blob, tag::RETAIN));
    assert_eq!(first(&blob, 0xf0), Some(&b"new"[..]));
    assert_eq!(publisher_fields(&blob).map(|(tag, _)| tag).collect::<Vec<_>>(), [0x80, 0x81, 0x84, 0xf0]);
}

#[test]
fn limits_stand_at_their_edges() {
    let mut blob = vec![1];
    for _ in 0..64 {
        assert!(put_named(&mut blob, tag::HEADER, "h", "v"));
    }
    assert_eq!(check_output(&blob), Ok(()));
    assert!(put_named(&mut blob, tag::HEADER, "h", "v"));
    assert_eq!(check_output(&blob).expect_err("65 headers").reason, "more than 64 headers");

    let mut blob = Vec::new();
    assert!(put(&mut blob, 0xf0, &vec![0; MAX_META - 4]));
    assert_eq!(blob.len(), MAX_META);
    assert_eq!(check_output(&blob), Ok(()));
    blob.push(0xf1);
    assert!(check_output(&blob).is_err());

    assert!(!put(&mut blob, 0xf0, &vec![0; 65_536]));
    assert!(!put_named(&mut blob, tag::HEADER, &"n".repeat(256), ""));
}

#[test]
fn writers_and_readers_agree() {
    let mut blob = Vec::new();
    assert!(put_text(&mut blob, tag::TENANT, "main") && put_u64(&mut blob, tag::OFFSET, 7));
    assert!(put_flag(&mut blob, tag::RETAIN, false) && put_named(&mut blob, tag::ATTRIBUTE, "identity", "ä"));
    assert_eq!(text(&blob, tag::TENANT), Some("main"));
    assert_eq!(u64_of(&blob, tag::OFFSET), Some(7));
    assert!(!flag_of(&blob, tag::RETAIN));
    assert_eq!(named(&blob, tag::ATTRIBUTE).collect::<Vec<_>>(), [("identity", "ä")]);
    assert_eq!((u64_of(&blob, tag::TENANT), text(&blob, tag::NAME)), (None, None));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut blob in proptest::collection::vec(any::<u8>(), 0..300), format in any::<bool>()) {
        if format && let Some(byte) = blob.first_mut() {
            *byte = packed::FORMAT;
        }
        let well_formed = fields(&blob).all(|field| field.is_ok());
        prop_assert!(well_formed || check_output(&blob).is_err());
        for tag in 0..=255 {
            let _ = (first(&blob, tag), text(&blob, tag), u64_of(&blob, tag), named(&blob, tag).count());
        }
        let _ = publisher_fields(&blob).count();
    }

    #[test]
    fn what_was_put_is_read(all in proptest::collection::vec((1_u8..255, proptest::collection::vec(any::<u8>(), 0..80)), 0..20)) {
        let mut blob = vec![packed::FORMAT];
        for (tag, value) in &all {
            prop_assert!(put(&mut blob, *tag, value));
        }
        let read: Vec<_> = fields(&blob).map(|field| field.map(|(tag, value)| (tag, value.to_vec()))).collect();
        prop_assert_eq!(read, all.into_iter().map(Ok).collect::<Vec<_>>());
    }
}
