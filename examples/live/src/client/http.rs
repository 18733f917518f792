//! Single requests to the router over one kept HTTP/1.1 connection.

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{Answer, Endpoint, Login, PATIENCE};

/// Largest answer that we take, in bytes.
const ANSWER_BYTES: usize = 8 << 20;

/// Asks one router, one request at a time.
pub struct Http {
    endpoint: Endpoint,
    login: Option<Login>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// The body as an answer of the native protocol.
    pub fn answer(&self) -> Result<Answer> {
        serde_json::from_slice(&self.body).with_context(|| {
            let body = String::from_utf8_lossy(&self.body);
            format!("status {} with a body that is no answer: {body:.200}", self.status)
        })
    }
}

impl Http {
    /// Requests of somebody. Connects at the first one.
    pub fn new(login: Login) -> Self {
        Self { endpoint: login.endpoint.clone(), login: Some(login), connection: None }
    }

    /// Requests of nobody in particular, for the operator's listener.
    pub fn anonymous(endpoint: Endpoint) -> Self {
        Self { endpoint, login: None, connection: None }
    }

    /// Reads something.
    pub async fn get(&mut self, path: &str) -> Result<Reply> {
        self.request(Method::GET, path, &[], Bytes::new()).await
    }

    /// Publishes a JSON payload, as it is. `once` names this message: whoever sends it again with the same
    /// name has it counted once.
    pub async fn publish(&mut self, topic: &str, once: &str, payload: Bytes) -> Result<Reply> {
        let path = format!("/v1/publish?topic={}", super::escape(topic));
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", once)];
        self.request(Method::POST, &path, &headers, payload).await
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Reply> {
        let what = format!("{method} {path} of {}", self.endpoint.authority());
        let exchange = async {
            let uri = self.login.as_ref().map_or_else(|| path.to_owned(), |login| login.claims(path));
            let mut request =
                Request::builder().method(method).uri(uri).header("Host", self.endpoint.authority());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(login) = &self.login {
                request = request.header("X-API-Key", &login.key);
            }
            let mut connection = self.connection().await?;
            let response = connection.send_request(request.body(Full::new(body))?).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| anyhow!(error))?.to_bytes();
            self.connection = Some(connection);
            anyhow::Ok(Reply { status, body })
        };
        match timeout(PATIENCE, exchange).await {
            Ok(reply) => reply.context(what),
            Err(_) => bail!("{what}: no answer within {} s", PATIENCE.as_secs()),
        }
    }

    /// The kept connection, or a new one: the router closes those that are silent for long. A connection on
    /// which a request failed was never put back.
    async fn connection(&mut self) -> Result<SendRequest<Full<Bytes>>> {
        if let Some(mut kept) = self.connection.take()
            && kept.ready().await.is_ok()
        {
            return Ok(kept);
        }
        let stream = TokioIo::new(self.endpoint.connect().await?);
        let (connection, driver) = http1::handshake(stream).await?;
        tokio::spawn(async move {
            // What goes wrong here is told to the request that is under way.
            let _ = driver.await;
        });
        Ok(connection)
    }
}
