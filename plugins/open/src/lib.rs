//! `stock:open`, an auth plugin that lets everybody in and permits everything. For trying things out.
//!
//! The client's name is its client id, else its user name, else `anonymous`, made one topic level; its origin
//! is what it claims in the attribute `origin`, if that is `device`, `page`, `sensor` or `service`, else `device`.
//! Everybody may do everything on every topic but the router's own, those that begin with `$`.
//!
//! ```toml
//! [config]
//! tenant = "main"        # the tenant of everybody; this is the default
//! ```
//!
//! When it is loaded it says in the log, as a warning, that the door is open.

use weir_plugin::contract::topic::{self, MAX_NAME_BYTES};
use weir_plugin::{
    Action, Auth, ConfigError, Context, Credential, Decision, Grant, Permission, Plugin, Result, Session,
};

/// The origins that a client may claim.
const ORIGINS: [&str; 4] = ["device", "page", "sensor", "service"];

/// The keys of `[config]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default = "main_tenant")]
    tenant: String,
}

fn main_tenant() -> String {
    "main".to_owned()
}

/// The plugin.
#[derive(Debug)]
pub struct Open {
    tenant: String,
}

impl Plugin for Open {
    type Config = Config;

    fn new(config: Config, _context: &Context) -> Result<Self, ConfigError> {
        if let Err(error) = topic::check_name(&config.tenant) {
            return Err(ConfigError::new("/tenant", format!("`{}` is no tenant: {error}", config.tenant)));
        }
        weir_plugin::warn!(
            "the door is open: everybody may publish and read everything",
            tenant = config.tenant
        );
        Ok(Self { tenant: config.tenant })
    }
}

impl Auth for Open {
    fn authenticate(&self, credential: &Credential) -> Result<Decision> {
        let claimed = credential.attribute("origin").filter(|claimed| ORIGINS.contains(claimed));
        let origin = claimed.unwrap_or("device");
        Ok(Decision::Allow(Grant::new(&self.tenant, name(credential), origin)))
    }

    fn authorize(
        &self,
        _who: &Session<'_>,
        _claims: &[u8],
        action: Action,
        topic: &str,
    ) -> Result<Permission> {
        if topic::is_reserved(topic) {
            return Ok(Permission::Deny("topics that begin with `$` are the router's own".to_owned()));
        }
        Ok(Permission::allow_if(action != Action::Other))
    }
}

/// A name that is one topic level of at most 128 bytes, cut if it must be.
fn name(credential: &Credential) -> String {
    let claimed =
        [&credential.client_id, &credential.user].into_iter().flatten().find(|text| !text.is_empty());
    let Some(claimed) = claimed else { return "anonymous".to_owned() };
    // Letter by letter, so that no letter and no `%2F` is cut in the middle. A `$` is encoded only in front.
    let mut name = String::new();
    for (at, letter) in claimed.char_indices() {
        let letter = letter.to_string();
        let encoded = if at == 0 || letter != "$" { topic::encode_level(&letter) } else { letter };
        if name.len() + encoded.len() > MAX_NAME_BYTES {
            break;
        }
        name.push_str(&encoded);
    }
    name
}

weir_plugin::export_auth!(Open);

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::serde_json::json;
    use weir_plugin::testing::Host;
    use weir_plugin::{Attribute, Level};

    fn enter(credential: &Credential) -> Grant {
        match Host::<Open>::new(json!({})).unwrap().authenticate(credential).unwrap() {
            Decision::Allow(grant) => grant,
            other => panic!("{other:?}"),
        }
    }

    fn named(client_id: &str) -> Credential {
        Credential {
            client_id: Some(client_id.to_owned()),
            user: Some("ada".to_owned()),
            ..Credential::default()
        }
    }

    #[test]
    fn everybody_has_a_name() {
        assert_eq!(enter(&Credential::default()).name, "anonymous");
        assert_eq!(enter(&named("dev-7")).name, "dev-7");
        assert_eq!(enter(&named("")).name, "ada");
        assert_eq!(enter(&named("$a/$+")).name, "%24a%2F$%2B");
        assert_eq!(enter(&named(&"é/".repeat(300))).name.len(), 127);
    }

    #[test]
    fn origins_are_claimed() {
        let claim = |value: &str| Credential {
            attributes: vec![Attribute { name: "origin".to_owned(), value: value.to_owned() }],
            ..Credential::default()
        };
        assert_eq!(enter(&claim("sensor")).origin, "sensor");
        assert_eq!(enter(&claim("plugin")).origin, "device");
        assert_eq!(enter(&claim("https://example.org")).origin, "device");
    }

    #[test]
    fn all_but_the_routers_own_topics() {
        let mut host = Host::<Open>::new(json!({"tenant": "lab"})).unwrap();
        assert!(host.logs().iter().any(|(level, text)| *level == Level::Warn && text.contains("tenant=lab")));
        let grant = Grant::new("lab", "a", "device");
        for (action, topic) in [(Action::Publish, "a/b"), (Action::Subscribe, "#"), (Action::Explain, "a")] {
            assert_eq!(host.authorize(&grant, action, topic), Ok(Permission::Allow));
        }
        for (action, topic) in
            [(Action::Publish, "$SYS/x"), (Action::Subscribe, "$SYS/#"), (Action::Other, "a")]
        {
            assert!(matches!(host.authorize(&grant, action, topic), Ok(Permission::Deny(_))));
        }
        assert_eq!(Host::<Open>::new(json!({"tenant": "a/b"})).unwrap_err().path, "/tenant");
    }
}
