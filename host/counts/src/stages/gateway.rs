//! Bytes of the native protocol and of MQTT.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::Version;
use weir::gateway::{mqtt, native};
use weir::message::{Place, Routed, Run};

use super::ROUND;
use crate::counter::counted;
use crate::material::{PAYLOAD, TOPIC, message, session};

/// A frame of the native protocol becomes a publish.
pub fn read_publish() -> Box<dyn FnMut()> {
    let frame = format!(r#"{{"action":"publish","id":1234,"topic":"{TOPIC}","data":{PAYLOAD}}}"#);
    let frame = Bytes::from(frame);
    let before = Arc::from(TOPIC);
    Box::new(move || {
        counted(|| {
            for _ in 0..ROUND {
                let publish = native::read_publish(black_box(&frame), Some(&before)).expect("a publish");
                assert_eq!(black_box(publish).payload.len(), PAYLOAD.len());
            }
        });
    })
}

/// Routed messages that go together become frames of the native protocol, shared by all their readers.
pub fn write_deliveries() -> Box<dyn FnMut()> {
    Box::new(move || {
        let routed: Vec<_> = routed().into_iter().map(Arc::new).collect();
        let run = Run::of(&routed).expect("messages that go together");
        assert_eq!(run.messages().len(), ROUND);
        counted(|| {
            assert!(black_box(native::deliveries(black_box(&run))).len() > PAYLOAD.len() * ROUND);
        });
    })
}

/// A routed message that goes alone becomes a frame.
pub fn write_delivery() -> Box<dyn FnMut()> {
    Box::new(move || {
        let routed = routed();
        counted(|| {
            for routed in &routed {
                assert!(black_box(native::shared_delivery(black_box(routed))).len() > PAYLOAD.len());
            }
        });
    })
}

/// The same for clients of MQTT 5.
pub fn write_mqtt_delivery() -> Box<dyn FnMut()> {
    Box::new(move || {
        let routed = routed();
        counted(|| {
            for routed in &routed {
                assert!(
                    black_box(mqtt::shared_packet(Version::V5_0, black_box(routed))).len() > PAYLOAD.len()
                );
            }
        });
    })
}

/// Messages that have no frame yet.
fn routed() -> Vec<Routed> {
    let message = message(&session("publisher"), TOPIC);
    let place = |offset| Place { log: "default".into(), epoch: 1, offset };
    (0..ROUND as u64).map(|at| Routed::new(message.clone(), Some(place(1_000_000 + at)))).collect()
}
