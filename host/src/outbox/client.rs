//! One attempt to send a post: no redirects, no proxies, no cookies, no second look-up of the host's name.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use super::address::Resolver;
use super::post::Post;
use crate::config;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// A connection that nothing uses is closed after so long.
const IDLE: Duration = Duration::from_secs(30);
/// An answer's body is read this far, so that its connection can be used again, and thrown away.
const ANSWER_BYTES: usize = 64 * 1024;
/// It is read for so long at most.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Sends posts. Connections are kept and used again.
pub(super) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
    timeout: Duration,
}

/// Why an attempt failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// In words, without what may be secret.
    pub(super) reason: String,
    /// Whether another attempt may do better.
    pub(super) again: bool,
    /// Not before so long.
    pub(super) after: Option<Duration>,
}

impl Client {
    pub(super) fn new(options: &config::Outbox) -> Result<Self, rustls::Error> {
        let mut connector = HttpConnector::new_with_resolver(Resolver::new(&options.networks));
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(options.connect));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(4)
            .build(connector);
        Ok(Self { http, timeout: options.timeout })
    }

    /// Returns when the receiver has answered, or at the latest when the time is up.
    pub(super) async fn send(&self, post: &Post) -> Result<(), Failure> {
        let retry = |reason: String| Failure { reason, again: true, after: None };
        let request = request(post).map_err(|error| Failure { again: false, ..retry(error.to_string()) })?;
        match tokio::time::timeout(self.timeout, self.http.request(request)).await {
            Ok(Ok(response)) => {
                let judged = judge(&response);
                drain(response).await;
                judged
            }
            Ok(Err(error)) => Err(retry(chain(&error))),
            Err(_) => Err(retry(format!("no answer within {:?}", self.timeout))),
        }
    }
}

/// The system's certificate authorities are trusted, as the operator keeps them.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    if trusted == 0 {
        let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        tracing::warn!(
            errors = errors.join(", "),
            "this system has no certificate authorities, so posts to https:// will fail: install ca-certificates"
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

fn request(post: &Post) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(post.endpoint.uri().clone())
        .body(Full::new(post.body.clone()))?;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("weir/", env!("CARGO_PKG_VERSION"))));
    headers.extend(post.headers.clone());
    headers.insert(IDEMPOTENCY_KEY, post.key.clone());
    Ok(request)
}

/// 2xx is done. Too busy, too early, broken: again. Anything else, also a redirect, will not change by itself.
fn judge<B>(response: &Response<B>) -> Result<(), Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let again = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    let seconds =
        response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let note = if status.is_redirection() { ", and redirects are not followed" } else { "" };
    Err(Failure {
        reason: format!("it answered {status}{note}"),
        again,
        after: seconds.map(Duration::from_secs),
    })
}

async fn drain(response: Response<hyper::body::Incoming>) {
    let body = Limited::new(response.into_body(), ANSWER_BYTES);
    // Whatever comes of it, the status has been read.
    drop(tokio::time::timeout(ANSWER_TIME, body.collect()).await);
}

/// An error with its causes, which say what happened; the outermost says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_again() {
        let judged = |status: u16| {
            judge(&Response::builder().status(status).header("retry-after", "7").body(()).unwrap())
        };
        for done in [200, 201, 204, 299] {
            assert_eq!(judged(done), Ok(()));
        }
        for again in [408, 425, 429, 500, 502, 503, 504, 599] {
            let failure = judged(again).unwrap_err();
            assert!(failure.again && failure.after == Some(Duration::from_secs(7)), "{again}");
        }
        for never in [301, 302, 307, 308, 304, 400, 401, 403, 404, 410, 413, 422] {
            assert!(!judged(never).unwrap_err().again, "{never}");
        }
    }
}
