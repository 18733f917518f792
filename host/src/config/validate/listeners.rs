//! Addresses that collide, names that nobody could call, and listeners that nobody could reach.

use std::net::SocketAddr;

use weir_contract::topic;

use super::Problem;
use crate::config::{Config, Site, TlsError};

pub(super) fn check(config: &Config) -> Result<(), Problem> {
    addresses(config)?;
    names(config)?;
    tenta(config)?;
    for site in config.sites() {
        let [table, _] = site.key;
        if site.proxy_protocol && config.proxy.trusted.is_empty() {
            let message = "nobody could connect: list the proxies' addresses under [proxy] trusted";
            return Err(Problem::new(&[table, &site.key_of("proxy_protocol")], message));
        }
    }
    Ok(())
}

/// A certificate or key that no listener can use.
pub(in crate::config) fn certificate(site: &Site, error: &TlsError) -> Problem {
    let [table, _] = site.key;
    Problem::new(&[table, "tls", error.setting()], error.to_string())
}

fn addresses(config: &Config) -> Result<(), Problem> {
    let mut taken: Vec<Site> = Vec::new();
    for site in config.sites() {
        let address = site.listen;
        if let Some(other) = taken.iter().find(|other| collide(other.listen, address)) {
            let (by, other) = (other.key.join("."), other.listen);
            let message = format!("{address} is taken by {by} ({other}): choose another port");
            return Err(Problem::new(&site.key, message));
        }
        taken.push(site);
    }
    Ok(())
}

/// Whether both cannot be listened on. Port 0 asks the system for a free one.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && same_host
}

/// A base topic must leave room for what stands behind it.
fn tenta(config: &Config) -> Result<(), Problem> {
    let Some(tenta) = &config.tenta else { return Ok(()) };
    let whole = format!("{}configurations/{}", tenta.base(), "0".repeat(36));
    topic::check(&whole).map_err(|error| {
        Problem::new(&["tenta", "base_topic"], format!("found {:?}: {error}", tenta.base_topic))
    })
}

fn names(config: &Config) -> Result<(), Problem> {
    let http = config.http.origins.iter().enumerate().map(|origin| ("http", origin));
    let rooms = config.rooms.iter().flat_map(|rooms| rooms.origins.iter().enumerate());
    for (table, (index, origin)) in http.chain(rooms.map(|origin| ("rooms", origin))) {
        let authority =
            origin.split_once("://").filter(|(scheme, _)| !scheme.is_empty()).map(|(_, rest)| rest);
        let plain = authority.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '*', ' ', '@']));
        if origin != "*" && !plain {
            let message = format!("found {origin:?}, expected `*` or SCHEME://HOST[:PORT] without a path");
            return Err(Problem::new(&[table, "origins", &index.to_string()], message));
        }
    }
    for (index, host) in config.admin.hosts.iter().enumerate() {
        if host.is_empty() || host.contains(['/', ':', '*', ' ']) {
            let message = format!("found {host:?}, expected a host name without scheme and port");
            return Err(Problem::new(&["admin", "hosts", &index.to_string()], message));
        }
    }
    Ok(())
}
