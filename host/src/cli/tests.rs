//! The arguments as users type them.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_of_the_manual_is_understood() {
    for line in [
        "weir serve --config f --data d --plugins p --http 127.0.0.1:1 --admin [::1]:2 --log-format json",
        "weir dev --plugins p --http 127.0.0.1:0",
        "weir init",
        "weir init there",
        "weir check --config f",
        "weir key create --name n --origin page --publish a b --subscribe c --expires 30d --attribute site=north",
        "weir key list --json",
        "weir key revoke abc --data d",
        "weir login create n --publish a b --subscribe c --password-file f --allow-weak",
        "weir login create n --origin device --tenant t --expires 30d --password-stdin --json",
        "weir login list --json",
        "weir login passwd n --password-stdin",
        "weir login delete n --data d",
        "weir pub a/b {} --key k --url ws://h:1 --level logged",
        "weir pub a/b -",
        "weir pub a/b 1 --retain",
        "weir pub a/b",
        "weir request svc/add [1,2] --timeout 250ms --json",
        "weir sub a/+ b/# --json --count 3",
        "weir plugin list",
        "weir plugin forget api-key",
        "weir log list --json",
        "weir log stat default",
        "weir log export default --since 3 --until 9 --topic a/# --out f",
        "weir log import default f",
        "weir retained list",
        "weir retained list a/# --json",
        "weir retained delete a/b",
        "weir dead list --json",
        "weir dead show 01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "weir dead purge 01ARZ3NDEKTSV4RRFFQ69G5FAV 01ARZ3NDEKTSV4RRFFQ69G5FAW",
        "weir dead purge --all",
        "weir connection list",
        "weir subscription list --admin 127.0.0.1:3",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn what_only_the_router_starts_is_understood_and_not_shown() {
    assert!(
        parse("weir compile-plugin --cache c --memory-bytes 1 --cpu-seconds 2 --small-address-space").is_ok()
    );
    assert!(!Cli::command().render_long_help().to_string().contains("compile-plugin"));
}

#[test]
fn wrong_usage_names_what_is_wrong() {
    for (line, wanted) in [
        ("weir serve --http localhost", "invalid value 'localhost' for '--http <ADDR>'"),
        ("weir serve --lisen x", "unexpected argument '--lisen'"),
        ("weir key create --name n --origin robot", "invalid value 'robot' for '--origin"),
        ("weir key create --name n", "--origin"),
        ("weir key create --name n --origin page --expires soon", "expected a duration such as 45s"),
        ("weir key create --name n --origin page --attribute x", "expected NAME=VALUE"),
        ("weir login create n --password x", "unexpected argument '--password'"),
        ("weir login passwd n --password-stdin --password-file f", "cannot be used with"),
        ("weir pub a b --level later", "expected routed, logged or stored"),
        ("weir request a b --timeout 2m", "1ms to 60s"),
        ("weir dead purge", "<IDS>"),
        ("weir sub", "<PATTERN>"),
        ("weir sub a --count 0", "0 is not in 1.."),
        ("weir pubb a", "unrecognized subcommand 'pubb'"),
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(wanted), "{line}: {error}");
    }
}
