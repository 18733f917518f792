//! What a request says about who sent it.

use axum::extract::Query;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use super::GATEWAY;
use super::request::Fault;
use crate::gateway::Peer;
use crate::gateway::lease::{Secure, TlsName};
use crate::ingress::Credential;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Bytes of a secret.
const SECRET: usize = 8 * 1024;
/// Bytes of a client id.
const CLIENT_ID: usize = 128;
/// Bytes of an attribute; longer ones are cut.
const ATTRIBUTE: usize = 512;

/// Query parameters that are the gateway's own: they say who asks, not what for.
pub(super) const CLAIMS: [&str; 3] = ["api_key", "client_id", "origin"];

/// The query parameters of a request, in order.
pub(super) fn parameters(uri: &Uri) -> Result<Vec<(String, String)>, Fault> {
    // The parser would put U+FFFD where it is not, and a message would go to a topic that nobody named.
    if percent_decode_str(uri.query().unwrap_or_default()).decode_utf8().is_err() {
        return Err(Fault::new("the query string is not UTF-8".into()));
    }
    let parsed = Query::<Vec<(String, String)>>::try_from_uri(uri);
    parsed.map(|Query(all)| all).map_err(|error| Fault::new(format!("the query string is wrong: {error}")))
}

/// Gathers the credential. Attributes that auth plugins see: `path`, `host`, `user-agent`, `web-origin` (the
/// `Origin` header), `origin` (the claim of that name) and `scheme` (`https` or `http`, after trusted proxies).
pub(super) fn credential(
    uri: &Uri,
    headers: &HeaderMap,
    parameters: &[(String, String)],
    (peer, secure, tls): (Option<&Peer>, Option<&Secure>, Option<&TlsName>),
) -> Result<Credential, Fault> {
    let parameter =
        |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let client_id = parameter("client_id").filter(|id| !id.is_empty());
    if client_id.is_some_and(|id| id.len() > CLIENT_ID) {
        return Err(Fault::new("`client_id` must be at most 128 bytes".into()));
    }
    let (user, secret) = secret(headers, parameter("api_key"))?;
    let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let attributes = [
        ("path", Some(uri.path())),
        ("host", header(HOST)),
        ("user-agent", header(USER_AGENT)),
        ("web-origin", header(ORIGIN)),
        ("origin", parameter("origin")),
        ("scheme", secure.map(|Secure(secure)| if *secure { "https" } else { "http" })),
    ];
    let attributes = attributes.into_iter().filter_map(|(name, value)| Some((name.into(), cut(value?))));
    Ok(Credential {
        gateway: GATEWAY,
        address: peer.map(|peer| peer.0.to_string()).unwrap_or_default(),
        tls_name: tls.map(|TlsName(name)| name.as_ref().to_owned()),
        user,
        client_id: client_id.map(str::to_owned),
        secret,
        attributes: attributes.collect(),
    })
}

/// A name, and a secret with where it was found.
type Secret = (Option<String>, Option<(&'static str, Vec<u8>)>);

/// The key or the password, from the first place that has one.
fn secret(headers: &HeaderMap, parameter: Option<&str>) -> Result<Secret, Fault> {
    let (user, found) = if let Some(key) = headers.get(API_KEY) {
        (None, Some(("header", key.as_bytes().to_vec())))
    } else if let Some(value) = headers.get(AUTHORIZATION) {
        let (user, from, secret) = authorization(value.as_bytes())?;
        (user, Some((from, secret)))
    } else {
        (None, parameter.map(|key| ("query", key.as_bytes().to_vec())))
    };
    match found {
        Some((_, key)) if key.len() > SECRET => Err(Fault::new("a key has at most 8192 bytes".into())),
        found => Ok((user, found.filter(|(_, key)| !key.is_empty()))),
    }
}

fn authorization(value: &[u8]) -> Result<(Option<String>, &'static str, Vec<u8>), Fault> {
    let wrong = || {
        let reason = "`Authorization` must be `Bearer KEY`, or `Basic` with `NAME:PASSWORD` in base64";
        Fault::new(reason.into())
    };
    if let Some((scheme, token)) = value.split_at_checked(7)
        && scheme.eq_ignore_ascii_case(b"bearer ")
    {
        return Ok((None, "bearer", token.trim_ascii().to_vec()));
    }
    match value.split_at_checked(6) {
        Some((scheme, both)) if scheme.eq_ignore_ascii_case(b"basic ") => {
            let both = STANDARD.decode(both.trim_ascii()).map_err(|_| wrong())?;
            let mut parts = both.splitn(2, |byte| *byte == b':');
            let user = parts.next().and_then(|user| std::str::from_utf8(user).ok()).ok_or_else(wrong)?;
            Ok((Some(user.to_owned()), "password", parts.next().ok_or_else(wrong)?.to_vec()))
        }
        _ => Err(wrong()),
    }
}

fn cut(value: &str) -> String {
    value.get(..value.floor_char_boundary(ATTRIBUTE)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str, headers: &[(&'static str, &str)]) -> Result<Credential, Fault> {
        let uri: Uri = uri.parse().unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        credential(&uri, &map, &parameters(&uri).unwrap(), (None, None, None))
    }

    #[test]
    fn the_first_place_counts() {
        let all = [("x-api-key", "k1"), ("authorization", "Bearer k2")];
        assert_eq!(of("/?api_key=k3", &all).unwrap().secret, Some(("header", b"k1".to_vec())));
        assert_eq!(of("/?api_key=k3", &all[1..]).unwrap().secret, Some(("bearer", b"k2".to_vec())));
        assert_eq!(of("/?api_key=k%2B3", &[]).unwrap().secret, Some(("query", b"k+3".to_vec())));
        assert_eq!(of("/?api_key=", &[]).unwrap().secret, None);
        assert_eq!(
            of("/", &[("authorization", "bEaReR  k ")]).unwrap().secret,
            Some(("bearer", b"k".to_vec()))
        );
    }

    #[test]
    fn a_name_and_a_password_come_as_http_has_them() {
        let basic = of("/", &[("authorization", "basic YWRhOnBhc3M6d29yZA==")]).unwrap();
        assert_eq!(basic.user.as_deref(), Some("ada"));
        assert_eq!(basic.secret, Some(("password", b"pass:word".to_vec())));
        // No colon, and a name that is no text.
        for wrong in ["Basic YWRh", "Basic /zph", "Digest x"] {
            assert!(of("/", &[("authorization", wrong)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_a_credential_is_refused() {
        assert!(of("/", &[("authorization", "Basic abc")]).is_err());
        assert!(of("/", &[("x-api-key", &"k".repeat(8_193))]).is_err());
        assert!(of(&format!("/?client_id={}", "c".repeat(129)), &[]).is_err());
    }

    #[test]
    fn parameters_are_utf8_or_refused() {
        let of = |uri: &str| parameters(&uri.parse().unwrap());
        assert_eq!(
            of("/?topic=%C3%A4+b&x").unwrap(),
            [("topic", "ä b"), ("x", "")].map(|(a, b)| (a.into(), b.into()))
        );
        assert_eq!(of("/").unwrap(), []);
        for bad in ["/?topic=%FF", "/?%C3=%A4", "/?a=%C3&b=1"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_scheme_is_an_attribute() {
        let scheme = |secure: Option<&Secure>| {
            let credential =
                credential(&Uri::from_static("/"), &HeaderMap::new(), &[], (None, secure, None)).unwrap();
            credential.attributes.into_iter().find(|(name, _)| name == "scheme").map(|(_, scheme)| scheme)
        };
        assert_eq!(scheme(Some(&Secure(true))).as_deref(), Some("https"));
        assert_eq!(scheme(Some(&Secure(false))).as_deref(), Some("http"));
        assert_eq!(scheme(None), None);
    }

    #[test]
    fn attributes_carry_claims_but_no_key() {
        let credential = of("/v1/ws?api_key=k&origin=device&client_id=c", &[("origin", "http://x")]).unwrap();
        assert_eq!(credential.client_id.as_deref(), Some("c"));
        let attribute = |name: &str| {
            credential.attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
        };
        assert_eq!(attribute("path"), Some("/v1/ws"));
        assert_eq!(attribute("origin"), Some("device"));
        assert_eq!(attribute("web-origin"), Some("http://x"));
        assert!(!format!("{credential:?}").contains("\"k\""));
    }
}
