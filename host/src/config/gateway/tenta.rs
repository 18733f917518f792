//! `[tenta]`: the listener of the dashboard and the scripts of tenta or hermes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Deserialize;

use crate::config::{BasePath, Site, Tls, unit};

/// The listener of tenta's clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tenta {
    /// Address and port.
    #[serde(deserialize_with = "unit::address")]
    pub listen: SocketAddr,
    /// See [`Site::tls`].
    pub tls: Option<Tls>,
    /// See [`Site::proxy_protocol`].
    pub proxy_protocol: bool,
    /// See [`Site::base_path`].
    pub base_path: BasePath,
    /// Which of the two systems.
    pub flavour: TentaFlavour,
    /// What stands before `configurations/`, `measurements/`, … in topics; a slash behind it is added if it has none.
    pub base_topic: String,
    /// What `/status` says.
    pub environment: String,
    /// Likewise.
    pub commit_sha: String,
    /// Likewise.
    pub branch_name: String,
    /// Likewise, of tenta alone: where sensors find the MQTT server.
    pub mqtt_hostname: String,
    /// Likewise.
    pub mqtt_port: u16,
    /// Name of the binding of the storage plugin that keeps measurements, logs and acknowledgments.
    pub storage: String,
    /// The tenant that users and networks belong to. Another one's topics are below its name.
    pub tenant: String,
}

/// One of two systems that are alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TentaFlavour {
    /// The later one.
    #[default]
    Tenta,
    /// The earlier one: data are read without authorization.
    Hermes,
}

impl Default for Tenta {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8421),
            tls: None,
            proxy_protocol: false,
            base_path: BasePath::default(),
            flavour: TentaFlavour::Tenta,
            base_topic: String::new(),
            environment: "production".into(),
            commit_sha: "unknown".into(),
            branch_name: "unknown".into(),
            mqtt_hostname: "localhost".into(),
            mqtt_port: 1883,
            storage: "tenta".into(),
            tenant: "main".into(),
        }
    }
}

impl Tenta {
    /// What stands before `configurations/` and the like: the tenant, if it is not the operator's, and the base topic.
    pub fn base(&self) -> String {
        let tenant = if self.tenant == "main" { String::new() } else { format!("{}/", self.tenant) };
        let slash = if self.base_topic.is_empty() || self.base_topic.ends_with('/') { "" } else { "/" };
        format!("{tenant}{}{slash}", self.base_topic)
    }

    /// How it is reached.
    pub(super) fn site(&self) -> Site {
        Site {
            name: "tenta",
            key: ["tenta", "listen"],
            listen: self.listen,
            tls: self.tls.clone(),
            proxy_protocol: self.proxy_protocol,
            base_path: self.base_path.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_ends_what_stands_before_topics() {
        for (tenant, base_topic, base) in [
            ("main", "", ""),
            ("main", "a/b", "a/b/"),
            ("main", "a/", "a/"),
            ("lab", "", "lab/"),
            ("lab", "a", "lab/a/"),
        ] {
            let tenta = Tenta { tenant: tenant.into(), base_topic: base_topic.into(), ..Tenta::default() };
            assert_eq!(tenta.base(), base);
        }
    }
}
