//! `$SYS`: what the router says of itself to MQTT clients.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS, SubscribeReasonCode};
use serde_json::json;
use weir::config::Mqtt;

use crate::harness::{Router, Setup, within};

async fn client(router: &Router, name: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(name, "127.0.0.1", router.reach.gateways["mqtt"].port());
    options.set_credentials(name, "correct horse");
    AsyncClient::new(options, 10)
}

async fn packet(events: &mut EventLoop) -> Packet {
    let next = async {
        loop {
            if let Event::Incoming(packet) = events.poll().await.expect("a connection") {
                return packet;
            }
        }
    };
    within("a packet", next).await
}

/// Subscribes, and says how that was answered.
async fn subscribe(events: &mut EventLoop, client: &AsyncClient, pattern: &str) -> SubscribeReasonCode {
    client.subscribe(pattern, QoS::AtLeastOnce).await.unwrap();
    loop {
        if let Packet::SubAck(ack) = packet(events).await {
            return ack.return_codes[0];
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_subscribe_is_told_at_once_and_then_again() {
    let setup = Setup::keyed().config(|config| {
        let sys_interval = Duration::from_secs(1);
        let listen = "127.0.0.1:0".parse().unwrap();
        config.mqtt = Some(Mqtt { listen, sys_interval, ..Mqtt::default() });
    });
    let router = setup.start().await;
    for (name, may) in [("may", json!(["$SYS/#"])), ("not", json!(["#"]))] {
        let login =
            json!({"name": name, "password": "correct horse", "publish": ["#", "$SYS/#"], "subscribe": may});
        assert_eq!(router.admin("POST", "/v1/logins", &login.to_string()).await.status, 201);
    }
    let (other, mut others) = client(&router, "not").await;
    assert_eq!(subscribe(&mut others, &other, "$SYS/#").await, SubscribeReasonCode::Failure);
    let (may, mut events) = client(&router, "may").await;
    assert_ne!(subscribe(&mut events, &may, "$SYS/broker/+/connected").await, SubscribeReasonCode::Failure);
    for retained in [true, false] {
        let Packet::Publish(said) = packet(&mut events).await else { panic!("no PUBLISH") };
        assert_eq!((said.topic.as_str(), said.retain), ("$SYS/broker/clients/connected", retained));
        assert_eq!(said.payload, "2");
    }
    assert_ne!(subscribe(&mut events, &may, "$SYS/#").await, SubscribeReasonCode::Failure);
    let mut wanted = vec![
        "version",
        "uptime",
        "clients/total",
        "messages/received",
        "messages/sent",
        "bytes/received",
        "subscriptions/count",
        "retained messages/count",
        "load/bytes/received/1min",
    ];
    while !wanted.is_empty() {
        if let Packet::Publish(said) = packet(&mut events).await {
            wanted.retain(|topic| said.topic != format!("$SYS/broker/{topic}"));
        }
    }
    // Nobody else says anything there, whatever its scopes.
    may.publish("$SYS/broker/version", QoS::AtLeastOnce, true, "mine").await.unwrap();
    let published = router.admin("GET", "/v1/retained", "").await;
    assert!(!published.text.contains("$SYS"), "{published:?}");
    loop {
        match packet(&mut events).await {
            Packet::Publish(said) => assert_ne!(said.payload, "mine"),
            Packet::PubAck(_) => break,
            _ => {}
        }
    }
    router.stop().await;
}
