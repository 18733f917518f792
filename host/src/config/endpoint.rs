//! Where HTTP posts go: whole URLs, the URL prefixes that a binding is granted, and networks.
//!
//! A URL that is checked must be read as the receiver reads it, so what could be read in two ways is refused.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use hyper::Uri;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// Most bytes of a URL.
const URL_BYTES: usize = 2048;

/// Why a text is no URL, prefix, network or header that is accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EndpointError(String);

impl EndpointError {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// An `http://` or `https://` URL. Shows itself without path and query, which may hold secrets.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint {
    uri: Uri,
    secure: bool,
    host: String,
    port: u16,
}

/// Everything below a URL: same scheme, host and port, and a path that goes on at a `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant(Endpoint);

/// Addresses that begin alike: `10.0.0.0/8`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Endpoint {
    /// What a request is made with.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// `https://host:port`: posts to one destination keep their order.
    pub fn destination(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }

    /// The address, if it names one instead of a host.
    pub fn literal(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let refuse =
            |what: &str| Err(EndpointError(format!("{what}; expected http:// or https:// HOST[:PORT]/PATH")));
        if text.len() > URL_BYTES {
            return refuse(&format!("a URL of {} bytes, at most {URL_BYTES} are accepted", text.len()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#') {
            return refuse(
                "a URL has no spaces, control characters, backslashes, `#` or unescaped non-ASCII",
            );
        }
        let Ok(uri) = text.parse::<Uri>() else { return refuse("not a URL") };
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return refuse("not a URL of HTTP"),
        };
        if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return refuse("user and password in a URL are not accepted, use a header");
        }
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        if !is_host(&host) {
            return refuse("not a host name or address");
        }
        let default = if secure { 443 } else { 80 };
        let port = match uri.authority().and_then(|authority| authority.as_str().strip_prefix(uri.host()?)) {
            None | Some("") => default,
            Some(_) => match uri.port_u16() {
                Some(port) if port > 0 => port,
                _ => return refuse("not a port"),
            },
        };
        if climbs(uri.path()) {
            return refuse("`.` and `..` in a URL's path are not accepted");
        }
        Ok(Self { uri, secure, host, port })
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.destination())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}/…")
    }
}

impl Grant {
    /// Whether a post may go there.
    pub fn covers(&self, endpoint: &Endpoint) -> bool {
        let Self(prefix) = self;
        let below = endpoint.uri.path().strip_prefix(prefix.uri.path());
        let boundary =
            |rest: &str| rest.is_empty() || rest.starts_with('/') || prefix.uri.path().ends_with('/');
        prefix.secure == endpoint.secure
            && prefix.host == endpoint.host
            && prefix.port == endpoint.port
            && below.is_some_and(boundary)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.uri.fmt(out)
    }
}

impl FromStr for Grant {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let endpoint: Endpoint = text.parse()?;
        if endpoint.uri.query().is_some() {
            return Err(EndpointError("a prefix of URLs has no query".into()));
        }
        Ok(Self(endpoint))
    }
}

impl Network {
    /// Its lowest address.
    fn first(self) -> IpAddr {
        match self.address {
            IpAddr::V4(own) => {
                let host = u32::MAX.checked_shr(self.bits.into()).unwrap_or(0);
                IpAddr::V4((own.to_bits() & !host).into())
            }
            IpAddr::V6(own) => {
                let host = u128::MAX.checked_shr(self.bits.into()).unwrap_or(0);
                IpAddr::V6((own.to_bits() & !host).into())
            }
        }
    }

    /// Whether an address belongs to it. Give IPv4 as IPv4, not mapped into IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let host = u32::MAX.checked_shr(self.bits.into()).unwrap_or(0);
                (own.to_bits() ^ other.to_bits()) & !host == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let host = u128::MAX.checked_shr(self.bits.into()).unwrap_or(0);
                (own.to_bits() ^ other.to_bits()) & !host == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let parsed = address.parse::<IpAddr>().ok().and_then(|address| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
            (bits <= most).then_some(Self { address, bits })
        });
        let wrong = || {
            format!("found {text:?}, expected a network such as \"10.0.0.0/8\", \"fd00::/8\" or an address")
        };
        let network = parsed.ok_or_else(|| EndpointError(wrong()))?;
        // Whoever writes another address than the network's own may have meant that one alone.
        let first = network.first();
        if first != network.address {
            let Self { address, bits } = network;
            return Err(EndpointError(format!(
                "found {text:?}, which is within \"{first}/{bits}\": expected that for the whole network, or \"{address}\" for one address"
            )));
        }
        Ok(network)
    }
}

impl TryFrom<String> for Network {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

fn is_host(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && host.bytes().all(plain),
    }
}

/// Whether a receiver might take the path for another one, outside the prefix that was granted.
fn climbs(path: &str) -> bool {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    decoded.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn urls_that_could_be_read_in_two_ways_are_refused() {
        for good in
            ["http://a", "https://A.example:8443/x?y=%20", "http://[::1]:80/", "http://10.0.0.5/a%2Fb"]
        {
            endpoint(good);
        }
        for bad in [
            "",
            "a",
            "/x",
            "ftp://a/",
            "http://",
            "http:///x",
            "http://u:p@a/",
            "http://a b/",
            "http://a/\\x",
            "http://a/#x",
            "http://ä/",
            "http://a:0/",
            "http://a:99999/",
            "http://a:/",
            "http://[::1/",
            "http://a/x/../y",
            "http://a/%2e%2E/y",
            "http://a/..%2fy",
            "http://a/./",
            "http://a%2eb/",
            "http://*/",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
        assert!(format!("http://a/{}", "x".repeat(URL_BYTES)).parse::<Endpoint>().is_err());
        assert_eq!(endpoint("https://A.Example/secret").destination(), "https://a.example:443");
        assert!(!format!("{:?}", endpoint("https://a/secret?token")).contains("secret"));
    }

    #[test]
    fn a_grant_covers_what_is_below_it_and_nothing_beside_it() {
        let covers = |grant: &str, url: &str| grant.parse::<Grant>().unwrap().covers(&endpoint(url));
        for (grant, url) in [
            ("http://a", "http://a/x"),
            ("http://a/x", "http://a/x"),
            ("http://a/x", "http://a:80/x/y?q"),
            ("http://a/x/", "http://a/x/y"),
            ("https://A:443/", "https://a/"),
        ] {
            assert!(covers(grant, url), "{grant} {url}");
        }
        for (grant, url) in [
            ("http://a/x", "http://a/xy"),
            ("http://a/x/", "http://a/x"),
            ("http://a/", "https://a/"),
            ("http://a/", "http://a:81/"),
            ("http://a/", "http://a.b/"),
            ("http://a/", "http://b/"),
        ] {
            assert!(!covers(grant, url), "{grant} {url}");
        }
        assert!("http://a/?x".parse::<Grant>().is_err());
    }

    #[test]
    fn networks() {
        let contains = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().contains(address.parse().unwrap())
        };
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8", "fd12::1", true),
            ("::/0", "fe80::1", true),
            ("::1", "::2", false),
        ] {
            assert_eq!(contains(network, address), expected, "{network} {address}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "a", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        for (bad, wanted) in
            [("10.0.0.1/8", "\"10.0.0.0/8\""), ("1.2.3.4/0", "\"0.0.0.0/0\""), ("fd12::1/8", "\"fd00::/8\"")]
        {
            let said = bad.parse::<Network>().unwrap_err().to_string();
            assert!(said.contains(wanted), "{said}");
        }
    }
}
