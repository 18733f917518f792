//! The list as mosquitto's command-line clients run it. Those of Debian have no WebSocket.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use super::{At, LARGE, STREAMS, TOPICS, each, run, scenarios};
use crate::harness::PATIENCE;
use crate::harness::secure::fixture;

/// A program of mosquitto's that connects there.
fn program(name: &str, at: At, arguments: &[&str]) -> Command {
    // It writes lines, and not only what fills a buffer.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", name]);
    let (host, port) = (at.address.ip().to_string(), at.address.port().to_string());
    let version = if at.version == "5" { "5" } else { "311" };
    command.args(["-h", &host, "-p", &port, "-V", version]).args(arguments);
    if at.transport == "tls" {
        command.arg("--cafile").arg(fixture("ca.pem"));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Publishes, and waits until it is acknowledged.
fn publish(at: At, qos: &str, topic: &str, arguments: &[&str]) {
    let status = program("mosquitto_pub", at, &[&["-q", qos, "-t", topic], arguments].concat()).status();
    assert!(status.expect("mosquitto_pub, of the Debian package mosquitto-clients").success());
}

/// Publishes these lines, in order, with one connection.
fn publish_lines(at: At, qos: &str, topic: &str, count: usize) {
    let mut process = program("mosquitto_pub", at, &["-q", qos, "-t", topic, "-l"]);
    let mut process = process.stdin(Stdio::piped()).spawn().unwrap();
    let lines: String = (0..count).map(|number| format!("{number}\n")).collect();
    process.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(process.wait().unwrap().success());
}

/// A `mosquitto_sub` that has subscribed. Dropped, it goes without a word.
struct Reader {
    process: Child,
    lines: Receiver<String>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Reader {
    fn new(at: At, qos: &str, pattern: &str, arguments: &[&str]) -> Self {
        let reader = Self::start(at, qos, pattern, arguments);
        while !reader.line().contains("Subscribed") {}
        reader
    }

    /// It may not have subscribed yet.
    fn start(at: At, qos: &str, pattern: &str, arguments: &[&str]) -> Self {
        // What it debugs goes to the same place, line by line: it says when it has subscribed.
        let known = ["-d", "-q", qos, "-t", pattern, "-F", "= %q %r %t %p"];
        let mut process = program("mosquitto_sub", at, &[&known[..], arguments].concat()).spawn().unwrap();
        let (tell, lines) = sync_channel(1_024);
        let output = BufReader::new(process.stdout.take().unwrap());
        // It ends with its process, or when nobody wants to hear more.
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).take_while(|line| tell.send(line.clone()).is_ok()).count()
        });
        Self { process, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line of mosquitto_sub")
    }

    /// A message: `QOS RETAINED TOPIC PAYLOAD`.
    fn next(&self) -> String {
        loop {
            if let Some(message) = self.line().strip_prefix("= ") {
                return message.to_owned();
            }
        }
    }
}

fn qos(at: At, level: &str) {
    let reader = Reader::new(at, level, "qos/#", &[]);
    publish_lines(at, level, "qos/a", 20);
    for number in 0..20 {
        assert_eq!(reader.next(), format!("{level} 0 qos/a {number}"));
    }
}

fn retained(at: At) {
    publish(at, "1", "retained/a", &["-r", "-m", "kept"]);
    let reader = Reader::new(at, "1", "retained/#", &[]);
    assert_eq!(reader.next(), "1 1 retained/a kept");
    publish(at, "1", "retained/a", &["-r", "-n"]);
    assert_eq!(reader.next(), "1 0 retained/a ");
    let late = Reader::new(at, "1", "retained/#", &[]);
    publish(at, "1", "retained/marker", &["-m", "x"]);
    assert_eq!(late.next(), "1 0 retained/marker x");
}

fn will(at: At) {
    let watcher = Reader::new(at, "1", "will/#", &[]);
    let leaves = ["--will-qos", "1", "--will-topic", "will/cut", "--will-payload", "gone"];
    publish(at, "1", "will/bye", &[&leaves[..], &["-m", "x"]].concat());
    drop(Reader::new(at, "0", "other", &leaves));
    // Who said goodbye has taken its will along.
    assert_eq!(watcher.next(), "1 0 will/bye x");
    assert_eq!(watcher.next(), "1 0 will/cut gone");
    publish(at, "1", "will/marker", &["-m", "x"]);
    assert_eq!(watcher.next(), "1 0 will/marker x");
}

fn shared(at: At) {
    let group = "$share/group/shared/#";
    let (one, two) = (Reader::new(at, "1", group, &[]), Reader::new(at, "1", group, &[]));
    publish_lines(at, "1", "shared/a", 40);
    let mut came = Vec::new();
    while came.len() < 40 {
        for reader in [&one, &two] {
            let lines = reader.lines.recv_timeout(Duration::from_millis(10)).into_iter();
            let messages =
                lines.filter_map(|line| line.strip_prefix("= 1 0 shared/a ")?.parse::<usize>().ok());
            came.extend(messages);
        }
    }
    came.sort_unstable();
    assert_eq!(came, (0..40).collect::<Vec<_>>());
}

fn large(at: At) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("payload");
    let file_name = file.to_str().unwrap();
    for level in ["0", "1", "2"] {
        let reader = Reader::new(at, level, "large", &[]);
        for size in LARGE {
            std::fs::write(&file, level.repeat(size)).unwrap();
            publish(at, level, "large", &["-f", file_name]);
            assert_eq!(reader.next(), format!("{level} 0 large {}", level.repeat(size)));
        }
    }
}

fn topics(at: At) {
    for (topic, pattern) in TOPICS {
        for filter in [topic, pattern] {
            let reader = Reader::new(at, "1", filter, &[]);
            publish(at, "1", topic, &["-m", filter]);
            assert_eq!(reader.next(), format!("1 0 {topic} {filter}"));
        }
    }
}

fn stays(at: At) -> String {
    format!("stays-{}-{}", at.version, at.transport)
}

fn before(at: At) {
    let name = stays(at);
    let stays = ["-c", "-i", &name, "-q", "2", "-t", &format!("{name}/#"), "-E"];
    let status = program("mosquitto_sub", at, &stays).status();
    assert!(status.unwrap().success());
    for level in ["1", "2"] {
        publish_lines(at, level, &format!("{name}/{level}"), 20);
    }
}

fn after(at: At) {
    let name = stays(at);
    // That a session is there it does not say; that it has kept messages does.
    let reader = Reader::start(at, "2", &format!("{name}/#"), &["-c", "-i", &name]);
    for level in ["1", "2"] {
        for number in 0..20 {
            assert_eq!(reader.next(), format!("{level} 0 {name}/{level} {number}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquittos_clients_pass_the_list() {
    run(STREAMS, async |phase, targets| {
        each(targets, scenarios(phase), async |at, scenario| match scenario {
            "qos0" => qos(at, "0"),
            "qos1" => qos(at, "1"),
            "qos2" => qos(at, "2"),
            "retained" => retained(at),
            "will" => will(at),
            "shared" => shared(at),
            "large" => large(at),
            "topics" => topics(at),
            "before" => before(at),
            "after" => after(at),
            _ => panic!("{scenario}"),
        })
        .await
    })
    .await;
}
