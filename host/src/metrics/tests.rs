//! The text that scrapers see.

use std::time::Duration;

use super::*;
use crate::message::Outcome;

fn samples(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' ')).collect()
}

#[test]
fn counts_reach_the_text() {
    let metrics = Metrics::new();
    let stage = metrics.stage("filter", "dedup", "abc123");
    stage.ended(End::Keep, Duration::from_nanos(300));
    metrics.stage("filter", "dedup", "abc123").ended(End::Trap, Duration::from_micros(3));
    assert_eq!(stage.totals(), (2, 1));
    let http = metrics.gateway("http");
    http.ended(&Outcome::Overloaded, Duration::from_millis(1));
    http.authenticated(Decision::Unauthenticated);
    http.bytes_in.inc_by(7);
    metrics.log("default").durable.set(41);
    metrics.load_failures("compile").inc();
    metrics.plugin_swaps.inc();
    let text = metrics.encode();
    let samples = samples(&text);
    for (name, value) in [
        (r#"weir_plugin_calls_total{stage="filter",plugin="dedup",version="abc123",end="keep"}"#, "1"),
        (r#"weir_plugin_calls_total{stage="filter",plugin="dedup",version="abc123",end="trap"}"#, "1"),
        (r#"weir_plugin_seconds_count{stage="filter",plugin="dedup",version="abc123"}"#, "2"),
        (r#"weir_plugin_seconds_bucket{le="5.12e-7",stage="filter",plugin="dedup",version="abc123"}"#, "1"),
        (r#"weir_plugin_seconds_bucket{le="+Inf",stage="filter",plugin="dedup",version="abc123"}"#, "2"),
        (r#"weir_publishes_total{gateway="http",outcome="overloaded"}"#, "1"),
        (r#"weir_publishes_total{gateway="http",outcome="accepted"}"#, "0"),
        (r#"weir_auth_decisions_total{gateway="http",decision="unauthenticated"}"#, "1"),
        (r#"weir_received_bytes_total{gateway="http"}"#, "7"),
        (r#"weir_log_durable_offset{log="default"}"#, "41"),
        (r#"weir_plugin_load_failures_total{step="compile"}"#, "1"),
        ("weir_plugin_swaps_total", "1"),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name}\n{text}");
    }
}

#[test]
fn the_text_is_prometheus_0_0_4() {
    let metrics = Metrics::new();
    metrics.gateway("http").bytes_in.inc();
    let text = metrics.encode();
    assert!(text.ends_with('\n') && !text.contains("# EOF") && !text.contains("# UNIT"));
    let mut declared = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            declared = rest.split_once(' ');
        } else if !line.starts_with('#') {
            let (name, kind) = declared.expect("samples follow their declaration");
            let sample = line.split(['{', ' ']).next().unwrap();
            let histogram = ["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}"));
            assert!(
                sample == name || (kind == "histogram" && histogram.iter().any(|h| h == sample)),
                "{line}"
            );
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        }
    }
}

#[test]
fn a_forgotten_version_leaves_no_series() {
    let metrics = Metrics::new();
    for version in ["v1", "v2"] {
        metrics.stage("filter", "dedup", version).ended(End::Keep, Duration::ZERO);
    }
    metrics.forget_stage("dedup", "v1");
    let text = metrics.encode();
    assert!(!text.contains(r#"version="v1""#) && text.contains(r#"version="v2""#));
}

#[test]
fn a_gateway_without_connections_goes_back_to_zero() {
    let metrics = Metrics::new();
    let load = Load { connections: 3, subscriptions: 5, queued_messages: 2, queued_bytes: 9 };
    metrics.set_load(&BTreeMap::from([("http", load)]));
    assert!(metrics.encode().contains("weir_subscriptions{gateway=\"http\"} 5\n"));
    assert!(metrics.encode().contains("weir_queued_messages{gateway=\"http\"} 2\n"));
    metrics.set_load(&BTreeMap::new());
    assert!(metrics.encode().contains("weir_connections{gateway=\"http\"} 0\n"));
}

#[test]
fn ready_when_nothing_is_waited_for() {
    let ready = Readiness::default();
    ready.wait("plugins", "loading");
    ready.done("server");
    assert_eq!(ready.reasons(), BTreeMap::from([("plugins", "loading".to_owned())]));
    ready.done("plugins");
    assert!(ready.is_ready());
}
