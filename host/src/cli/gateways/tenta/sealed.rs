//! A certificate that vouches for itself, as the broker and the server of hermes have one: stations do not check it. It
//! keeps listeners on the way out, not those who sit in between.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::Tls;

/// What it stands for beside the name of the host.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// The certificate in the data folder, made at the first start.
pub(super) fn certificate(data: &Path, host: &str) -> anyhow::Result<Tls> {
    let tls = Tls::new(data.join("self-signed.pem"), data.join("self-signed.key"));
    if tls.cert.exists() && tls.key.exists() {
        return Ok(tls);
    }
    let mut names: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    if !host.is_empty() && !names.iter().any(|name| name == host) {
        names.push(host.to_owned());
    }
    let key = rcgen::KeyPair::generate().context("no key for a certificate")?;
    let params = rcgen::CertificateParams::new(names);
    let params = params.with_context(|| format!("{host:?} is no name of a host"))?;
    let certificate = params.self_signed(&key).context("no certificate")?;
    write(&tls.key, &pem("PRIVATE KEY", &key.serialize_der()))?;
    write(&tls.cert, &pem("CERTIFICATE", certificate.der()))?;
    Ok(tls)
}

/// RFC 7468, with lines of 64 characters.
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----");
    for (at, letter) in STANDARD.encode(der).chars().enumerate() {
        if at % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    format!("{text}\n-----END {label}-----\n")
}

/// For the owner alone.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let open = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(file);
    open.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let made = certificate(folder.path(), "broker.example").unwrap();
        assert_eq!(made.load().unwrap().cert.len(), 1);
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&made.key).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let before = std::fs::read(&made.cert).unwrap();
        assert_eq!(certificate(folder.path(), "127.0.0.1").unwrap(), made);
        assert_eq!(std::fs::read(&made.cert).unwrap(), before);
    }
}
