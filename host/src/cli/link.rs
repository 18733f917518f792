//! Connections to a router's listeners: plain or under TLS, and past what the configuration puts in front of them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::{Site, Tls, TlsError};

/// What every connection can do.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// An open connection.
pub(super) type Link = Box<dyn Duplex>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the certificate of the configuration: {0}")]
    Certificate(#[from] TlsError),
    #[error(
        "it shows another certificate than {}: after a change, the server may need some seconds to read it", .0.display()
    )]
    Other(PathBuf),
    #[error("TLS failed: {0}")]
    Tls(Error),
    #[error(
        "no authority is known to this machine: install ca-certificates, or name a file with SSL_CERT_FILE"
    )]
    NoAuthorities,
    #[error("{0:?} is no name that a certificate could have")]
    Name(String),
}

/// Connects to a listener of this machine's own configuration. The certificate must be the very one of its file, so that
/// the address need not stand in it.
pub(super) async fn own(site: &Site) -> Result<Link, LinkError> {
    let mut stream = TcpStream::connect(site.listen).await?;
    if site.proxy_protocol {
        // For nobody else than itself.
        stream.write_all(b"PROXY UNKNOWN\r\n").await?;
    }
    let Some(files) = &site.tls else { return Ok(Box::new(stream)) };
    let shown = files.chain()?.into_iter().next();
    let config = client(|config| {
        let provider = Arc::new(default_provider());
        let verifier = Arc::new(Pinned { shown, provider });
        config.dangerous().with_custom_certificate_verifier(verifier)
    })?;
    seal(config, ServerName::from(site.listen.ip()), stream, Some(files)).await
}

/// Connects under TLS to whom the system's authorities know by this name.
pub(super) async fn known(name: &str, stream: TcpStream) -> Result<Link, LinkError> {
    let server = ServerName::try_from(name.to_owned()).map_err(|_| LinkError::Name(name.to_owned()))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(LinkError::NoAuthorities);
    }
    let config = client(|config| config.with_root_certificates(roots))?;
    seal(config, server, stream, None).await
}

type Unchecked = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;
type Checked = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn client(trust: impl FnOnce(Unchecked) -> Checked) -> Result<ClientConfig, LinkError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(LinkError::Tls)?;
    Ok(trust(builder).with_no_client_auth())
}

async fn seal(
    config: ClientConfig,
    server: ServerName<'static>,
    stream: TcpStream,
    files: Option<&Tls>,
) -> Result<Link, LinkError> {
    let sealed = TlsConnector::from(Arc::new(config)).connect(server, stream).await;
    let error = match sealed {
        Ok(stream) => return Ok(Box::new(stream)),
        Err(error) => error,
    };
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<Error>()).cloned();
    Err(match (tls, files) {
        (Some(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)), Some(files)) => {
            LinkError::Other(files.cert.clone())
        }
        (Some(error), _) => LinkError::Tls(error),
        (None, _) => LinkError::Io(error),
    })
}

/// Accepts one certificate.
#[derive(Debug)]
struct Pinned {
    shown: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.shown.as_ref() == Some(end_entity) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
