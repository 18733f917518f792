//! A router that has one address in all its lives, and somebody who ends them when asked to.

use std::net::SocketAddr;
use std::process::Command;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Child, Setup, free_address};

pub struct Stage {
    setup: Setup,
    address: SocketAddr,
    router: Option<Child>,
}

impl Stage {
    /// `http` is more of the section `[http]`.
    pub async fn new(setup: Setup, http: &str) -> Self {
        let address = free_address();
        let config = format!(
            "shards = 2\n[http]\nlisten = \"{address}\"\n{http}\n[admin]\nlisten = \"127.0.0.1:0\"\n"
        );
        std::fs::write(setup.folders.root().join("weir.toml"), config).expect("write weir.toml");
        let mut stage = Self { setup, address, router: None };
        stage.up().await;
        stage
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn up(&mut self) {
        self.router = Some(self.setup.spawn().await);
    }

    pub fn kill(&mut self) {
        self.router.take().expect("it runs").kill();
    }

    pub async fn stop(&mut self) {
        let mut router = self.router.take().expect("it runs");
        router.terminate();
        let status = router.ended().await;
        assert!(status.success(), "{status}: {}", router.log());
    }

    /// Obeys those who connect, for ever: one line is a command, one line its answer.
    pub async fn obey_all(&mut self, listener: TcpListener) {
        while let Ok((caller, _)) = listener.accept().await {
            self.answer(caller).await;
        }
    }

    /// The answer comes when it has happened.
    async fn answer(&mut self, caller: TcpStream) {
        let mut caller = BufReader::new(caller);
        let mut line = String::new();
        if caller.read_line(&mut line).await.is_ok() {
            let answer = self.obey(line.trim()).await;
            // A test that has failed does not wait for it.
            drop(caller.write_all(format!("{answer}\n").as_bytes()).await);
        }
    }

    async fn obey(&mut self, line: &str) -> String {
        let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "kill" => self.kill(),
            "stop" => self.stop().await,
            "up" => self.up().await,
            "save" => self.copy_data("data", "saved"),
            "restore" => self.copy_data("saved", "data"),
            "freeze" => self.router.as_ref().expect("it runs").freeze(),
            "thaw" => self.router.as_ref().expect("it runs").thaw(),
            "key" => {
                let reach = &self.router.as_ref().expect("it runs").reach;
                let (key, id) = reach.key(argument, &["#"], &["#"], "").await;
                return format!("{key} {id}");
            }
            "revoke" => {
                let reach = &self.router.as_ref().expect("it runs").reach;
                let answer = reach.admin("DELETE", &format!("/v1/keys/{argument}"), "").await;
                assert_eq!(answer.status, 200, "{answer:?}");
            }
            _ => panic!(
                "{line:?} is no command: kill, stop, up, save, restore, freeze, thaw, key NAME, revoke ID"
            ),
        }
        "done".to_owned()
    }

    /// What an operator does with a backup, while the router is down.
    fn copy_data(&self, from: &str, to: &str) {
        let [from, to] = [from, to].map(|name| self.setup.folders.root().join(name));
        drop(std::fs::remove_dir_all(&to));
        let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp runs");
        assert!(copied.success(), "{copied}");
    }
}
