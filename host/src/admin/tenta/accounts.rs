//! Accounts and configurations of an import. Done twice, it changes nothing the second time.

use std::collections::HashMap;

use super::document::{Document, User};
use super::{ImportError, TentaImport, TentaImported};
use crate::accounts::password;
use crate::accounts::tenta::{
    Configuration, Hash, Id, MOST_REVISION, Network, Person, Tenta, Token, is_name,
};

/// Keeps all of them, in the order in which one needs the other. Blocks.
pub(super) fn keep(
    importer: &TentaImport,
    accounts: Tenta<'_>,
    document: &Document,
) -> Result<TentaImported, ImportError> {
    let named = |table, index, name: &str| {
        let accepted = "expected up to 64 of a-z 0-9 and single hyphens in between";
        let reason = || format!("the name {name:?}: {accepted}");
        match is_name(name, importer.hermes) {
            true => Ok(()),
            false => Err(ImportError::Entry { table, index, reason: reason() }),
        }
    };
    for (index, user) in document.user.iter().enumerate() {
        named("user", index, &user.name)?;
        let before = accounts.person(user.identifier);
        let hash = hash(user, before.as_deref()).map_err(|reason| ImportError::Entry {
            table: "user",
            index,
            reason,
        })?;
        let (id, created_us) = (user.identifier, document.micros(user.creation_timestamp));
        let (tenant, name) = (importer.tenant.clone(), user.name.clone());
        let kept = accounts.put_person(Person { id, tenant, name, hash, created_us });
        kept.map_err(|error| ImportError::of("user", index, &error))?;
    }
    for (index, network) in document.network.iter().enumerate() {
        named("network", index, &network.name)?;
        let (id, created_us) = (network.identifier, document.micros(network.creation_timestamp));
        let (tenant, name) = (importer.tenant.clone(), network.name.clone());
        let kept = accounts.put_network(Network { id, tenant, name, created_us });
        kept.map_err(|error| ImportError::of("network", index, &error))?;
    }
    for (index, sensor) in document.sensor.iter().enumerate() {
        named("sensor", index, &sensor.name)?;
        let created_us = document.micros(sensor.creation_timestamp);
        let kept =
            accounts.put_sensor(sensor.identifier, sensor.network_identifier, &sensor.name, created_us);
        kept.map_err(|error| ImportError::of("sensor", index, &error))?;
    }
    for (index, permission) in document.permission.iter().enumerate() {
        let created_us = document.micros(permission.creation_timestamp);
        let kept = accounts.put_member(permission.network_identifier, permission.user_identifier, created_us);
        kept.map_err(|error| ImportError::of("permission", index, &error))?;
    }
    tokens(accounts, document)?;
    configurations(accounts, document)?;
    Ok(TentaImported {
        users: document.user.len(),
        tokens: document.session.len(),
        networks: document.network.len(),
        permissions: document.permission.len(),
        sensors: document.sensor.len(),
        configurations: document.configuration.len(),
        ..TentaImported::default()
    })
}

/// The hash of a user's password. One that is right already is not made again.
fn hash(user: &User, before: Option<&Person>) -> Result<String, String> {
    match (&user.password_hash, &user.password) {
        (Some(hash), None) if password::is_hash(hash) => Ok(hash.clone()),
        (Some(_), None) => {
            Err("password_hash: expected one of Argon2 with up to 256 MiB, 16 passes and 16 lanes".into())
        }
        (None, Some(password)) => {
            let same = |before: &&Person| password::verify(password.as_bytes(), &before.hash);
            match before.filter(same) {
                Some(before) => Ok(before.hash.clone()),
                None => password::hash(password).map_err(|error| error.to_string()),
            }
        }
        _ => Err("expected either password_hash or password".into()),
    }
}

fn tokens(accounts: Tenta<'_>, document: &Document) -> Result<(), ImportError> {
    for (index, session) in document.session.iter().enumerate() {
        let hash = match (&session.access_token_hash, &session.access_token) {
            (Some(hash), None) => *hash,
            (None, Some(token)) => Hash::of(token.as_bytes()),
            _ => {
                let reason = "expected either access_token_hash or access_token".into();
                return Err(ImportError::Entry { table: "session", index, reason });
            }
        };
        let created_us = document.micros(session.creation_timestamp);
        let kept = accounts.put_token(Token { hash, user: session.user_identifier, created_us });
        kept.map_err(|error| ImportError::of("session", index, &error))?;
    }
    Ok(())
}

/// The newest of a sensor is published again: whoever subscribes here gets it as the retained message.
fn configurations(accounts: Tenta<'_>, document: &Document) -> Result<(), ImportError> {
    let mut newest: HashMap<Id, u32> = HashMap::new();
    for configuration in &document.configuration {
        let of = newest.entry(configuration.sensor_identifier).or_default();
        *of = configuration.revision.max(*of);
    }
    for (index, row) in document.configuration.iter().enumerate() {
        let (sensor, revision) = (row.sensor_identifier, row.revision);
        if revision > MOST_REVISION || !row.value.get().starts_with('{') {
            let reason = "expected a revision below 2147483648 and an object as value".into();
            return Err(ImportError::Entry { table: "configuration", index, reason });
        }
        let kept = Configuration {
            revision,
            value: row.value.get().to_owned(),
            created_us: document.micros(row.creation_timestamp),
            published_us: row.publication_timestamp.map(|at| document.micros(at)),
        };
        let known = accounts.read_configurations(sensor, (None, None), true, 1);
        let known = known.map_err(|error| ImportError::of("configuration", index, &error))?;
        let is_newest = newest.get(&sensor) == Some(&revision)
            && known.first().is_none_or(|one| one.revision <= revision);
        let kept = accounts.put_configuration(sensor, &kept, is_newest);
        kept.map_err(|error| ImportError::of("configuration", index, &error))?;
    }
    Ok(())
}
