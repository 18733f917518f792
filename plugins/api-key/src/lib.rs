//! `stock:api-key`, an auth plugin for the router's own API keys (`weir key create …`) and logins (`weir login
//! create …`: names with passwords, for MQTT and HTTP Basic).
//!
//! The router compares the key or the password that a client presents with the hashes it keeps, before this plugin is
//! asked. A client with a proven one becomes the principal that its account names, with the account's scopes,
//! in which `{principal}` and `{tenant}` are filled in. A client without one is none of this plugin's
//! business: the next auth plugin is asked.
//!
//! ```toml
//! [config]
//! allow_query = true           # accept keys in the query string of a URL, which proxies like to log; the default
//! default_origin = "device"    # of accounts that name none: device (the default), page, sensor or service
//! ```
//!
//! A key of the origin `service` may also have messages explained (`explain=true`) to which it may publish: it
//! then learns what every plugin says of them. Other keys may not.
//!
//! When a key is revoked or expires, or a login is deleted or gets another password, the router ends the sessions that
//! rest on it.

use weir_plugin::contract::topic;
use weir_plugin::{
    Account, Action, Auth, ConfigError, Context, Credential, Decision, Grant, Permission, Plugin, Result,
    Scopes, Session, Time,
};

/// The realms of the router's API keys and logins.
const REALMS: [&str; 2] = ["keys", "logins"];

/// The keys of `[config]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default = "yes")]
    allow_query: bool,
    #[serde(default)]
    default_origin: Origin,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Copy, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Origin {
    #[default]
    Device,
    Page,
    Sensor,
    Service,
}

impl Origin {
    fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Page => "page",
            Self::Sensor => "sensor",
            Self::Service => "service",
        }
    }
}

/// The plugin.
#[derive(Debug)]
pub struct ApiKey {
    config: Config,
}

impl Plugin for ApiKey {
    type Config = Config;

    fn new(config: Config, _context: &Context) -> Result<Self, ConfigError> {
        Ok(Self { config })
    }
}

impl Auth for ApiKey {
    fn authenticate(&self, credential: &Credential) -> Result<Decision> {
        let Some(account) = REALMS.into_iter().find_map(|realm| credential.proven_in(realm)) else {
            return Ok(Decision::Abstain);
        };
        if !self.config.allow_query && credential.secret_from.as_deref() == Some("query") {
            return Ok(Decision::Deny("keys in the query string are not accepted (allow_query)".to_owned()));
        }
        Ok(Decision::Allow(self.grant(account)?))
    }

    fn authorize(&self, who: &Session<'_>, claims: &[u8], action: Action, topic: &str) -> Result<Permission> {
        if action == Action::Explain && !who.origin().is_service() {
            return Ok(Permission::Deny("only keys of the origin `service` may explain".to_owned()));
        }
        let action = if action == Action::Explain { Action::Publish } else { action };
        Ok(Permission::allow_if(Scopes::from_claims(claims)?.allows(action, topic)))
    }
}

impl ApiKey {
    fn grant(&self, account: &Account) -> Result<Grant> {
        let origin = match account.origin.as_str() {
            "" => self.config.default_origin.as_str(),
            set => set,
        };
        let mut grant = Grant::new(&account.tenant, name(account), origin);
        grant.claims = Scopes::of(account, &grant.name)?.to_claims();
        grant.account = Some(account.id.clone());
        grant.expires = account.expires_us.map(Time::from_micros);
        Ok(grant)
    }
}

/// The account's name, as one topic level; its id, if it has none or one that is too long.
fn name(account: &Account) -> String {
    let name = topic::encode_level(&account.name);
    if topic::check_name(&name).is_ok() { name } else { topic::encode_level(&account.id) }
}

weir_plugin::export_auth!(ApiKey);

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::serde_json::{Value, json};
    use weir_plugin::testing::Host;

    fn account() -> Account {
        let mut account = Account::new("keys", "k1", "main");
        account.name = "dev/7".to_owned();
        account.publish = vec!["{tenant}/{principal}/#".to_owned()];
        account.subscribe = vec!["news/+".to_owned()];
        account.expires_us = Some(9);
        account
    }

    fn ask(config: Value, account: Account, secret_from: &str) -> Result<Decision> {
        let credential = Credential {
            proven: vec![Account::new("users", "ada", "main"), account],
            secret_from: Some(secret_from.to_owned()),
            ..Credential::default()
        };
        Host::<ApiKey>::new(config).unwrap().authenticate(&credential)
    }

    fn granted(account: Account) -> Grant {
        match ask(json!({"default_origin": "service"}), account, "bearer") {
            Ok(Decision::Allow(grant)) => grant,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_proves_nothing_is_left_to_others() {
        let mut host = Host::<ApiKey>::new(json!({})).unwrap();
        assert_eq!(host.authenticate(&Credential::default()), Ok(Decision::Abstain));
    }

    #[test]
    fn a_key_becomes_its_principal() {
        let grant = granted(account());
        assert_eq!((grant.tenant.as_str(), grant.name.as_str()), ("main", "dev%2F7"));
        assert_eq!((grant.account.as_deref(), grant.expires), (Some("k1"), Some(Time::from_micros(9))));
        assert_eq!(grant.origin, "service");
        let sensor = Account { origin: "sensor".to_owned(), name: String::new(), ..account() };
        assert_eq!(
            (granted(sensor.clone()).origin, granted(sensor).name),
            ("sensor".to_owned(), "k1".to_owned())
        );
    }

    #[test]
    fn a_login_becomes_its_principal() {
        let login = Account { realm: "logins".to_owned(), origin: "sensor".to_owned(), ..account() };
        let Ok(Decision::Allow(grant)) = ask(json!({}), login, "password") else {
            panic!("a login is let in")
        };
        assert_eq!((grant.name.as_str(), grant.origin.as_str()), ("dev%2F7", "sensor"));
        let user = Account { realm: "users".to_owned(), ..account() };
        assert_eq!(ask(json!({}), user, "password"), Ok(Decision::Abstain), "users of rooms are no logins");
    }

    #[test]
    fn scopes_decide() {
        let grant = granted(account());
        let mut host = Host::<ApiKey>::new(json!({})).unwrap();
        let mut may = |action, topic| host.authorize(&grant, action, topic) == Ok(Permission::Allow);
        assert!(may(Action::Publish, "main/dev%2F7/up") && may(Action::Subscribe, "news/+"));
        assert!(!may(Action::Publish, "main/dev/7/up") && !may(Action::Publish, "news/today"));
        assert!(!may(Action::Subscribe, "news/#") && !may(Action::Subscribe, "#"));
        assert!(may(Action::Query, "news/today") && !may(Action::Other, "news/today"));
    }

    #[test]
    fn services_may_explain_what_they_may_publish() {
        let mut host = Host::<ApiKey>::new(json!({})).unwrap();
        let service = granted(account());
        assert_eq!(host.authorize(&service, Action::Explain, "main/dev%2F7/up"), Ok(Permission::Allow));
        let denied = |answer| matches!(answer, Ok(Permission::Deny(_)));
        assert!(denied(host.authorize(&service, Action::Explain, "news/today")), "it may only read there");
        let sensor = granted(Account { origin: "sensor".to_owned(), ..account() });
        assert!(denied(host.authorize(&sensor, Action::Explain, "main/dev%2F7/up")));
    }

    #[test]
    fn keys_in_urls_are_a_choice() {
        assert!(matches!(ask(json!({}), account(), "query"), Ok(Decision::Allow(_))));
        let strict = json!({"allow_query": false});
        assert!(matches!(ask(strict.clone(), account(), "query"), Ok(Decision::Deny(_))));
        assert!(matches!(ask(strict, account(), "header"), Ok(Decision::Allow(_))));
    }

    #[test]
    fn a_bad_scope_lets_nobody_in() {
        let mut bad = account();
        bad.subscribe = vec!["a/#/b".to_owned()];
        assert!(ask(json!({}), bad, "bearer").is_err());
        assert_eq!(
            Host::<ApiKey>::new(json!({"default_origin": "cat"})).unwrap_err().path,
            "/default_origin"
        );
    }
}
