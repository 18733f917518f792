//! The list as rumqttc runs it.

use std::sync::Arc;

use rumqttc::tokio_rustls::rustls::crypto::ring;
use rumqttc::tokio_rustls::rustls::{ClientConfig, RootCertStore};
use rumqttc::{Outgoing, TlsConfiguration, Transport};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use super::{ALL, At, LARGE, TOPICS, each, run, scenarios};
use crate::harness::secure::certificate;
use crate::harness::within;

/// What happens to a client.
#[derive(Debug)]
enum Heard {
    Connected(bool),
    Subscribed,
    /// A PUBLISH of QoS 0 has gone.
    Sent,
    /// One of QoS 1 or 2 is acknowledged to its end.
    Acknowledged,
    Message(Message),
}

#[derive(Debug, PartialEq)]
struct Message {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
}

enum Ask {
    Early(rumqttc::AsyncClient),
    Late(rumqttc::v5::AsyncClient),
}

struct Client {
    ask: Ask,
    heard: Receiver<Heard>,
    messages: Vec<Message>,
    polling: JoinHandle<()>,
    present: bool,
}

/// The two versions are two modules of the same words.
macro_rules! poll {
    ($options:expr, $client:path, $event:path, $packet:path, $topic:expr) => {{
        use $client as AsyncClient;
        use $event as Event;
        use $packet as Packet;
        let (client, mut events) = AsyncClient::new($options, 64);
        let (tell, heard) = channel(1_024);
        let polling = tokio::spawn(async move {
            // It would connect again.
            while let Ok(event) = events.poll().await {
                let heard = match event {
                    Event::Incoming(Packet::ConnAck(packet)) => Heard::Connected(packet.session_present),
                    Event::Incoming(Packet::SubAck(_)) => Heard::Subscribed,
                    Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => Heard::Acknowledged,
                    Event::Incoming(Packet::Publish(packet)) => Heard::Message(Message {
                        topic: $topic(packet.topic),
                        payload: packet.payload.to_vec(),
                        qos: packet.qos as u8,
                        retain: packet.retain,
                    }),
                    Event::Outgoing(Outgoing::Publish(_)) => Heard::Sent,
                    _ => continue,
                };
                say(&tell, heard).await;
            }
        });
        (client, heard, polling)
    }};
}

async fn say(tell: &Sender<Heard>, heard: Heard) {
    // Nobody listens any more.
    let _ = tell.send(heard).await;
}

fn transport(at: At) -> Transport {
    match at.transport {
        "tcp" => return Transport::tcp(),
        "ws" => return Transport::ws(),
        _ => {}
    }
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let config = TlsConfiguration::Rustls(Arc::new(config));
    if at.transport == "wss" {
        Transport::wss_with_config(config)
    } else {
        Transport::tls_with_config(config)
    }
}

/// What rumqttc takes for a host: over WebSocket the whole address.
fn host(at: At) -> String {
    match at.transport {
        scheme @ ("ws" | "wss") => format!("{scheme}://{}/mqtt", at.address),
        _ => at.address.ip().to_string(),
    }
}

impl Client {
    async fn connect(at: At, name: &str, clean: bool, will: bool) -> Self {
        let (host, port) = (host(at), at.address.port());
        let (ask, heard, polling) = if at.version == "5" {
            use rumqttc::v5::{MqttOptions, mqttbytes::QoS, mqttbytes::v5::LastWill};
            let mut options = MqttOptions::new(name, host, port);
            options.set_transport(transport(at)).set_clean_start(clean);
            options.set_session_expiry_interval((!clean).then_some(3_600));
            options.set_max_packet_size(Some(2 << 20));
            if will {
                options.set_last_will(LastWill::new("will/cut", "gone", QoS::AtLeastOnce, false, None));
            }
            let (client, heard, polling) = poll!(
                options,
                rumqttc::v5::AsyncClient,
                rumqttc::v5::Event,
                rumqttc::v5::mqttbytes::v5::Packet,
                |topic: bytes::Bytes| { String::from_utf8(topic.to_vec()).unwrap() }
            );
            (Ask::Late(client), heard, polling)
        } else {
            use rumqttc::{LastWill, MqttOptions, QoS};
            let mut options = MqttOptions::new(name, host, port);
            options.set_transport(transport(at)).set_clean_session(clean);
            options.set_max_packet_size(2 << 20, 2 << 20);
            if will {
                options.set_last_will(LastWill::new("will/cut", "gone", QoS::AtLeastOnce, false));
            }
            let (client, heard, polling) =
                poll!(options, rumqttc::AsyncClient, rumqttc::Event, rumqttc::Packet, |topic: String| topic);
            (Ask::Early(client), heard, polling)
        };
        let mut client = Self { ask, heard, messages: Vec::new(), polling, present: false };
        client.present = client
            .until(|heard| match heard {
                Heard::Connected(present) => Some(*present),
                _ => None,
            })
            .await;
        client
    }

    async fn new(at: At, name: &str) -> Self {
        Self::connect(at, name, true, false).await
    }

    /// Waits for this; messages that come before are kept.
    async fn until<T>(&mut self, mut is_it: impl FnMut(&Heard) -> Option<T>) -> T {
        loop {
            let heard =
                within("an event of rumqttc", self.heard.recv()).await.expect("the connection stands");
            if let Some(found) = is_it(&heard) {
                return found;
            }
            if let Heard::Message(message) = heard {
                self.messages.push(message);
            }
        }
    }

    async fn subscribe(&mut self, pattern: &str, qos: u8) {
        match &self.ask {
            Ask::Early(client) => client.subscribe(pattern, rumqttc::qos(qos).unwrap()).await.unwrap(),
            Ask::Late(client) => {
                client.subscribe(pattern, rumqttc::v5::mqttbytes::qos(qos).unwrap()).await.unwrap();
            }
        }
        self.until(|heard| matches!(heard, Heard::Subscribed).then_some(())).await;
    }

    async fn publish(&mut self, topic: &str, payload: &[u8], qos: u8, retain: bool) {
        match &self.ask {
            Ask::Early(client) => {
                client.publish(topic, rumqttc::qos(qos).unwrap(), retain, payload).await.unwrap();
            }
            Ask::Late(client) => {
                let qos = rumqttc::v5::mqttbytes::qos(qos).unwrap();
                client.publish(topic, qos, retain, payload.to_vec()).await.unwrap();
            }
        }
        self.until(|heard| matches!(heard, Heard::Sent).then_some(())).await;
        if qos > 0 {
            self.until(|heard| matches!(heard, Heard::Acknowledged).then_some(())).await;
        }
    }

    async fn next(&mut self) -> Message {
        while self.messages.is_empty() {
            let heard = within("a message", self.heard.recv()).await.expect("the connection stands");
            if let Heard::Message(message) = heard {
                self.messages.push(message);
            }
        }
        self.messages.remove(0)
    }

    async fn end(self) {
        match &self.ask {
            Ask::Early(client) => client.disconnect().await.unwrap(),
            Ask::Late(client) => client.disconnect().await.unwrap(),
        }
        within("the end", self.polling).await.unwrap();
    }

    /// Goes without a word.
    async fn cut(self) {
        self.polling.abort();
        let _ = self.polling.await;
    }
}

fn message(topic: &str, payload: &[u8], qos: u8, retain: bool) -> Message {
    Message { topic: topic.into(), payload: payload.into(), qos, retain }
}

async fn qos(at: At, level: u8) {
    let (mut reader, mut writer) = (Client::new(at, "reader").await, Client::new(at, "writer").await);
    reader.subscribe("qos/#", level).await;
    for number in 0..20 {
        writer.publish("qos/a", &[number], level, false).await;
    }
    for number in 0..20 {
        assert_eq!(reader.next().await, message("qos/a", &[number], level, false));
    }
    reader.end().await;
    writer.end().await;
}

async fn retained(at: At) {
    let (mut reader, mut writer) = (Client::new(at, "reader").await, Client::new(at, "writer").await);
    writer.publish("retained/a", b"kept", 1, true).await;
    reader.subscribe("retained/#", 1).await;
    assert_eq!(reader.next().await, message("retained/a", b"kept", 1, true));
    writer.publish("retained/a", b"", 1, true).await;
    assert_eq!(reader.next().await, message("retained/a", b"", 1, false));
    let mut late = Client::new(at, "late").await;
    late.subscribe("retained/#", 1).await;
    writer.publish("retained/marker", b"", 1, false).await;
    assert_eq!(late.next().await.topic, "retained/marker");
    for client in [reader, writer, late] {
        client.end().await;
    }
}

async fn will(at: At) {
    let mut watcher = Client::new(at, "watcher").await;
    watcher.subscribe("will/#", 1).await;
    Client::connect(at, "bye", true, true).await.end().await;
    watcher.publish("will/marker", b"", 1, false).await;
    assert_eq!(watcher.next().await.topic, "will/marker", "who says goodbye takes it along");
    Client::connect(at, "cut", true, true).await.cut().await;
    assert_eq!(watcher.next().await, message("will/cut", b"gone", 1, false));
    watcher.end().await;
}

async fn shared(at: At) {
    let mut writer = Client::new(at, "writer").await;
    let (mut one, mut two) = (Client::new(at, "one").await, Client::new(at, "two").await);
    for member in [&mut one, &mut two] {
        member.subscribe("$share/group/shared/#", 1).await;
    }
    for number in 0..40 {
        writer.publish("shared/a", &[number], 1, false).await;
    }
    let mut came = Vec::new();
    while came.len() < 40 {
        let message = tokio::select! {
            message = one.next() => message,
            message = two.next() => message,
        };
        came.push(message.payload[0]);
    }
    came.sort_unstable();
    assert_eq!(came, (0..40).collect::<Vec<u8>>());
    for client in [writer, one, two] {
        client.end().await;
    }
}

async fn large(at: At) {
    let mut client = Client::new(at, "large").await;
    client.subscribe("large", 2).await;
    for level in [0, 1, 2] {
        for size in LARGE {
            let payload = vec![level; size];
            client.publish("large", &payload, level, false).await;
            assert_eq!(client.next().await.payload, payload);
        }
    }
    client.end().await;
}

async fn topics(at: At) {
    for (topic, pattern) in TOPICS {
        for filter in [topic, pattern] {
            let mut client = Client::new(at, "topics").await;
            client.subscribe(filter, 1).await;
            client.publish(topic, filter.as_bytes(), 1, false).await;
            assert_eq!(client.next().await, message(topic, filter.as_bytes(), 1, false));
            client.end().await;
        }
    }
}

fn stays(at: At) -> String {
    format!("stays-{}-{}", at.version, at.transport)
}

async fn before(at: At) {
    let (name, mut writer) = (stays(at), Client::new(at, "writer").await);
    let mut client = Client::connect(at, &name, false, false).await;
    assert!(!client.present);
    for level in [1, 2] {
        client.subscribe(&format!("{name}/{level}"), level).await;
    }
    client.end().await;
    for level in [1, 2] {
        for number in 0..20 {
            writer.publish(&format!("{name}/{level}"), &[number], level, false).await;
        }
    }
    writer.end().await;
}

async fn after(at: At) {
    let name = stays(at);
    let mut client = Client::connect(at, &name, false, false).await;
    assert!(client.present);
    let mut came = Vec::new();
    for _ in 0..40 {
        came.push(client.next().await);
    }
    came.sort_by_key(|message| message.qos);
    let wanted = |level: u8| {
        let topic = format!("{name}/{level}");
        (0..20).map(move |number| message(&topic, &[number], level, false))
    };
    assert_eq!(came, wanted(1).chain(wanted(2)).collect::<Vec<_>>());
    client.end().await;
    let fresh = Client::new(at, &name).await;
    assert!(!fresh.present);
    fresh.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rumqttc_passes_the_list() {
    run(ALL, async |phase, targets| {
        each(targets, scenarios(phase), async |at, scenario| match scenario {
            "qos0" => qos(at, 0).await,
            "qos1" => qos(at, 1).await,
            "qos2" => qos(at, 2).await,
            "retained" => retained(at).await,
            "will" => will(at).await,
            "shared" => shared(at).await,
            "large" => large(at).await,
            "topics" => topics(at).await,
            "before" => before(at).await,
            "after" => after(at).await,
            _ => panic!("{scenario}"),
        })
        .await
    })
    .await;
}
