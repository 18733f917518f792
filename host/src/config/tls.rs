//! The certificate of a listener and its key, as files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use serde::Deserialize;

use super::file;

/// Where certificate and key are. Both are read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate in PEM, followed by those of the authorities in between.
    pub cert: PathBuf,
    /// Its private key in PEM, without a password.
    pub key: PathBuf,
    /// Certificates in PEM of the authorities that certify clients; none: clients are asked for no certificate. Read when
    /// the router starts.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// Whether clients must have one.
    #[serde(default)]
    pub client_auth: ClientAuth,
}

/// Whether clients must show a certificate, where an authority for them is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// They must.
    #[default]
    Required,
    /// They may. One that is not valid is refused all the same.
    Optional,
}

/// Why a listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate's file.
    #[error("{}: {what}", file.display())]
    Cert {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The key's file, of which nothing is shown.
    #[error("{}: {what}", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file of the authorities for clients.
    #[error("{}: {what}", file.display())]
    ClientCa {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl TlsError {
    /// The setting that names the file.
    pub(super) fn setting(&self) -> &'static str {
        match self {
            Self::Cert { .. } => "cert",
            Self::Key { .. } => "key",
            Self::ClientCa { .. } => "client_ca",
        }
    }
}

impl Tls {
    /// A certificate and its key, for clients that need none.
    pub fn new(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { cert: cert.into(), key: key.into(), ..Self::default() }
    }

    /// Relative files are relative to this folder.
    pub(super) fn place(&mut self, folder: &Path) {
        self.cert = folder.join(&self.cert);
        self.key = folder.join(&self.key);
        self.client_ca = self.client_ca.as_ref().map(|file| folder.join(file));
    }

    /// Verifies the certificates of clients. None: they are asked for none. Blocks.
    pub fn verifier(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let Some(file) = &self.client_ca else { return Ok(None) };
        let wrong = |what: String| TlsError::ClientCa { file: file.clone(), what };
        let text = file::read(file).map_err(|error| wrong(unreadable(&error)))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let certificate = certificate.map_err(|_| wrong("it is not PEM".into()))?;
            roots.add(certificate).map_err(|error| wrong(format!("no authority: {error}")))?;
        }
        if roots.is_empty() {
            return Err(wrong("there is no certificate in it".into()));
        }
        let provider = Arc::new(default_provider());
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if self.client_auth == ClientAuth::Optional {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map(Some).map_err(|error| wrong(error.to_string()))
    }

    /// Reads both files, which must belong together. Blocks.
    pub fn load(&self) -> Result<CertifiedKey, TlsError> {
        let chain = self.chain()?;
        let wrong = |what: String| TlsError::Key { file: self.key.clone(), what };
        let text = file::read(&self.key).map_err(|error| wrong(unreadable(&error)))?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| {
            wrong(match error {
                pem::Error::NoItemsFound if text.contains("ENCRYPTED PRIVATE KEY") => {
                    "the key has a password: a key without one is accepted".into()
                }
                pem::Error::NoItemsFound => "there is no private key in it".into(),
                _ => "it is not PEM".into(),
            })
        })?;
        CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                wrong(format!("the key does not belong to the certificate in {}", self.cert.display()))
            }
            rustls::Error::InvalidCertificate(error) => {
                TlsError::Cert { file: self.cert.clone(), what: format!("no certificate for TLS: {error}") }
            }
            error => wrong(format!("no key for TLS: {error}; accepted are RSA, ECDSA and Ed25519")),
        })
    }

    /// The certificates, the listener's own first. Blocks.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let wrong = |what: String| TlsError::Cert { file: self.cert.clone(), what };
        let text = file::read(&self.cert).map_err(|error| wrong(unreadable(&error)))?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        match chain {
            Ok(chain) if chain.is_empty() => Err(wrong("there is no certificate in it".into())),
            Ok(chain) => Ok(chain),
            Err(_) => Err(wrong("it is not PEM".into())),
        }
    }
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}
