//! How one listener is reached: address, TLS, what stands in front of it, and below which path it answers.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::Deserialize;

use super::{Network, Tls};

/// A listener, as its table says beside its own settings: `listen`, `tls`, `proxy_protocol`, `base_path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name in `addresses.json`, in the log and in metrics.
    pub name: &'static str,
    /// Table and key that set its address.
    pub key: [&'static str; 2],
    /// Address and port.
    pub listen: SocketAddr,
    /// TLS, if the listener speaks it.
    pub tls: Option<Tls>,
    /// Every connection begins with a PROXY protocol header, from a trusted proxy.
    pub proxy_protocol: bool,
    /// What all paths begin with; it is taken away before anything else looks at them.
    pub base_path: BasePath,
}

/// Proxies that may speak for their clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// Where they connect from.
    pub trusted: Vec<Network>,
    /// Where they say who their client is.
    pub header: ForwardedHeader,
}

/// The header that trusted proxies write. The other one is not looked at: they let it pass as the client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// A path that begins with `/` and ends with none; empty = the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BasePath(String);

impl Site {
    /// The key of its table with this setting: of `device`, one of a table's two listeners, `proxy_protocol` is
    /// `device_proxy_protocol`.
    pub fn key_of(&self, setting: &str) -> String {
        match self.key {
            [_, "listen"] => setting.to_owned(),
            [_, listener] => format!("{listener}_{setting}"),
        }
    }
}

impl BasePath {
    /// The path without a slash at its end; empty = the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is left of a path, beginning with `/` unless nothing is. None: the path is not below this one.
    pub fn strip<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(&self.0).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

impl FromStr for BasePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let plain = |segment: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            !matches!(segment, "" | "." | "..") && segment.bytes().all(known)
        };
        let sound = path.is_empty() || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain));
        match sound {
            true => Ok(Self(path.to_owned())),
            false => Err(format!(
                "found {text:?}, expected a path such as \"/weir\", of letters, digits, `-`, `.`, `_` and `~`"
            )),
        }
    }
}

impl TryFrom<String> for BasePath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_whole_segments() {
        let base: BasePath = "/weir/a/".parse().unwrap();
        for (path, rest) in [
            ("/weir/a", Some("")),
            ("/weir/a/", Some("/")),
            ("/weir/a//x", Some("//x")),
            ("/weir/a/v1/ws", Some("/v1/ws")),
            ("/weir/ab", None),
            ("/weir", None),
            ("/Weir/a/", None),
            ("*", None),
        ] {
            assert_eq!(base.strip(path), rest, "{path}");
        }
        assert_eq!(BasePath::default().strip("/x"), Some("/x"));
        assert_eq!("/".parse::<BasePath>().unwrap(), BasePath::default());
        for bad in ["weir", "//", "/a//b", "/a b", "/a?x", "/ä", "/%41", "/a/../b", "/."] {
            assert!(bad.parse::<BasePath>().unwrap_err().contains("expected a path"), "{bad}");
        }
    }
}
