//! A client of the admin listener.

use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use super::link::{self, LinkError};
use super::settings::reachable;
use crate::admin::{
    AdminToken, CreatedKey, KeyRequest, RequeueAnswer, RequeueRequest, ResetRequest, RevokedKey,
};
use crate::config::Site;
use crate::consumer::RebuildReport;
use crate::telemetry::escape;

/// How long a request may take in all.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long the next piece of a long answer may take.
const PIECE_DEADLINE: Duration = Duration::from_secs(30);
/// Lists of 20,000 connections take some MiB.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Why a request to the admin listener failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminError {
    #[error("no server answers on {0} (admin): is `weir serve` running? --admin or --config tells where")]
    Absent(SocketAddr),
    #[error(
        "the server on {0} (admin) does not accept this admin token: it seems to use another data folder; name it with --data"
    )]
    Token(SocketAddr),
    #[error("what listens on {0} is no weir admin listener")]
    Foreign(SocketAddr),
    #[error("the server on {0} (admin) did not answer within {DEADLINE:?}")]
    Slow(SocketAddr),
    #[error("cannot ask the server on {0} (admin): {1}")]
    Io(SocketAddr, std::io::Error),
    #[error("cannot reach the server on {0} (admin): {1}")]
    Link(SocketAddr, LinkError),
    #[error("the answer of the server on {0} (admin) broke off: see its log")]
    BrokeOff(SocketAddr),
    /// The server's own words.
    #[error("{0}")]
    Refused(String),
}

pub(super) struct AdminClient {
    site: Site,
    address: SocketAddr,
    token: AdminToken,
}

/// What the server says that it has done.
#[derive(Deserialize)]
pub(super) struct Done {
    pub(super) done: String,
}

#[derive(Deserialize)]
struct Fault {
    reason: String,
}

impl AdminClient {
    /// Of the listener that is reached so.
    pub(super) fn new(site: Site, token: AdminToken) -> Self {
        let address = reachable(site.listen);
        Self { site: Site { listen: address, ..site }, address, token }
    }

    /// Whether the server takes traffic.
    pub(super) async fn is_ready(&self) -> bool {
        matches!(self.exchange("GET", "/readyz", Vec::new()).await, Ok((StatusCode::OK, _)))
    }

    pub(super) async fn create_key(&self, request: &KeyRequest) -> Result<CreatedKey, AdminError> {
        let body = serde_json::to_vec(request).map_err(|error| AdminError::Refused(error.to_string()))?;
        self.ask("POST", "/v1/keys", body).await
    }

    pub(super) async fn revoke_key(&self, id: &str) -> Result<RevokedKey, AdminError> {
        // Ids are letters and digits: what is not cannot be one, and must not become a part of the path.
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) || id.is_empty() {
            return Err(AdminError::Refused(format!(
                "no key has the id {id:?}; `weir key list` shows the ids"
            )));
        }
        self.ask("DELETE", &format!("/v1/keys/{id}"), Vec::new()).await
    }

    pub(super) async fn forget_plugin(&self, name: &str) -> Result<Done, AdminError> {
        self.ask("DELETE", &plugin_path(name)?, Vec::new()).await
    }

    /// `deed`: disable, enable or, with the version in `body`, rollback.
    pub(super) async fn act_on_plugin(
        &self,
        name: &str,
        deed: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Done, AdminError> {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        self.ask("POST", &format!("{}/{deed}", plugin_path(name)?), body).await
    }

    pub(super) async fn plugin_history(&self, name: &str) -> Result<serde_json::Value, AdminError> {
        self.get(&format!("{}/history", plugin_path(name)?)).await
    }

    pub(super) async fn rebuild_plugin(
        &self,
        name: &str,
        partial: bool,
    ) -> Result<RebuildReport, AdminError> {
        let body = serde_json::json!({ "partial": partial }).to_string().into_bytes();
        self.ask("POST", &format!("{}/rebuild", plugin_path(name)?), body).await
    }

    pub(super) async fn rebuild_report(&self, name: &str) -> Result<RebuildReport, AdminError> {
        self.get(&format!("{}/rebuild", plugin_path(name)?)).await
    }

    pub(super) async fn plugin_shadow(&self, name: &str) -> Result<serde_json::Value, AdminError> {
        self.get(&format!("{}/shadow", plugin_path(name)?)).await
    }

    pub(super) async fn reset_consumer(
        &self,
        id: &str,
        request: &ResetRequest,
    ) -> Result<serde_json::Value, AdminError> {
        check_consumer(id)?;
        let body = serde_json::to_vec(request).map_err(|error| AdminError::Refused(error.to_string()))?;
        self.ask("POST", &format!("/v1/consumers/{id}/reset"), body).await
    }

    pub(super) async fn delete_consumer(&self, id: &str) -> Result<serde_json::Value, AdminError> {
        check_consumer(id)?;
        self.ask("DELETE", &format!("/v1/consumers/{id}"), Vec::new()).await
    }

    pub(super) async fn delete_retained(&self, topic: &str) -> Result<serde_json::Value, AdminError> {
        self.ask("DELETE", &format!("/v1/retained?topic={}", encoded(topic)), Vec::new()).await
    }

    pub(super) async fn requeue(&self, request: &RequeueRequest) -> Result<RequeueAnswer, AdminError> {
        let body = serde_json::to_vec(request).map_err(|error| AdminError::Refused(error.to_string()))?;
        self.ask("POST", "/v1/dead/requeue", body).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<serde_json::Value, AdminError> {
        self.ask("DELETE", path, Vec::new()).await
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AdminError> {
        self.ask("GET", path, Vec::new()).await
    }

    /// Reads an answer of any length piece by piece. An answer that breaks off is an error.
    pub(super) async fn download(
        &self,
        path: &str,
        write: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let answer = self.send("GET", path, Full::new(Bytes::new())).await?;
        self.pieces(answer, write).await
    }

    /// Sends a body and reads an answer of any length piece by piece.
    pub(super) async fn converse(
        &self,
        path: &str,
        body: Vec<u8>,
        write: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let answer = self.send("POST", path, Full::new(Bytes::from(body))).await?;
        self.pieces(answer, write).await
    }

    async fn pieces(
        &self,
        (response, connection): (Response<Incoming>, JoinHandle<hyper::Result<()>>),
        write: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        if !response.status().is_success() {
            let (status, bytes) = self.collect(response).await?;
            let refused = self.read::<serde_json::Value>(status, &bytes).err();
            return Err(refused.unwrap_or(AdminError::Foreign(self.address)).into());
        }
        let mut body = response.into_body();
        loop {
            let frame = tokio::time::timeout(PIECE_DEADLINE, body.frame()).await;
            match frame.map_err(|_| AdminError::Slow(self.address))? {
                Some(Ok(frame)) => frame.data_ref().map_or(Ok(()), |bytes| write(bytes))?,
                Some(Err(_)) => return Err(AdminError::BrokeOff(self.address).into()),
                None => break,
            }
        }
        connection.abort();
        Ok(())
    }

    /// Sends a body of any length.
    pub(super) async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        body: axum::body::Body,
    ) -> Result<T, AdminError> {
        let (response, connection) = self.send("POST", path, body).await?;
        let (status, bytes) = self.collect(response).await?;
        connection.abort();
        self.read(status, &bytes)
    }

    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, AdminError> {
        let (status, bytes) = self.exchange(method, path, body).await?;
        self.read(status, &bytes)
    }

    fn read<T: DeserializeOwned>(&self, status: StatusCode, bytes: &[u8]) -> Result<T, AdminError> {
        if status == StatusCode::UNAUTHORIZED {
            return Err(AdminError::Token(self.address));
        }
        if status.is_success() {
            return serde_json::from_slice(bytes).map_err(|_| AdminError::Foreign(self.address));
        }
        match serde_json::from_slice::<Fault>(bytes) {
            Ok(fault) => Err(AdminError::Refused(escape(&fault.reason))),
            Err(_) => Err(AdminError::Foreign(self.address)),
        }
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), AdminError> {
        let exchange = self.exchange_at_leisure(method, path, body);
        tokio::time::timeout(DEADLINE, exchange).await.unwrap_or(Err(AdminError::Slow(self.address)))
    }

    async fn exchange_at_leisure(
        &self,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), AdminError> {
        let (response, connection) = self.send(method, path, Full::new(Bytes::from(body))).await?;
        let answer = self.collect(response).await;
        connection.abort();
        answer
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<(StatusCode, Bytes), AdminError> {
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        Ok((status, body.map_err(|_| AdminError::Foreign(self.address))?.to_bytes()))
    }

    /// Sends a request; the task drives the connection until it is aborted.
    async fn send<B>(
        &self,
        method: &str,
        path: &str,
        body: B,
    ) -> Result<(Response<Incoming>, JoinHandle<hyper::Result<()>>), AdminError>
    where
        B: hyper::body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let stream = link::own(&self.site).await.map_err(|error| match error {
            LinkError::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
                AdminError::Absent(self.address)
            }
            error => AdminError::Link(self.address, error),
        })?;
        let foreign = |error: hyper::Error| match error.is_user() {
            // The body that was to be sent, not the one who listens.
            true => AdminError::Io(self.address, std::io::Error::other(error)),
            false => AdminError::Foreign(self.address),
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(foreign)?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.site.base_path.as_str()))
            .header("host", self.address.to_string())
            .header("authorization", format!("Bearer {}", self.token.secret()))
            .header("content-type", "application/json")
            .body(body)
            .map_err(|error| AdminError::Refused(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(foreign)?;
        Ok((response, connection))
    }
}

/// As the value of a query parameter.
pub(super) fn encoded(text: &str) -> impl std::fmt::Display {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}

/// What is no name must not become another path.
fn plugin_path(name: &str) -> Result<String, AdminError> {
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') || name.is_empty() {
        return Err(AdminError::Refused(format!(
            "no plugin is named {name:?}; `weir plugin list` shows the names"
        )));
    }
    Ok(format!("/v1/plugins/{name}"))
}

/// Ids are letters and digits: what is not must not become a part of the path.
fn check_consumer(id: &str) -> Result<(), AdminError> {
    if id.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !id.is_empty() {
        return Ok(());
    }
    Err(AdminError::Refused(format!("no consumer has the id {id:?}; `weir consumer list` shows the ids")))
}
