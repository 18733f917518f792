//! Certificates, and clients over TLS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, SupportedProtocolVersion,
    version,
};
use weir::config::Tls;

use super::{Folders, within};

/// A file that tests have beside them: `server` is for 127.0.0.1, by the authority `ca.pem`; `renewed` by itself.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// The first certificate of a fixture.
pub fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(fixture(name)).expect("a certificate")
}

/// A listener's files in the folders of a server, to be replaced while it runs.
pub fn place(folders: &Folders, of: &str) -> Tls {
    let tls = Tls::new(folders.root().join("cert.pem"), folders.root().join("key.pem"));
    replace(&tls, of);
    tls
}

/// Puts another certificate there, each file in one step.
pub fn replace(tls: &Tls, of: &str) {
    for (file, kind) in [(&tls.cert, "pem"), (&tls.key, "key")] {
        let draft = file.with_extension("draft");
        std::fs::copy(fixture(&format!("{of}.{kind}")), &draft).expect("copy a fixture");
        std::fs::rename(draft, file).expect("put it in place");
    }
}

/// A client of the authority that only tests trust.
pub async fn trusting(address: SocketAddr) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")).expect("an authority");
    let config = builder(&[&version::TLS13, &version::TLS12]).with_root_certificates(roots);
    let stream = TcpStream::connect(address).await.expect("a connection");
    connect(stream, config.with_no_client_auth()).await.expect("a handshake")
}

/// The same with a certificate of its own, if it has one. The server may refuse it only after the handshake.
pub async fn named(address: SocketAddr, of: Option<&str>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")).expect("an authority");
    let config = builder(&[&version::TLS13, &version::TLS12]).with_root_certificates(roots);
    let config = match of {
        None => config.with_no_client_auth(),
        Some(of) => {
            let chain = CertificateDer::pem_file_iter(fixture(&format!("{of}.pem"))).expect("a chain");
            let chain = chain.collect::<Result<_, _>>().expect("a chain");
            let key = PrivateKeyDer::from_pem_file(fixture(&format!("{of}.key"))).expect("a key");
            config.with_client_auth_cert(chain, key).expect("both belong together")
        }
    };
    connect(TcpStream::connect(address).await?, config).await
}

/// A client that accepts every certificate, with these versions and protocols.
pub async fn accepting(
    stream: TcpStream,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let verifier = Arc::new(Anything(Arc::new(ring::default_provider())));
    let config = builder(versions).dangerous().with_custom_certificate_verifier(verifier);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    connect(stream, config).await
}

/// The certificate that a listener shows now.
pub async fn shown(address: SocketAddr) -> CertificateDer<'static> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let stream = accepting(stream, &[&version::TLS13], &[]).await.expect("a handshake");
    let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
    chain[0].clone().into_owned()
}

fn builder(
    versions: &[&'static SupportedProtocolVersion],
) -> tokio_rustls::rustls::ConfigBuilder<ClientConfig, tokio_rustls::rustls::WantsVerifier> {
    let provider = Arc::new(ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions")
}

async fn connect(stream: TcpStream, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    within("a TLS handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
