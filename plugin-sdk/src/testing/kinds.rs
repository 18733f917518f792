//! One call of each kind's interface.

use super::Host;
use super::fake::Phase;
use super::rules::{self, Rights, Stopped};
use crate::{
    Action, Auth, Credential, Decision, Draft, Error, Filter, Grant, Message, Migration, Permission, Result,
    SelfTest, Session, Ticker, Time, Transform, Verdict, auth, filter, transform,
};
use weir_contract::packed::{self, FORMAT, tag};
use weir_contract::topic;

/// Most bytes of a grant's claims.
const MAX_CLAIMS: usize = 8 * 1024;
/// Most bytes of a grant's attributes, names and values.
const MAX_ATTRIBUTES: usize = 1024;

impl<P: Filter> Host<P> {
    /// One message. A refusal by `?` comes as the refuse arm, as the router sees it.
    pub fn check(&mut self, message: &Message) -> Result<Verdict> {
        let call = |plugin: &P| filter::settle(plugin.check(message));
        self.pass(Phase::Call, message.received(), call, Result::is_ok)?
    }
}

impl<P: Transform> Host<P> {
    /// One message, and what it became after the router's own checks.
    pub fn apply(&mut self, message: &Message) -> Result<Vec<Message>, Stopped> {
        let (emit, publish) = (self.emit.clone(), self.publish.clone());
        let call = |plugin: &P| {
            let outcome = transform::settle(plugin.apply(message)).map_err(Stopped::Failed)?;
            rules::outcome(message, outcome, &Rights { emit: &emit, publish: &publish })
        };
        // What this very call stopped keeps its writes; what fails or is denied does not.
        let keep = |result: &Result<_, Stopped>| {
            matches!(result, Ok(_) | Err(Stopped::Consumed | Stopped::Refused(_)))
        };
        self.pass(Phase::Call, message.received(), call, keep).map_err(Stopped::Failed)?
    }
}

impl<P: Ticker> Host<P> {
    /// One tick, and its messages after the router's own checks.
    pub fn tick(&mut self, now: Time) -> Result<Vec<Message>, Stopped> {
        let emit = self.emit.clone();
        let call = |plugin: &P| {
            let drafts: Vec<Draft> = plugin.tick(now).map_err(Stopped::Failed)?;
            rules::drafts(None, drafts, &Rights { emit: &emit, publish: &[] })
        };
        self.pass(Phase::Call, now, call, Result::is_ok).map_err(Stopped::Failed)?
    }
}

impl<P: Migration> Host<P> {
    /// The migration from a stored schema.
    pub fn migrate(&mut self, stored: u32) -> Result<()> {
        self.pass(Phase::Migration, Time::default(), |plugin| plugin.migrate(stored), Result::is_ok)?
    }
}

impl<P: SelfTest> Host<P> {
    /// The self-test; its `state` is read-only here, but holds what the test put there.
    pub fn selftest(&mut self) -> Result<(), String> {
        let ran = self.pass(Phase::ReadOnly, Time::default(), SelfTest::run, |_| false);
        ran.unwrap_or_else(|error| Err(error.to_string()))
    }
}

impl<P: Auth> Host<P> {
    /// One client. A grant that the router would not accept is an error.
    pub fn authenticate(&mut self, credential: &Credential) -> Result<Decision> {
        let mut credential = credential.clone();
        if !self.read_secret {
            credential.secret = None;
        }
        let call = |plugin: &P| {
            let decision = auth::settle(plugin.authenticate(&credential), Decision::Deny)?;
            if let Decision::Allow(grant) = &decision {
                check_grant(grant)?;
            }
            Ok(decision)
        };
        self.pass(Phase::Call, Time::default(), call, Result::is_ok)?
    }

    /// One action of a principal that was granted before.
    pub fn authorize(&mut self, grant: &Grant, action: Action, topic: &str) -> Result<Permission> {
        let blob = session(grant);
        let call = |plugin: &P| {
            let asked = plugin.authorize(&Session::new(&blob), &grant.claims, action, topic);
            auth::settle(asked, Permission::Deny)
        };
        self.pass(Phase::Call, Time::default(), call, Result::is_ok)?
    }
}

fn check_grant(grant: &Grant) -> Result<()> {
    let denied = |what: String| Err(Error::Internal(format!("the router denies this grant: {what}")));
    if let Err(error) = topic::check_name(&grant.name) {
        return denied(format!("the name `{}`: {error}", grant.name));
    }
    if !["device", "page", "sensor", "service"].contains(&grant.origin.as_str()) {
        return denied(format!("the origin `{}` is not device, page, sensor or service", grant.origin));
    }
    if grant.claims.len() > MAX_CLAIMS {
        return denied(format!("{} bytes of claims, at most {MAX_CLAIMS}", grant.claims.len()));
    }
    let attributes: usize = grant.attributes.iter().map(|pair| pair.name.len() + pair.value.len()).sum();
    if attributes > MAX_ATTRIBUTES {
        return denied(format!("{attributes} bytes of attributes, at most {MAX_ATTRIBUTES}"));
    }
    Ok(())
}

fn session(grant: &Grant) -> Vec<u8> {
    let mut blob = vec![FORMAT];
    packed::put_text(&mut blob, tag::TENANT, &grant.tenant);
    packed::put_text(&mut blob, tag::NAME, &grant.name);
    packed::put_text(&mut blob, tag::ORIGIN, &grant.origin);
    packed::put_text(&mut blob, tag::SESSION, "test");
    packed::put_text(&mut blob, tag::GATEWAY, "test");
    if let Some(account) = &grant.account {
        packed::put_text(&mut blob, tag::ACCOUNT, account);
    }
    for pair in &grant.attributes {
        packed::put_named(&mut blob, tag::ATTRIBUTE, &pair.name, &pair.value);
    }
    blob
}
