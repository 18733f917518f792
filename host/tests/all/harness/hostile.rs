//! Everything hostile that a plugin, or whoever drops files into the folder, has been thought to do: what it is, and
//! what comes of it. `tests/all/hostile.rs` holds the router to it; `benches/hostile.rs` measures what others notice.

use serde_json::{Value, json};

use super::{Folders, Reach, wasm};

/// One hostile deed.
pub struct Fixture {
    pub name: &'static str,
    deed: Deed,
    /// What it leads to, and nothing else.
    pub outcome: &'static str,
}

enum Deed {
    /// The guest `hostile` acts, when so many messages come.
    Act { messages: u32, payload: fn(u32) -> Value },
    /// This is the component.
    File(fn() -> Vec<u8>),
    /// Many good files at once.
    Many(u32),
    /// One file replaced so often, without a pause.
    Replaced(u32),
    /// A link out of the folder.
    Link,
    /// A binding whose name leads out of the folder.
    Name,
}

const fn act(name: &'static str, messages: u32, outcome: &'static str) -> Fixture {
    Fixture { name, deed: Deed::Act { messages, payload: |_| json!("x") }, outcome }
}

const fn file(name: &'static str, bytes: fn() -> Vec<u8>, outcome: &'static str) -> Fixture {
    Fixture { name, deed: Deed::File(bytes), outcome }
}

/// All of them. The names of those that act are what `hostile` is told to do.
pub const FIXTURES: &[Fixture] = &[
    act("loop-at-init", 0, "refused: init"),
    act("panic-at-init", 0, "refused: init"),
    act("panic-at-second-init", 0, "refused: init"),
    act("loop", 3, "dead-lettered"),
    act("sleep", 3, "dead-lettered"),
    act("recurse", 3, "dead-lettered"),
    act("hog-memory", 3, "dead-lettered"),
    act("huge-output", 3, "dead-lettered"),
    act("emit-flood", 3, "dead-lettered"),
    act("log-flood", 3, "accepted"),
    act("panic-on-the50th", 120, "accepted"),
    Fixture {
        name: "panic-on-poison",
        deed: Deed::Act {
            messages: 30,
            payload: |number| json!(if number % 10 == 5 { "poison" } else { "x" }),
        },
        outcome: "accepted, dead-lettered",
    },
    file("wrong-world", || wasm("wrong-world"), "refused: kind"),
    file("two-kinds", || wasm("two-kinds"), "refused: kind"),
    file("unknown-import", || wasm("wrong-import"), "refused: imports"),
    file("corrupt", corrupt, "refused: compile"),
    file("truncated", || half(wasm("stamp-a")), "refused: format"),
    file("empty", Vec::new, "refused: format"),
    file("not-wasm", || b"MZ no component at all".to_vec(), "refused: format"),
    file("core-module", || b"\0asm\x01\0\0\0".to_vec(), "refused: format"),
    Fixture { name: "symlink-out", deed: Deed::Link, outcome: "refused: read" },
    Fixture { name: "name-out", deed: Deed::Name, outcome: "refused: binding" },
    Fixture { name: "many-files", deed: Deed::Many(200), outcome: "live" },
    Fixture { name: "replaced", deed: Deed::Replaced(100), outcome: "live" },
];

fn half(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// One bit of its code is another.
fn corrupt() -> Vec<u8> {
    let mut bytes = wasm("stamp-a");
    let middle = bytes.len() / 3;
    bytes[middle] ^= 0x55;
    bytes
}

impl Fixture {
    /// Does it, and says what came of it.
    pub async fn commit(&self, reach: &Reach, folders: &Folders) -> String {
        match self.deed {
            Deed::Act { messages, payload } => self.act(reach, folders, messages, payload).await,
            Deed::File(bytes) => {
                folders.replace(&self.wasm(), &bytes());
                self.settled(reach).await
            }
            Deed::Link => {
                let outside = folders.root().join("outside.wasm");
                std::fs::write(&outside, wasm("stamp-a")).expect("a file outside of the folder");
                std::os::unix::fs::symlink(outside, folders.plugins().join(self.wasm())).expect("a link");
                self.settled(reach).await
            }
            Deed::Name => {
                folders.write(&self.toml(), "name = \"../../outside\"\nplugin = \"stock:dedupe\"\n");
                self.settled(reach).await
            }
            Deed::Many(number) => self.many(reach, folders, number).await,
            Deed::Replaced(times) => {
                folders.write(&self.toml(), &self.binding());
                for time in 0..times {
                    folders.replace(&self.wasm(), &wasm(if time % 2 == 0 { "stamp-a" } else { "stamp-b" }));
                }
                let last = super::version("stamp-b");
                reach.until_plugin(self.name, |plugin| plugin["version"] == *last).await;
                self.settled(reach).await
            }
        }
    }

    /// Takes away what was put into the folder.
    pub async fn undo(&self, reach: &Reach, folders: &Folders) {
        for entry in std::fs::read_dir(folders.plugins()).expect("the folder").flatten() {
            if entry.file_name().to_string_lossy().starts_with(self.name) {
                std::fs::remove_file(entry.path()).expect("a file of the folder");
            }
        }
        reach.until_plugin(self.name, Value::is_null).await;
    }

    async fn act(
        &self,
        reach: &Reach,
        folders: &Folders,
        messages: u32,
        payload: fn(u32) -> Value,
    ) -> String {
        // Nobody else is to be convicted on a busy machine.
        let patience = if self.name == "loop-at-init" { "300ms" } else { "5s" };
        let config = format!("[limits]\ninit_deadline = {patience:?}\n[config]\nact = {:?}\n", self.name);
        folders.write(&self.toml(), &(self.binding() + &config));
        folders.replace(&self.wasm(), &wasm("hostile"));
        let settled = self.settled(reach).await;
        if settled != "live" {
            return settled;
        }
        let mut client = reach.client("attacker").await;
        let mut outcomes: Vec<String> = Vec::new();
        for number in 0..messages {
            let answer = client.publish(&self.topic(), payload(number)).await;
            outcomes.push(answer["outcome"].as_str().expect("an outcome").to_owned());
        }
        outcomes.sort();
        outcomes.dedup();
        outcomes.join(", ")
    }

    async fn many(&self, reach: &Reach, folders: &Folders, number: u32) -> String {
        let name = |at: u32| if at == 0 { self.name.to_owned() } else { format!("{}-{at}", self.name) };
        for at in 0..number {
            std::fs::write(folders.plugins().join(format!("{}.toml", name(at))), self.binding())
                .expect("a file");
            std::fs::write(folders.plugins().join(format!("{}.wasm", name(at))), wasm("keep"))
                .expect("a file");
        }
        for at in 0..number {
            reach.until_plugin(&name(at), |plugin| plugin["state"] == "active").await;
        }
        self.settled(reach).await
    }

    /// Waits until it is decided whether it goes live.
    async fn settled(&self, reach: &Reach) -> String {
        let decided = |plugin: &Value| {
            let waits_for_the_other_file =
                plugin["reason"].as_str().is_some_and(|reason| reason.contains("not in the plugins folder"));
            !plugin.is_null() && !waits_for_the_other_file
        };
        let listed = reach.until_plugin(self.name, decided).await;
        match listed["reason"].as_str() {
            None => "live".to_owned(),
            Some(reason) => format!("refused: {}", reason.split(':').next().unwrap_or_default()),
        }
    }

    fn binding(&self) -> String {
        format!("topics = [{:?}]\n", self.topic())
    }

    fn topic(&self) -> String {
        format!("hostile/{}", self.name)
    }

    fn wasm(&self) -> String {
        format!("{}.wasm", self.name)
    }

    fn toml(&self) -> String {
        format!("{}.toml", self.name)
    }
}
