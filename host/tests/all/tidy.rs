//! Rules of this crate's own source, held by a test so that nobody has to remember them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The modules in the order in which a message meets them: each may use those below it.
const LAYERS: [&str; 27] = [
    "cli",
    "server",
    "bridge",
    "gateway",
    "admin",
    "ingress",
    "shard",
    "trial",
    "pipeline",
    "consumer",
    "persistent",
    "durable",
    "outbox",
    "sequencer",
    "plugin",
    "router",
    "session",
    "received",
    "retained",
    "dead_letters",
    "recorded",
    "accounts",
    "store",
    "telemetry",
    "metrics",
    "config",
    "message",
];

/// A file of `host/src`.
struct Source {
    path: String,
    text: String,
    /// Without tests and comments.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    for path in files(&root, "rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let code = code(&path, &text);
        all.push(Source { path, text, code });
    }
    assert!(all.len() > 100, "found only {} files", all.len());
    all
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            all.push(path);
        }
    }
    all.sort();
    all
}

/// What is compiled into the program: tests stand at the end of a file, or in a `tests.rs` of their own.
fn code(path: &str, text: &str) -> String {
    if path.ends_with("tests.rs") {
        return String::new();
    }
    let body = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = body.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    lines.collect::<Vec<_>>().join("\n")
}

/// The module of the top level that a file belongs to.
fn module(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap_or_default()
}

/// Modules that the code names after `crate::`, also in lists.
fn named(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let word = |text: &str| {
            text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
        };
        match rest.strip_prefix('{') {
            None => drop(named.insert(word(rest))),
            Some(list) => {
                let (mut depth, mut item) = (0, String::new());
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => drop(named.insert(word(&std::mem::take(&mut item)))),
                        _ if depth == 0 => item.push(c),
                        _ => {}
                    }
                }
                named.insert(word(&item));
            }
        }
    }
    named.retain(|name| !name.is_empty());
    named
}

#[test]
fn modules_use_only_those_below_them() {
    let rank = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let mut edges: BTreeMap<(usize, String), Vec<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !["lib.rs", "main.rs"].contains(&source.path.as_str())) {
        let from = module(&source.path);
        let Some(from_rank) = rank(from) else {
            wrong.push(format!("{}: the module {from} has no place in LAYERS", source.path));
            continue;
        };
        for to in named(&source.code).into_iter().filter(|to| to != from) {
            match rank(&to) {
                Some(to_rank) if to_rank > from_rank => {
                    edges.entry((from_rank, to)).or_default().push(source.path.clone());
                }
                Some(_) => wrong.push(format!("{}: {from} uses {to}, which stands above it", source.path)),
                None => wrong.push(format!("{}: crate::{to} is no module", source.path)),
            }
        }
    }
    assert!(edges.len() > 30, "the parser found only {} edges", edges.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn lib_rs_names_the_modules_in_this_order() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let modules: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(modules, LAYERS);
}

/// Files whose code matches, of those that `of` picks.
fn offenders(of: impl Fn(&str) -> bool, offends: impl Fn(&str) -> bool) -> Vec<String> {
    let all = sources();
    assert!(all.iter().any(|source| of(&source.path)), "no file is looked at");
    all.into_iter()
        .filter(|source| of(&source.path) && offends(&source.code))
        .map(|source| source.path)
        .collect()
}

#[test]
fn only_the_store_knows_its_database() {
    let names = |code: &str| code.contains("sled::") || code.contains("use sled");
    assert_eq!(offenders(|path| module(path) != "store", names), Vec::<String>::new());
    assert!(!offenders(|path| module(path) == "store", names).is_empty());
}

#[test]
fn gateways_know_no_plugin_and_no_store() {
    let names = |code: &str| !named(code).is_disjoint(&["plugin", "store"].map(str::to_owned).into());
    assert_eq!(offenders(|path| module(path) == "gateway", names), Vec::<String>::new());
}

#[test]
fn the_router_knows_no_plugin() {
    let names = |code: &str| named(code).contains("plugin");
    assert_eq!(offenders(|path| module(path) == "router", names), Vec::<String>::new());
}

#[test]
fn the_pipeline_never_waits() {
    let waits = |code: &str| code.contains(".await") || code.contains("async ") || code.contains("block_on");
    assert_eq!(offenders(|path| module(path) == "pipeline", waits), Vec::<String>::new());
}

#[test]
fn every_file_says_what_it_is_and_is_short() {
    for source in sources() {
        assert!(source.text.starts_with("//! "), "{} does not begin with a `//!` line", source.path);
        let lines = source.text.lines().count();
        assert!(lines <= 400, "{} has {lines} lines: split it", source.path);
    }
}

#[test]
fn nothing_is_left_for_later() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let marks = ["TODO", "FIXME", "XXX"];
    for source in sources() {
        for mark in marks {
            assert!(!source.text.contains(mark), "{} has a {mark}", source.path);
        }
    }
    let ignore = concat!("#[", "ignore");
    for path in files(&here.join("src"), "rs").into_iter().chain(files(&here.join("tests"), "rs")) {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(ignore), "{} ignores a test", path.display());
    }
}

/// Where a test named `a::b::c` on the page may stand: the file of `a::b`, without its extension.
const HOMES: [&str; 3] = ["tests/all", "tests", "src"];

#[test]
fn every_guarantee_is_shown_by_a_test_that_exists() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(here.join("../docs/guarantees.md")).unwrap();
    let promises: Vec<_> = page.lines().filter(|line| line.starts_with("| ") && line.contains('.')).collect();
    assert!(promises.len() > 20, "{} promises", promises.len());
    for promise in promises {
        let (_, shown) = promise.trim_end_matches(" |").rsplit_once(" | ").unwrap();
        for name in shown.split(", ") {
            let path = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
            let (file, test) =
                path.and_then(|path| path.rsplit_once("::")).unwrap_or_else(|| panic!("{promise}"));
            let file = file.replace("::", "/") + ".rs";
            let texts =
                HOMES.iter().filter_map(|home| std::fs::read_to_string(here.join(home).join(&file)).ok());
            assert!(
                texts.into_iter().any(|text| is_test(&text, test)),
                "{name} is no test, but shows:\n{promise}"
            );
        }
    }
}

#[test]
fn the_page_of_stock_plugins_says_what_they_say_themselves() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/stock-plugins.md")).unwrap();
    for entry in std::fs::read_dir(root.join("plugins")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let Ok(source) = std::fs::read_to_string(path.join("src/lib.rs")) else { continue };
        let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
        let own: Vec<_> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        let section = format!("## {name}\n\n{}\n", own.join("\n"));
        assert!(page.contains(&section), "the section of {name} should be:\n{section}");
    }
}

/// Whether the text has a function of this name under a test's attribute.
fn is_test(text: &str, name: &str) -> bool {
    let head = [format!("fn {name}("), format!("async fn {name}(")];
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    lines
        .windows(2)
        .any(|pair| pair[0].starts_with("#[t") && head.iter().any(|head| pair[1].starts_with(head)))
}

#[test]
fn every_fixture_is_named_by_a_test_or_a_bench() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let benches = tests.with_file_name("benches");
    let texts: Vec<_> = files(&tests.join("all"), "rs")
        .into_iter()
        .chain(files(&benches, "rs"))
        .filter(|path| !path.ends_with("tidy.rs"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let guests = tests.join("fixtures/guests");
    let folders = std::fs::read_dir(&guests).unwrap().map(|entry| entry.unwrap().path());
    let mut seen = 0;
    for folder in folders.filter(|path| path.join("Cargo.toml").exists()) {
        let name = format!("\"{}\"", folder.file_name().unwrap().to_str().unwrap());
        assert!(texts.iter().any(|text| text.contains(&name)), "no test or bench names the guest {name}");
        seen += 1;
    }
    assert!(seen >= 9, "{seen} guests");
    for binary in files(&tests, "wasm") {
        assert!(binary.starts_with(guests.join("target")), "{} is a built file", binary.display());
    }
}

#[test]
fn the_parser_of_these_rules_sees_every_form() {
    let code =
        "use crate::a::B;\nuse crate::{c, d::{E, F}, g};\nlet x = crate::h::i();\npub(crate) fn j() {}";
    assert_eq!(named(code), ["a", "c", "d", "g", "h"].map(str::to_owned).into());
}
