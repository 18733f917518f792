//! One line takes over from another system's server, and that system's clients notice nothing: the real program, in an
//! empty folder, with clients that were made by others.

use serde_json::json;
use weir::config::{Ganomics, Paikea, Picloud, Rooms};

use crate::clients::program::{foreign, node_packaged, packaged};
use crate::harness::{Child, Setup};

/// A folder where nothing is, not even plugins.
fn empty() -> Setup {
    let setup = Setup::new();
    std::fs::remove_dir(setup.folders.plugins()).unwrap();
    setup
}

async fn stop(mut router: Child) {
    router.terminate();
    let status = router.ended().await;
    assert!(status.success(), "{status}: {}", router.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn picloud_is_served_by_one_line_and_its_variables() {
    let setup = empty();
    let variables = [("PORT", "0"), ("API_KEY", "k"), ("ENABLE_INFO_SOCKET", "1")];
    let router = setup.serve(&["--picloud"], &variables).await;
    let port = router.reach.gateways["picloud"].port();
    let environment = [("HOST", format!("127.0.0.1:{port}")), ("KEY", "k".to_owned())];
    let said = packaged(&foreign().join("picloud.py")).run(&environment).await;
    assert!(said.contains("picloud's clients are content"), "{said}");
    stop(router).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paikea_is_served_by_one_line() {
    let setup = empty();
    // The ports of its own server may be taken here, and it knows no others.
    let ports = "[http]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
        [paikea]\ndevice = \"127.0.0.1:0\"\npage = \"127.0.0.1:0\"\nlog = \"log\"\n";
    std::fs::write(setup.folders.root().join("weir.toml"), ports).unwrap();
    std::fs::create_dir(setup.folders.plugins()).unwrap();
    let router = setup.serve(&["--paikea"], &[]).await;
    let [device, page] = ["paikea-device", "paikea-page"].map(|name| router.reach.gateways[name].to_string());
    let said = packaged(&foreign().join("paikea.py")).run(&[("DEVICE", device), ("PAGE", page)]).await;
    assert!(said.contains("Paikea's clients are content"), "{said}");
    stop(router).await;
    let log = std::fs::read_to_string(setup.folders.root().join("log/device_server.log")).unwrap();
    assert!(
        log.contains("]: Device Server restarted\n") && log.contains("]: < /iam1?x=1/ to the newer one\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_gateway_serves_clients_with_the_npm_package_ws() {
    let game = "plugin = \"stock:ganomics\"\nemit = [\"ganomics/#\"]\n\
        topics = [\"ganomics/ask\", \"ganomics/identity\", \"ganomics/room\"]\n";
    let setup = Setup::new().binding("ganomics", game).config(|config| {
        config.picloud = Some(Picloud { api_key: "k".into(), ..Picloud::default() });
        config.paikea = Some(Paikea::default());
        config.rooms = Some(Rooms::default());
        config.ganomics = Some(Ganomics::default());
    });
    let router = setup.start().await;
    let user =
        router.admin("POST", "/v1/users", &json!({"name": "alice"}).to_string()).await.json["key"].clone();
    let gateway = |name: &str| router.gateways[name].to_string();
    let environment = [
        ("PICLOUD", gateway("picloud")),
        ("DEVICE", gateway("paikea-device")),
        ("PAGE", gateway("paikea-page")),
        ("ROOMS", gateway("rooms")),
        ("GANOMICS", gateway("ganomics")),
        ("KEY", "k".to_owned()),
        ("USER", user.as_str().unwrap().to_owned()),
    ];
    let said = node_packaged(&foreign().join("ws.cjs")).run(&environment).await;
    assert!(said.contains("the clients with ws are content"), "{said}");
    router.stop().await;
}
