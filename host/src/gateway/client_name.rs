//! The name in a client's certificate: the common name of its subject, else the first DNS name. The certificate was verified
//! before, so what is not found is not there; nothing here trusts its lengths.

/// `id-at-commonName`, RFC 5280 appendix A.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// `id-ce-subjectAltName`.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 29, 17];

const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// Texts that are ASCII or UTF-8: UTF8String, PrintableString, IA5String.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
/// `[0]` of a certificate: its version. `[3]`: its extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `[2]` of a general name: a DNS name.
const DNS_NAME: u8 = 0x82;

/// Longest name, in bytes.
const MOST: usize = 256;

/// The name in a certificate in DER. None: it has none, or one that is longer than 256 bytes.
pub(super) fn of(certificate: &[u8]) -> Option<String> {
    let mut inner = Der(Der(certificate).expect(SEQUENCE)?);
    let mut fields = Der(inner.expect(SEQUENCE)?);
    fields.take_if(VERSION);
    // Serial number, algorithm, issuer, validity.
    for _ in 0..4 {
        fields.next()?;
    }
    let subject = fields.expect(SEQUENCE)?;
    let name = common_name(subject).or_else(|| dns_name(fields));
    name.filter(|name| (1..=MOST).contains(&name.len()) && !name.contains(char::is_control))
}

fn common_name(subject: &[u8]) -> Option<String> {
    let mut sets = Der(subject);
    while let Some(set) = sets.take_if(SET) {
        let mut attributes = Der(set);
        while let Some(attribute) = attributes.take_if(SEQUENCE) {
            let mut parts = Der(attribute);
            if parts.expect(OID)? == COMMON_NAME {
                let (kind, text) = parts.next()?;
                return TEXTS.contains(&kind).then(|| text_of(text)).flatten();
            }
        }
    }
    None
}

/// Of what stands behind the subject.
fn dns_name(mut fields: Der<'_>) -> Option<String> {
    let extensions = loop {
        match fields.next()? {
            (EXTENSIONS, extensions) => break extensions,
            _ => continue,
        }
    };
    let mut all = Der(Der(extensions).expect(SEQUENCE)?);
    while let Some(extension) = all.take_if(SEQUENCE) {
        let mut parts = Der(extension);
        if parts.expect(OID)? != ALTERNATIVE_NAMES {
            continue;
        }
        parts.take_if(BOOLEAN);
        let mut names = Der(Der(parts.expect(OCTETS)?).expect(SEQUENCE)?);
        while let Some((kind, name)) = names.next() {
            if kind == DNS_NAME {
                return text_of(name);
            }
        }
    }
    None
}

fn text_of(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// Elements of DER, one behind the other.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element's tag and content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match first {
            ..=0x7f => (usize::from(first), rest),
            0x81 => rest.split_first().map(|(&length, rest)| (usize::from(length), rest))?,
            0x82 => rest.split_first_chunk().map(|(&two, rest)| (u16::from_be_bytes(two).into(), rest))?,
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next element, which must have this tag.
    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }

    /// The same; else it stays where it is.
    fn take_if(&mut self, wanted: u8) -> Option<&'a [u8]> {
        let before = *self;
        let found = self.expect(wanted);
        if found.is_none() {
            *self = before;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn certificate(name: &str) -> CertificateDer<'static> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
        CertificateDer::from_pem_file(folder.join(name)).unwrap()
    }

    #[test]
    fn a_name_is_the_common_one_or_the_first_of_dns() {
        assert_eq!(of(&certificate("cellar.pem")).as_deref(), Some("cellar"));
        assert_eq!(of(&certificate("attic.pem")).as_deref(), Some("attic.example"));
        assert_eq!(of(b""), None);
    }

    proptest! {
        /// Whatever bytes change, nothing panics.
        #[test]
        fn garbage_has_no_name(at in 0_usize..600, byte in any::<u8>(), cut in 0_usize..600) {
            let mut bytes = certificate("cellar.pem").to_vec();
            if let Some(slot) = bytes.get_mut(at) {
                *slot = byte;
            }
            bytes.truncate(cut);
            of(&bytes);
        }
    }
}
