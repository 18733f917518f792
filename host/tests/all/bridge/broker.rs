//! mosquitto, as a process of its own on a port of its own, and a client of it that was made by others.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc::{Receiver, channel};

use crate::harness::{LOOK, eventually, free_address, within};

/// A running mosquitto; killed when it is dropped.
pub struct Broker {
    process: Child,
    folder: tempfile::TempDir,
    pub port: u16,
}

fn spawn(folder: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut program = Command::new("mosquitto");
    program.arg("-c").arg(folder.join("mosquitto.conf"));
    program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    program.spawn().expect("mosquitto, of the Debian package of this name")
}

impl Broker {
    /// Starts it with these lines more in its configuration.
    pub async fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_address().port();
        let text = format!(
            "listener {port} 127.0.0.1\nuser root\npersistence true\npersistence_location {}/\n\
             autosave_interval 1\nautosave_on_changes true\nmax_queued_messages 0\nqueue_qos0_messages true\n{more}\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("mosquitto.conf"), text).unwrap();
        let process = spawn(folder.path());
        let broker = Self { process, folder, port };
        broker.ready().await;
        broker
    }

    /// One that lets everybody in.
    pub async fn open() -> Self {
        Self::start("allow_anonymous true").await
    }

    async fn ready(&self) {
        let connected = async || TcpStream::connect(("127.0.0.1", self.port)).ok();
        eventually("mosquitto listens", connected).await;
    }

    /// Ends it as a power cut would, as far as a process can tell.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again with what is on its disk.
    pub async fn again(&mut self) {
        self.process = spawn(self.folder.path());
        self.ready().await;
    }

    /// Stops it well, so that all it knows is on its disk, and starts it again.
    pub async fn save(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.process.wait().unwrap();
        self.again().await;
    }

    /// What it says in its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client of the broker that comes back by itself, and whose session stays.
pub struct Peer {
    pub client: AsyncClient,
    messages: Receiver<Publish>,
    answers: Receiver<()>,
}

impl Peer {
    pub async fn connect(broker: &Broker, id: &str) -> Self {
        let mut options = MqttOptions::new(id, "127.0.0.1", broker.port);
        options.set_clean_start(false).set_session_expiry_interval(Some(3_600));
        options.set_keep_alive(Duration::from_secs(30));
        let (client, mut events) = AsyncClient::new(options, 10_000);
        let (message, messages) = channel(100_000);
        let (answer, answers) = channel(100_000);
        tokio::spawn(async move {
            loop {
                let went = match events.poll().await {
                    Ok(Event::Incoming(Packet::Publish(publish))) => message.try_send(publish).is_ok(),
                    Ok(Event::Incoming(Packet::SubAck(_) | Packet::PubAck(_))) => answer.try_send(()).is_ok(),
                    Ok(_) => !message.is_closed(),
                    Err(_) => {
                        tokio::time::sleep(LOOK).await;
                        !message.is_closed()
                    }
                };
                if !went {
                    return;
                }
            }
        });
        Self { client, messages, answers }
    }

    async fn answered(&mut self) {
        within("the broker's answer", self.answers.recv()).await.unwrap();
    }

    pub async fn subscribe(&mut self, filter: &str, qos: QoS) {
        self.client.subscribe(filter, qos).await.unwrap();
        self.answered().await;
    }

    /// Publishes at QoS 1, and waits until the broker has it.
    pub async fn publish(&mut self, topic: &str, retain: bool, payload: &str) {
        self.client.publish(topic, QoS::AtLeastOnce, retain, payload.to_owned()).await.unwrap();
        self.answered().await;
    }

    pub async fn publish_with(&mut self, topic: &str, payload: &str, properties: PublishProperties) {
        let sent = self.client.publish_with_properties(
            topic,
            QoS::AtLeastOnce,
            false,
            payload.to_owned(),
            properties,
        );
        sent.await.unwrap();
        self.answered().await;
    }

    /// The next message: whether it is retained, its topic, its payload.
    pub async fn next(&mut self) -> Publish {
        within("a message of the broker", self.messages.recv()).await.unwrap()
    }

    /// The same, as texts.
    pub async fn text(&mut self) -> (String, String) {
        let publish = self.next().await;
        (texted(&publish.topic), texted(&publish.payload))
    }
}

pub fn texted(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
