//! What is accepted, what is refused, and in which words.

use super::*;

fn load(text: &str) -> Result<Config, String> {
    load_with(text, Overrides::default())
}

fn load_with(text: &str, overrides: Overrides) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.toml");
    std::fs::write(&file, text).unwrap();
    let prefix = format!("{}/", folder.path().display());
    Config::load(Some(&file), overrides).map_err(|error| error.to_string().replace(&prefix, ""))
}

fn refused(text: &str) -> String {
    load(text).unwrap_err()
}

#[test]
fn the_example_spells_out_the_defaults() {
    let example: Config = Source::parse(Path::new("weir.toml"), EXAMPLE).unwrap().read().unwrap();
    assert_eq!(example, Config::default());
    // Every key of every table stands in it, so that no default is hidden.
    for key in ["proxy_protocol", "base_path", "trusted", "header"] {
        assert!(EXAMPLE.contains(&format!("\n{key} = ")), "{key}");
    }
    for key in ["requests_messages", "init_deadline", "store_deadline", "max_messages", "hosts", "shards"] {
        assert!(EXAMPLE.contains(&format!("\n{key} = ")), "{key}");
    }
}

#[test]
fn an_empty_file_is_the_defaults_with_folders_beside_it() {
    let config = load("").unwrap();
    assert!(config.data.ends_with("data") && config.data.is_absolute());
    assert_eq!(Config { data: "data".into(), plugins: "plugins".into(), ..config }, Config::default());
    assert_eq!(Config::load(None, Overrides::default()).unwrap(), Config::default());
    let log = |text: &str| load(text).unwrap().paikea.unwrap().log;
    assert!(log("[paikea]\nlog = \"said\"").is_absolute() && log("[paikea]").as_os_str().is_empty());
}

#[test]
fn files_of_certificates_are_beside_the_file() {
    let config = load(
        "[http.tls]\ncert = \"a.pem\"\nkey = \"/b.key\"\n[picloud]\ntls = { cert = \"c\", key = \"d\" }\n\
         [paikea]\npage_tls = { cert = \"e\", key = \"f\" }\n",
    );
    let config = config.unwrap();
    let folder = config.data.parent().unwrap();
    assert_eq!(config.http.tls, Some(Tls::new(folder.join("a.pem"), "/b.key")));
    assert_eq!(config.picloud.unwrap().tls, Some(Tls::new(folder.join("c"), folder.join("d"))));
    assert_eq!(config.paikea.unwrap().page_tls, Some(Tls::new(folder.join("e"), folder.join("f"))));
}

#[test]
fn flags_and_environment_win_over_the_file() {
    let text = "data = \"/a\"\n[http]\nlisten = \"127.0.0.1:1\"\n[logging]\nlevel = \"warn\"\n";
    let overrides = Overrides {
        http: Some(loopback(2)),
        data: Some("b".into()),
        log_format: Some(LogFormat::Json),
        ..Overrides::default()
    };
    let config = load_with(text, overrides).unwrap();
    assert_eq!(config.http.listen, loopback(2));
    assert_eq!(config.data, Path::new("b"));
    assert_eq!(config.logging, Logging { format: LogFormat::Json, level: "warn".into() });
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    assert_eq!(
        refused("shards = 1\n\n[http]\nlisen = \"127.0.0.1:1\"\n"),
        "weir.toml:4: unknown key `lisen` in [http]; did you mean `listen`? accepted: listen, tls, proxy_protocol, base_path, origins"
    );
    assert!(refused("[limit]\n").starts_with("weir.toml:1: unknown key `limit`; did you mean `limits`?"));
    assert!(refused("colour = 1").starts_with("weir.toml:1: unknown key `colour`; accepted: data, plugins"));
    let log = "[[log]]\nname = \"a\"\ntopics = [\"#\"]\n[[log]]\nname = \"b\"\nmax_bite = 1\n";
    assert!(
        refused(log).starts_with("weir.toml:6: unknown key `max_bite` in [log]; did you mean `max_bytes`?")
    );
}

#[test]
fn wrong_values_name_the_key_and_what_is_accepted() {
    for (text, wanted) in [
        ("a = ", "weir.toml:1: "),
        ("shards = 1\nshards = 2\n", "weir.toml:2: "),
        ("\n[limits]\nbody = 5", "weir.toml:3: limits.body: found 5, expected a duration such as"),
        (
            "[limits]\nqueue_messages = \"x\"",
            "weir.toml:2: limits.queue_messages: found \"x\", expected a whole",
        ),
        ("[limits]\nqueue_messages = -1", "weir.toml:2: limits.queue_messages: found -1, expected a whole"),
        (
            "[limits]\nqueue_bytes = \"4MB\"",
            "weir.toml:2: limits.queue_bytes: found \"4MB\", expected a size",
        ),
        ("[limits]\nqueue_bytes = 0", "weir.toml:2: limits.queue_bytes: found 0, expected 1 or more"),
        (
            "[limits]\nmessage_bytes = \"2MiB\"",
            "weir.toml:2: limits.message_bytes: found 2097152, expected at most",
        ),
        (
            "[limits]\nunfinished_bytes = \"512KiB\"",
            "weir.toml:2: limits.unfinished_bytes: found 524288, expected at least message_bytes (1048576)",
        ),
        ("[plugin]\ndeadline = \"0s\"", "weir.toml:2: plugin.deadline: found no time"),
        ("[http]\nlisten = \"localhost\"", "weir.toml:2: http.listen: found \"localhost\", expected IP:PORT"),
        (
            "[http]\norigins = [\n\"*\",\n\"example.org\"]",
            "weir.toml:4: http.origins.1: found \"example.org\"",
        ),
        (
            "[rooms]\norigins = [\"https://a.example/\"]",
            "weir.toml:2: rooms.origins.0: found \"https://a.example/\"",
        ),
        (
            "[admin]\nlisten = \"0.0.0.0:8080\"",
            "weir.toml:2: admin.listen: 0.0.0.0:8080 is taken by http.listen",
        ),
        (
            "[paikea]\npage = \"0.0.0.0:7777\"",
            "weir.toml:2: paikea.page: 0.0.0.0:7777 is taken by paikea.device",
        ),
        (
            "[http]\nproxy_protocol = true",
            "weir.toml:2: http.proxy_protocol: nobody could connect: list the proxies' addresses",
        ),
        (
            "[paikea]\npage_proxy_protocol = true",
            "weir.toml:2: paikea.page_proxy_protocol: nobody could connect: list the proxies' addresses",
        ),
        ("[admin]\nbase_path = \"weir\"", "weir.toml:2: admin.base_path: found \"weir\", expected a path"),
        ("[rooms]\ntls = true", "weir.toml:2: rooms.tls: found true, expected a table, in { }"),
        (
            "[rooms]\nkeep_open = \"yes\"",
            "weir.toml:2: rooms.keep_open: found \"yes\", expected true or false",
        ),
        ("[http]\norigins = \"*\"", "weir.toml:2: http.origins: found \"*\", expected a list, in [ ]"),
        ("data = 5", "weir.toml:1: data: found 5, expected a text in quotes"),
        ("[proxy]\ntrusted = \"x\"", "weir.toml:2: proxy.trusted: found \"x\", expected a list, in [ ]"),
        (
            "[proxy]\ntrusted = [\"10.0.0.1/8\"]",
            "weir.toml:2: proxy.trusted: found \"10.0.0.1/8\", which is within \"10.0.0.0/8\": expected that",
        ),
        ("[proxy]\ntrusted = [\"10.0.0.0/33\"]", "weir.toml:2: proxy.trusted: found \"10.0.0.0/33\""),
        ("[proxy]\nheader = \"x\"", "weir.toml:2: proxy.header: found \"x\", expected `x-forwarded-for` or"),
        ("[http.tls]\ncert = \"a\"", "weir.toml:1: http.tls: the key `key` is missing"),
        ("[logging]\nlevel = \"lo=ud=\"", "weir.toml:2: logging.level: found \"lo=ud=\""),
        ("[logging]\nformat = \"xml\"", "weir.toml:2: logging.format: found \"xml\", expected `text` or"),
        (
            "[dead_letters]\nmax_letters = 0",
            "weir.toml:2: dead_letters.max_letters: found 0, expected 1 or more",
        ),
        (
            "[dead_letters]\nmax_bytes = \"2GiB\"",
            "weir.toml:2: dead_letters.max_bytes: found 2147483648, expected at most 1GiB",
        ),
        (
            "[[log]]\nname = \"a\"\ntopics = [\"#\"]\nmax_age = 5",
            "weir.toml:4: log.max_age: found 5, expected a duration",
        ),
        ("shards = 5000", "weir.toml:1: shards: found 5000"),
        ("data = \"x\"\nplugins = \"x\"", "weir.toml:2: plugins: must be another folder"),
        ("[[log]]\nname = \"a\"", "weir.toml:1: log: the key `topics` is missing"),
        ("http = 5", "weir.toml:1: http: "),
        ("[[log]]\nname = \"A\"\ntopics = [\"#\"]", "weir.toml:2: log.0.name: found \"A\""),
        (
            "[[log]]\nname = \"a\"\ntopics = [\"a/#/b\"]",
            "weir.toml:3: log.0.topics.0: pattern \"a/#/b\" cannot be used",
        ),
        ("[[log]]\nname = \"a\"\ntopics = []", "weir.toml:3: log.0.topics: expected at least one"),
        ("[[log]]\nname = \"a\"\ntopics = [\"#\"]\nmax_age = \"0s\"", "weir.toml:4: log.0.max_age: found 0"),
        (
            "[[delivery]]\ntopics = [\"a\", \"+b\"]\noverflow = \"drop-new\"",
            "weir.toml:2: delivery.0.topics.1: pattern \"+b\" cannot be used",
        ),
        (
            "[[delivery]]\ntopics = []\noverflow = \"drop-new\"",
            "weir.toml:2: delivery.0.topics: expected at least one",
        ),
        (
            "[[delivery]]\ntopics = [\"a\"]\noverflow = \"drop\"",
            "weir.toml:3: delivery.overflow: found \"drop\", expected one of `disconnect`, `drop-oldest`",
        ),
        ("[[delivery]]\ntopics = [\"a\"]", "weir.toml:1: delivery: the key `overflow` is missing"),
        (
            "[[log]]\nname = \"a\"\ntopics = [\"#\"]\n[[log]]\nname = \"a\"\ntopics = [\"#\"]",
            "weir.toml:5: log.1.name: a second log is named \"a\"",
        ),
    ] {
        let found = refused(text);
        assert!(found.starts_with(wanted), "{text:?}\n wanted {wanted}\n found  {found}");
        assert!(!found.contains('\n'), "one line: {found}");
    }
}

#[test]
fn a_log_left_without_limits_has_the_default_ones() {
    let config = load("[[log]]\nname = \"a\"\ntopics = [\"a/#\"]\nmax_bytes = \"none\"\n").unwrap();
    assert_eq!(config.logs[0].max_age, LogRule::default().max_age);
    assert_eq!((config.logs[0].max_bytes, config.logs[0].max_messages), (None, None));
    assert_eq!(load("log = []").unwrap().logs, []);
}

#[test]
fn a_log_of_input_is_kept_for_an_hour_and_shadows_no_other() {
    let input = "[[log]]\nname = \"in\"\ntopics = [\"#\"]\nrecord_input = true\n";
    let hour = |text: &str| load(&format!("{input}{text}")).unwrap().logs[0].max_age.map(|age| age.as_secs());
    assert_eq!(hour(""), Some(3_600));
    assert_eq!((hour("max_age = \"2h\"\n"), hour("max_age = \"none\"\n")), (Some(7_200), None));
    let both = refused(&format!("{input}max_age = \"none\"\nmax_bytes = \"none\"\n"));
    assert!(both.starts_with("weir.toml:4: log.0.record_input: ") && both.contains("needs one of"), "{both}");
    let log = |name: &str| format!("[[log]]\nname = \"{name}\"\ntopics = [\"a\"]\n");
    assert!(load(&format!("{input}{}", log("out"))).is_ok());
    let second = refused(&format!("{input}{}record_input = true\n", log("more")));
    assert!(second.contains("log \"in\" stands before this one"), "{second}");
    let hook = refused(&format!("{input}{HOOK}topics = [\"a\"]\n"));
    assert!(hook.contains("no [[log]] keeps these topics"), "{hook}");
    // What was recorded can never be read as another log.
    assert_eq!(load(input).unwrap().logs[0].folder(), "in.input");
}

#[test]
fn what_flags_set_wrong_is_not_blamed_on_the_file() {
    let overrides = Overrides { log_level: Some("lo=ud=".into()), ..Overrides::default() };
    let error = load_with("[logging]\nlevel = \"info\"\n", overrides).unwrap_err();
    assert!(error.starts_with("logging.level (set by a flag or the environment): found"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(Path::new("/no/such.toml")), Overrides::default()).unwrap_err();
    assert!(error.to_string().starts_with("cannot read the configuration /no/such.toml: No such file"));
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let error = Config::load(Some(Path::new("/dev/zero")), Overrides::default()).unwrap_err();
    assert!(error.to_string().ends_with("/dev/zero: not a regular file"), "{error}");
}

const HOOK: &str = "[[webhook]]\nname = \"h\"\nurl = \"https://h.example/\"\n";

#[test]
fn what_would_do_nothing_is_refused() {
    let log = |name: &str, topics: &str| format!("[[log]]\nname = \"{name}\"\ntopics = {topics}\n");
    let shadowed = [log("all", "[\"x\", \"#\"]"), log("late", "[\"a/#\", \"b\"]")].concat();
    let said = "log \"all\" stands before this one and takes all of its topics";
    assert!(refused(&shadowed).contains(said), "{}", refused(&shadowed));
    assert_eq!(refused(&shadowed).split(": ").next(), Some("weir.toml:6"));
    let narrow = [log("a", "[\"a/#\"]"), log("b", "[\"a/1\", \"b\"]"), log("all", "[\"#\"]")].concat();
    assert!(load(&narrow).is_ok(), "some of its topics are left");
    let hook = |topics: &str| format!("{}{HOOK}topics = {topics}\n", log("a", "[\"a/#\"]"));
    assert!(load(&hook("[\"b\", \"+/1\"]")).is_ok());
    for topics in ["[\"b/#\", \"c\"]", "[\"$SYS/#\"]"] {
        let said = refused(&hook(topics));
        assert!(said.contains("no [[log]] keeps these topics"), "{said}");
    }
    assert!(refused(&format!("log = []\n{HOOK}topics = [\"#\"]\n")).contains("no [[log]]"));
}

#[test]
fn pauses_and_headers_of_posts_are_looked_at() {
    let said = refused("[outbox]\nfirst_pause = \"10s\"\nlongest_pause = \"1s\"\n");
    assert_eq!(said, "weir.toml:2: outbox.first_pause: found 10s, expected at most longest_pause (1s)");
    let said = refused(&format!("{HOOK}topics = [\"a\"]\nheaders = {{ A = \"b\\nsecret\" }}\n"));
    assert!(said.contains("visible ASCII") && !said.contains("secret"), "{said}");
    // Whether the environment has it is asked by `serve` and `check`, not by every verb that reads the file.
    let load = load(&format!("{HOOK}topics = [\"a\"]\nheaders = {{ A = \"env:WEIR_TEST_NONE\" }}\n"));
    assert!(load.unwrap().webhooks[0].headers().unwrap_err().contains("no WEIR_TEST_NONE"));
}

#[test]
fn signatures_by_nobody_and_compilers_without_limits_are_refused() {
    let wanted = "weir.toml:2: trust.require_signatures: no [[trust.key]] stands below it";
    assert!(refused("[trust]\nrequire_signatures = true\n").starts_with(wanted));
    let key =
        "[[trust.key]]\npublic = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"\nkinds = []\n";
    assert!(refused(key).contains("expected at least one of auth, filter, transform, storage"));
    assert!(refused("[compile]\ncpu = \"0s\"\n").starts_with("weir.toml:2: compile.cpu: found no time"));
    assert!(
        refused("[compile]\nmemory_bytes = 0\n").starts_with("weir.toml:2: compile.memory_bytes: found 0")
    );
    assert!(refused("[compile]\ndeadline = \"2h\"\n").contains("expected at most 3600s"));
}

#[test]
fn mistakes_in_a_bridge_are_placed() {
    for (lines, said) in [
        (
            "in = [\"a/#\"]\nurl = \"broker:1883\"",
            "weir.toml:3: bridge.mqtt.url: found \"broker:1883\", expected \"mqtt://",
        ),
        ("in = [\"a/#\"]\nurl = \"mqtt://a:hush@b\"", "weir.toml:3: bridge.mqtt.url: a URL without user"),
        ("in = [\"a/#\"]\nqos = 1", "weir.toml:3: unknown key `qos` in [bridge.mqtt]; accepted: url, ca"),
        ("client_id = \"x\"", "weir.toml:1: bridge.mqtt: nothing would come in or go out"),
        ("in = [\"a/#\"]\nversion = 3", "weir.toml:3: bridge.mqtt.version: found 3, expected 5, or 4"),
        ("in = [\"a/#\"]\nclient_id = \"\"", "weir.toml:3: bridge.mqtt.client_id: found \"\""),
        (
            "in = [\"a/#\"]\npassword = \"hush\"",
            "weir.toml:3: bridge.mqtt.password: a password needs a `username`",
        ),
        (
            "in = [\"a/#\"]\nca = \"ca.pem\"",
            "weir.toml:3: bridge.mqtt.ca: authorities are asked only of a broker with TLS",
        ),
        (
            "in = [\"a/#\"]\nkeep_alive = \"1ms\"",
            "weir.toml:3: bridge.mqtt.keep_alive: found 1ms, expected 1s to 65535s",
        ),
        ("in = [\"a/#\"]\nsession_expiry = \"31d\"", "weir.toml:3: bridge.mqtt.session_expiry: found"),
        (
            "in = [\"a/#\"]\nfirst_pause = \"1h\"",
            "weir.toml:3: bridge.mqtt.first_pause: found 3600s, expected 1ms to longest_pause (256s)",
        ),
        ("in = [\"a/#\"]\nmax_in_flight = 10001", "weir.toml:3: bridge.mqtt.max_in_flight: found 10001"),
        (
            "in = [\"a/#\"]\nreceive_maximum = 0",
            "weir.toml:3: bridge.mqtt.receive_maximum: found 0, expected a whole number, 1 to 65535",
        ),
        (
            "in = [\"a/#\"]\nbase_topic = \"a/+\"",
            "weir.toml:3: bridge.mqtt.base_topic: \"a/+\" cannot begin a topic",
        ),
        (
            "in = [\"a/#\"]\nlocal_prefix = \"$SYS\"",
            "weir.toml:3: bridge.mqtt.local_prefix: \"$SYS\": topics beginning with $",
        ),
        ("in = [\"a/#\", \"a/#/b\"]", "weir.toml:2: bridge.mqtt.in.1: pattern \"a/#/b\" cannot be used"),
        ("out = [\"$SYS/#\"]", "weir.toml:2: bridge.mqtt.out.0: pattern \"$SYS/#\": names beginning with $"),
        (
            "version = 4\nin = [\"a/#\"]\nout = [\"+/x\"]",
            "weir.toml:4: bridge.mqtt.out: with version 4 the broker sends back",
        ),
    ] {
        let found = refused(&format!("[bridge.mqtt]\n{lines}\n"));
        assert!(found.starts_with(said) && !found.contains("hush"), "{lines}: {found}");
    }
    let bridge = |lines: &str| load(&format!("[bridge.mqtt]\n{lines}\n")).unwrap().bridge.mqtt.unwrap();
    let sound =
        bridge("in = [\"a/#\"]\nout = [\"+/x\"]\nbase_topic = \"b\"\nurl = \"mqtts://c\"\nca = \"d.pem\"");
    assert_eq!((sound.base(), sound.url.port), ("b/".into(), 8883));
    let ca = sound.ca.as_ref().unwrap();
    assert!(ca.is_absolute() && sound.authorities().unwrap_err().contains("d.pem: cannot be read"));
    assert_eq!(bridge("url = \"mqtt://127.0.0.1:1883\"\nin = [\"a\"]").url, MqttBridge::default().url);
}
