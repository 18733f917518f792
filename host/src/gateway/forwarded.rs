//! Whom a request comes from, when a proxy says so in a header.
//!
//! Every proxy adds, on the right, the address that it was called from. So the list is read from the right, as far as
//! the proxies are trusted: the first address that is no trusted proxy is the client's. What stands left of it the
//! client may have written itself.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::FORWARDED;
use axum::http::{HeaderMap, HeaderName};

use crate::config::{ForwardedHeader, Proxy};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) address: IpAddr,
    /// 0 = not known.
    pub(super) port: u16,
    /// Came by `https`.
    pub(super) secure: bool,
}

/// One hop of the way, as the proxy that it reached wrote it down.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hop {
    /// None: hidden, unknown or no address.
    from: Option<(IpAddr, u16)>,
    secure: Option<bool>,
}

/// Whether this address may speak for others.
pub(super) fn is_trusted(proxy: &Proxy, address: IpAddr) -> bool {
    proxy.trusted.iter().any(|network| network.contains(address))
}

/// The client that a request comes from, when `peer` is who sent it.
pub(super) fn client(proxy: &Proxy, peer: Client, headers: &HeaderMap) -> Client {
    let mut client = peer;
    if !is_trusted(proxy, peer.address) {
        return client;
    }
    let hops = match proxy.header {
        ForwardedHeader::XForwardedFor => x_forwarded(headers),
        ForwardedHeader::Forwarded => forwarded(headers),
    };
    for hop in hops.iter().rev() {
        client.secure = hop.secure.unwrap_or(client.secure);
        let Some((address, port)) = hop.from else { break };
        (client.address, client.port) = (address, port);
        if !is_trusted(proxy, address) {
            break;
        }
    }
    client
}

/// `X-Forwarded-For: a, b` and `X-Forwarded-Proto: https`, which may have one entry for each address, or one for all.
fn x_forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let mut hops: Vec<Hop> =
        list(headers, &FOR).map(|entry| Hop { from: node(entry), secure: None }).collect();
    let protocols: Vec<_> = list(headers, &PROTO).map(is_secure).collect();
    if hops.is_empty() && !protocols.is_empty() {
        hops.push(Hop::default());
    }
    let last = protocols.last().copied().flatten();
    let each = protocols.len() == hops.len();
    for (at, hop) in hops.iter_mut().enumerate() {
        hop.secure = if each { protocols.get(at).copied().flatten() } else { last };
    }
    hops
}

/// `Forwarded: for=192.0.2.43;proto=https, for="[2001:db8::17]:4711"`.
fn forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let hop = |element: &str| {
        let mut hop = Hop::default();
        for (name, value) in element.split(';').filter_map(|pair| pair.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim() {
                name if name.eq_ignore_ascii_case("for") => hop.from = node(value),
                name if name.eq_ignore_ascii_case("proto") => hop.secure = is_secure(value),
                _ => {}
            }
        }
        hop
    };
    list(headers, &FORWARDED).map(hop).collect()
}

/// The entries of all headers of this name, in order. Quotes do not keep entries together: in front of what a proxy
/// adds, a client could open one. What is not ASCII hides its whole line.
fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> + use<'h> {
    let lines = headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or("unknown"));
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|entry| !entry.is_empty())
}

fn is_secure(protocol: &str) -> Option<bool> {
    match protocol {
        _ if protocol.eq_ignore_ascii_case("https") || protocol.eq_ignore_ascii_case("wss") => Some(true),
        _ if protocol.eq_ignore_ascii_case("http") || protocol.eq_ignore_ascii_case("ws") => Some(false),
        _ => None,
    }
}

/// An address with or without port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<(IpAddr, u16)> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse::<IpAddr>().map(|address| (address, 0));
    let (address, port) = parsed
        .or_else(|_| text.parse::<SocketAddr>().map(|address| (address.ip(), address.port())))
        .or_else(|error| match text.rsplit_once(':') {
            // The port may be hidden alone.
            Some((rest, port)) if port.starts_with('_') => {
                let rest = rest.trim_matches(['[', ']']);
                rest.parse().map(|address| (address, 0)).map_err(|_| error)
            }
            _ => Err(error),
        })
        .ok()?;
    Some((address.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(header: ForwardedHeader, peer: &str, headers: &[(&'static str, &str)]) -> (String, bool) {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).to_vec();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let peer = Client { address: peer.parse().unwrap(), port: 9, secure: false };
        let client = client(&Proxy { trusted, header }, peer, &map);
        (client.address.to_string(), client.secure)
    }

    #[test]
    fn the_rightmost_address_that_is_no_trusted_proxy_counts() {
        let of = |peer: &str, list: &str| found(Default::default(), peer, &[("x-forwarded-for", list)]).0;
        for (peer, list, wanted) in [
            ("10.0.0.1", "192.0.2.1", "192.0.2.1"),
            ("10.0.0.1", "192.0.2.66, 192.0.2.1", "192.0.2.1"),
            ("10.0.0.1", "192.0.2.66, 192.0.2.1, 10.9.9.9,fd00::1", "192.0.2.1"),
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("10.0.0.1", "192.0.2.1:4711", "192.0.2.1"),
            ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
            ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
            ("10.0.0.1", "::ffff:192.0.2.1", "192.0.2.1"),
            ("10.0.0.1", "192.0.2.66, unknown", "10.0.0.1"),
            ("10.0.0.1", "192.0.2.66, unknown, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "192.0.2.66, <script>", "10.0.0.1"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "\", 192.0.2.1", "192.0.2.1"),
            ("192.0.2.9", "192.0.2.66", "192.0.2.9"),
        ] {
            assert_eq!(of(peer, list), wanted, "{peer} {list:?}");
        }
        let lines = [("x-forwarded-for", "192.0.2.66"), ("x-forwarded-for", "192.0.2.1, 10.0.0.2")];
        assert_eq!(found(Default::default(), "10.0.0.1", &lines).0, "192.0.2.1");
    }

    #[test]
    fn the_scheme_is_that_of_the_same_hop() {
        let of = |peer: &str, list: &str, proto: &str| {
            found(Default::default(), peer, &[("x-forwarded-for", list), ("x-forwarded-proto", proto)]).1
        };
        assert!(of("10.0.0.1", "192.0.2.1", "https"));
        assert!(of("10.0.0.1", "192.0.2.1, 10.0.0.2", "https, http"));
        assert!(!of("10.0.0.1", "192.0.2.66, 192.0.2.1", "https, http"));
        assert!(of("10.0.0.1", "192.0.2.66, 192.0.2.1", "HTTPS"));
        assert!(of("10.0.0.1", "", "wss"));
        assert!(!of("10.0.0.1", "192.0.2.1", "gopher"));
        assert!(!of("192.0.2.9", "192.0.2.1", "https"));
    }

    #[test]
    fn rfc_7239_is_read_with_its_quotes() {
        let of = |value: &str| found(ForwardedHeader::Forwarded, "10.0.0.1", &[("forwarded", value)]);
        for (value, wanted) in [
            ("for=192.0.2.43", ("192.0.2.43", false)),
            ("For=\"[2001:db8:cafe::17]:4711\";proto=https", ("2001:db8:cafe::17", true)),
            ("for=192.0.2.66;proto=http, for=192.0.2.1;by=10.0.0.2;Proto=HTTPS", ("192.0.2.1", true)),
            ("for=192.0.2.66, for=_hidden", ("10.0.0.1", false)),
            ("for=\", for=192.0.2.1", ("192.0.2.1", false)),
            ("for=unknown", ("10.0.0.1", false)),
            ("for=\"192.0.2.1:_obf\" ; proto=https", ("192.0.2.1", true)),
            ("nonsense", ("10.0.0.1", false)),
        ] {
            assert_eq!(of(value), (wanted.0.to_owned(), wanted.1), "{value}");
        }
    }

    #[test]
    fn the_other_header_is_not_looked_at() {
        let both = [("forwarded", "for=192.0.2.66"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(found(ForwardedHeader::XForwardedFor, "10.0.0.1", &both).0, "192.0.2.1");
        assert_eq!(found(ForwardedHeader::Forwarded, "10.0.0.1", &both).0, "192.0.2.66");
        assert_eq!(found(ForwardedHeader::XForwardedFor, "10.0.0.1", &both[..1]).0, "10.0.0.1");
    }
}
