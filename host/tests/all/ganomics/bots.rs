//! Tablets that were made by others: bots in Python, with websocket-client, and the example that they are.

use std::path::{Path, PathBuf};

use super::*;
use crate::clients::program::packaged;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ganomics").join(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bots_play_all_steps_in_both_flavours() {
    let config = "skip_survey = false\nskip_training = false\ntypes = 3\nt_max = 5\ntraining_t_max = 4";
    for flavour in ["seed", "newest"] {
        let router = router(&format!("flavour = \"{flavour}\"\n{config}")).await;
        let url = format!("ws://{}/ws/", router.gateways["ganomics"]);
        let bot = |number: usize| {
            let bot = packaged(&example("bot.py")).with(&url).with(format!("tablet-{number}"));
            async move { bot.run(&[]).await }
        };
        let (one, two, three) = tokio::join!(bot(1), bot(2), bot(3));
        for said in [one, two, three] {
            assert!(said.contains("at survey") && said.contains("my score is"), "{flavour}: {said}");
        }
        router.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_plays_a_game_with_one_command() {
    let script = example("run.py");
    let first = std::fs::read_to_string(&script).unwrap().lines().next().unwrap().to_owned();
    assert!(first.ends_with("python3 examples/ganomics/run.py"), "{first}");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("weir.toml");
    let ports = "[http]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
        [ganomics]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(&config, ports).unwrap();
    let weir = ("WEIR", env!("CARGO_BIN_EXE_weir").to_owned());
    let said = packaged(&script).with("--config").with(&config).run(&[weir]).await;
    assert_eq!(said.matches("my score is").count(), 4, "{said}");
    assert!(said.contains("the game has its binding"), "the log says what was made: {said}");
    assert!(folder.path().join("plugins/ganomics.toml").is_file());
}
