//! Rooms: users with API keys make rooms and endpoints over HTTP; whoever has an endpoint's code talks in its room
//! over WebSocket. A room is the topic `rooms/OWNER/ROOM`, of a user of another tenant than `main` below the tenant's
//! name; a room of the older chat, which has neither, is `chat/ROOM`.
//!
//! | path | method | what |
//! |---|---|---|
//! | `/create_room/`, `/add_endpoint/` | POST | as the newest version has them, with JSON |
//! | `/create_room/ROOM/`, `/add_endpoint/ROOM/PERMISSIONS/` | GET | as the first version had them |
//! | `/delete_room/ROOM/`, `/list_rooms/`, `/list_endpoints/ROOM/`, `/delete_endpoint/ROOM/CODE/` | GET | in both |
//! | `/`, `/room/CODE/` | GET | pages |
//! | `/webhook/` | POST | takes what a room posts, to try it |
//! | `/ws/endpoint/CODE/`, `/ws/chat/ROOM/` | GET | WebSocket |
//!
//! All may have `/main` in front. Answers have the original's statuses and texts; a WebSocket whose code is
//! unknown is refused with 404, where the original fails with 500.

mod access;
mod answer;
mod api;
mod chat;
mod endpoint;
mod page;
mod route;
mod socket;
mod webhook;
mod wire;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use axum::{Extension, Router};

use super::lease::Lease;
use crate::config::{Limits, Rooms};
use crate::ingress::Ingress;
use access::Caller;
use route::Route;

/// The gateway's name.
const GATEWAY: &str = "rooms";

/// What every handler has.
#[derive(Clone)]
struct App {
    ingress: Ingress,
    limits: Arc<Limits>,
    config: Arc<Rooms>,
}

/// The routes, to be served by [`super::listen::serve`].
pub fn router(ingress: Ingress, config: &Rooms, limits: &Limits) -> Router {
    if let Some(user) = ingress.accounts().user_of_key(b"") {
        let (tenant, user) = (&user.name.tenant, &user.name.name);
        tracing::warn!(tenant, user, "whoever reaches the listener of rooms without an API key is this user");
    }
    let app = App { ingress, limits: Arc::new(limits.clone()), config: Arc::new(config.clone()) };
    Router::new().fallback(serve).with_state(app)
}

async fn serve(State(app): State<App>, Extension(lease): Extension<Lease>, request: Request) -> Response {
    let caller = access::caller(&app.config.origins, request.headers());
    let readers = readers(&app, caller, request.headers());
    if *request.method() == Method::OPTIONS {
        return answer::for_pages(answer::nothing(), readers);
    }
    let path = route::decoded(request.uri().path());
    let answered = match Route::of(&path) {
        Route::Socket(_) | Route::Api(_) if caller == Caller::Foreign => answer::foreign(),
        Route::Socket(socket) => return socket::open(app, lease, request, socket).await,
        Route::Page(page) => page::show(request.method(), page),
        Route::Sink => answer::sink(request.method()),
        Route::Api(call) => api::answer(&app, request, call).await,
        Route::WithoutSlash => answer::moved(&request),
        Route::Nothing => answer::not_found(),
    };
    answer::for_pages(answered, readers)
}

/// Pages of which origin may read the answer; none = of this host only. Where all may, it says so to programs, too, as the
/// original does.
fn readers(app: &App, caller: Caller, headers: &HeaderMap) -> Option<HeaderValue> {
    let all = app.config.origins.iter().any(|origin| origin == "*");
    match caller {
        _ if all => Some(HeaderValue::from_static("*")),
        Caller::Own | Caller::Named => headers.get(ORIGIN).cloned(),
        Caller::Any | Caller::Foreign => None,
    }
}
