//! A message as a storage plugin gets it: with its place in the log.

use std::sync::Arc;

use bytes::Bytes;
use weir_contract::packed::{self, put, put_text, put_u64, tag};

use crate::message::{Message, Stored};

/// The message with its place among the host-owned fields, tags ascending.
pub(super) fn for_plugin(stored: &Stored) -> Message {
    let message = &stored.message;
    let mut meta = Vec::with_capacity(message.meta.len() + 64);
    let mut placed = false;
    let mut place = |meta: &mut Vec<u8>| {
        if !std::mem::replace(&mut placed, true) {
            put_u64(meta, tag::EPOCH, stored.place.epoch);
            put_u64(meta, tag::OFFSET, stored.place.offset);
            put_text(meta, tag::LOG, &stored.place.log);
        }
    };
    for (field, value) in packed::fields(&message.meta).flatten() {
        if field > tag::EPOCH {
            place(&mut meta);
        }
        put(&mut meta, field, value);
    }
    place(&mut meta);
    Message { topic: Arc::clone(&message.topic), meta: Bytes::from(meta), payload: message.payload.clone() }
}
