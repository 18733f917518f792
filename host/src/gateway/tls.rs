//! The certificate that a listener shows, and its replacement while connections are open.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use crate::config::{Tls, TlsError};
use crate::metrics::CertificateMetrics;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What every handshake is made with.
#[derive(Debug)]
pub(super) struct Certificates {
    name: &'static str,
    files: Tls,
    /// None: clients are asked for no certificate.
    clients: Option<Arc<dyn ClientCertVerifier>>,
    current: ArcSwap<CertifiedKey>,
    /// The files as they were when they were read last.
    first: Stamps,
}

/// By what a changed file is known: also one whose name leads elsewhere now, as certbot leaves it.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;
/// Of certificate and key.
type Stamps = [Stamp; 2];

impl Certificates {
    /// Reads the files. `name` is the listener's, for the log. Blocks.
    pub(super) fn load(name: &'static str, files: &Tls) -> Result<Arc<Self>, TlsError> {
        let first = stamps(files);
        let current = ArcSwap::from_pointee(files.load()?);
        Ok(Arc::new(Self { name, files: files.clone(), clients: files.verifier()?, current, first }))
    }

    /// TLS 1.2 and 1.3 with HTTP/1.1 inside.
    pub(super) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, rustls::Error> {
        let versions = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        let shown = Arc::new(Shown(Arc::clone(self)));
        let asked = match &self.clients {
            None => versions.with_no_client_auth(),
            Some(clients) => versions.with_client_cert_verifier(Arc::clone(clients)),
        };
        let mut config = asked.with_cert_resolver(shown);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again when they change, and when the process gets SIGHUP; for ever. Files that cannot be
    /// used change nothing.
    pub(super) async fn follow(self: Arc<Self>, metrics: CertificateMetrics) {
        let mut asked = signal(SignalKind::hangup()).ok();
        let (mut read, mut seen) = (self.first, self.first);
        loop {
            let told = tokio::select! {
                () = tokio::time::sleep(LOOK) => false,
                () = hung_up(&mut asked) => true,
            };
            let of = Arc::clone(&self);
            let Ok(found) = tokio::task::spawn_blocking(move || stamps(&of.files)).await else { return };
            // One file of the two may be there before the other: they are read when both have come to rest.
            let rests = std::mem::replace(&mut seen, found) == found;
            if told || (rests && found != read) {
                read = found;
                let (of, metrics) = (Arc::clone(&self), metrics.clone());
                drop(tokio::task::spawn_blocking(move || of.renew(&metrics)).await);
            }
        }
    }

    fn renew(&self, metrics: &CertificateMetrics) {
        let file = self.files.cert.display();
        match self.files.load() {
            Ok(new) if new.cert == self.current.load().cert => {
                tracing::info!(listener = self.name, %file, "the certificate is the one in use");
                metrics.refused.set(0);
            }
            Ok(new) => {
                self.current.store(Arc::new(new));
                metrics.renewed.inc();
                metrics.refused.set(0);
                tracing::info!(listener = self.name, %file, "a new certificate is in use");
            }
            Err(error) => {
                metrics.refused.set(1);
                tracing::error!(listener = self.name, %error, "the new certificate cannot be used: the old one stays");
            }
        }
    }
}

/// Never, where signals cannot be had.
async fn hung_up(asked: &mut Option<Signal>) {
    if let Some(asked) = asked
        && asked.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

fn stamps(files: &Tls) -> Stamps {
    [stamp(&files.cert), stamp(&files.key)]
}

fn stamp(file: &Path) -> Stamp {
    let found = std::fs::metadata(file).ok()?;
    let (modified, changed) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    Some((found.dev(), found.ino(), found.len(), modified.0, modified.1, changed.0, changed.1))
}

/// Shows the certificate of this moment.
#[derive(Debug)]
struct Shown(Arc<Certificates>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current.load_full())
    }
}
