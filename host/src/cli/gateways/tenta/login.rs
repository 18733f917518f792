//! The user name and password that the environment gives, as a login of the router.

use anyhow::{Context, anyhow};

use crate::accounts::{Accounts, AccountsError, LoginPassword, NewKey};
use crate::cli::desk::Keeper;
use crate::cli::run;
use crate::config::{Config, Tenta};

/// Passwords that are shorter are guessed.
const SHORT: usize = 8;

/// Makes the login, or gives it this password. As the broker of the originals, it lets its clients do everything, below the
/// base topic: all sensors have it.
pub(super) fn keep(config: &Config, tenta: &Tenta, user: &str, password: String) -> anyhow::Result<()> {
    run::data_folder(&config.data)?;
    let keeper = Keeper::open(config).map_err(|error| anyhow!("the accounts cannot be opened: {error}"))?;
    let done = match &keeper {
        Keeper::Store(accounts, _) => {
            put(accounts, tenta, user, password).with_context(|| format!("the login {user}"))
        }
        Keeper::Server(_) => Ok(()),
    };
    keeper.close()?;
    done
}

fn put(accounts: &Accounts, tenta: &Tenta, user: &str, password: String) -> Result<(), AccountsError> {
    if accounts.prove_login(user, password.as_bytes()).is_some() {
        return Ok(());
    }
    if password.len() < SHORT {
        tracing::warn!(login = user, "its password is short: whoever guesses it is in");
    }
    let everything = vec![format!("{}#", tenta.base())];
    let new = NewKey {
        name: user.to_owned(),
        tenant: Some(tenta.tenant.clone()),
        origin: "sensor".to_owned(),
        publish: everything.clone(),
        subscribe: everything,
        ..NewKey::default()
    };
    let password = LoginPassword::Weak(password);
    match accounts.create_login(new, password.clone()) {
        Ok(_) => tracing::info!(login = user, "a login is made, by which sensors come in"),
        Err(AccountsError::Exists { .. }) => {
            accounts.change_login(user, password)?;
            tracing::info!(login = user, "the login has another password");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_has_the_password_that_the_environment_gives() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().join("data"), ..Config::default() };
        let tenta = Tenta { base_topic: "a".into(), ..Tenta::default() };
        let proven = |password: &str| {
            let Ok(Keeper::Store(accounts, store)) = Keeper::open(&config) else { panic!("no store") };
            let account = accounts.prove_login("server", password.as_bytes());
            Keeper::Store(accounts, store).close().unwrap();
            account
        };
        keep(&config, &tenta, "server", "first".into()).unwrap();
        let first = proven("first").unwrap();
        assert_eq!(
            (&first.publish[..], &first.subscribe[..]),
            (&["a/#".to_owned()][..], &["a/#".to_owned()][..])
        );
        keep(&config, &tenta, "server", "first".into()).unwrap();
        assert_eq!(proven("first").unwrap().id, first.id, "nothing is made anew");
        keep(&config, &tenta, "server", "second one".into()).unwrap();
        assert!(proven("first").is_none() && proven("second one").is_some());
        let error = keep(&config, &tenta, "a/b", "x".into()).unwrap_err().to_string();
        assert!(error.contains("the login a/b"), "{error}");
    }
}
