//! What an operator and a machine may ask on the admin listener: health, readiness, metrics, a page
//! that shows how things stand, and what changes something ([`calls`]).
//!
//! It shows no secret. It lives in the control runtime, apart from the workers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, StatusCode};

use crate::telemetry::metrics::{Metrics, TextFormat};
use crate::upstream::plan::EndpointPlan;
use crate::upstream::roster::{Members, Roster};
use crate::upstream::state::EndpointState;

pub mod calls;
mod drain;
mod drained;
mod page;
pub mod purge;
pub mod status;

pub use calls::Control;
pub use drained::{Drain, Drained};
pub use purge::{Purge, Purged};
pub use status::Status;

/// Whether new requests should come here.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

/// What a readiness probe is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not yet.
    Starting,
    /// Yes.
    Ready,
    /// No more.
    Draining,
}

impl Phase {
    /// The word in the probe's answer.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

impl Readiness {
    /// Tells what follows.
    pub fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Release);
    }

    /// What is told now.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }
}

/// What the admin listener answers from.
#[derive(Clone)]
pub struct Admin {
    /// For `/readyz`.
    pub readiness: Arc<Readiness>,
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For the page at `/`; asked at every view.
    pub status: Arc<dyn Fn() -> Status + Send + Sync>,
    /// For `/purge`.
    pub purge: Forget,
    /// For `/drain` and `/undrain`.
    pub roster: Arc<Roster>,
    /// The clusters now, where the endpoints' addresses stand.
    pub clusters: Arc<dyn Fn() -> Vec<Arc<Members>> + Send + Sync>,
    /// Those that are drained.
    pub drained: Arc<Drained>,
    /// For `/reload`, and for drains that leave a cluster without endpoints; `None`: nobody is there.
    pub control: Option<Control>,
}

impl Admin {
    /// Where an endpoint is; `None`: its cluster has none of this name any more.
    fn reach(&self, endpoint: &EndpointState) -> Option<EndpointPlan> {
        let clusters = (self.clusters)();
        let members = clusters.iter().find(|members| members.plan.name == endpoint.cluster)?;
        let list = members.list();
        list.iter().find(|member| member.plan.name == endpoint.name).map(|found| found.plan.clone())
    }
}

/// Forgets what the cache holds.
pub type Forget = Arc<dyn Fn(&Purge) -> Purged + Send + Sync>;

/// Answers on `listener` until `stop` is there; requests that have begun are finished.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: tokio::net::TcpListener,
    admin: Admin,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(admin)).with_graceful_shutdown(stop).await
}

/// The routes; axum answers `HEAD` from `GET`, and 405 to every method that a route does not have.
fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(async || text(StatusCode::OK, "ok\n")))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .merge(calls::router())
        .fallback(unknown)
        .with_state(admin)
}

async fn index(State(admin): State<Admin>) -> Response {
    let page = page::render(&(admin.status)(), admin.readiness.phase());
    // The page has one inline style and nothing else that a browser should fetch or run.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, page).into_response()
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let phase = admin.readiness.phase();
    let status = match phase {
        Phase::Ready => StatusCode::OK,
        Phase::Starting | Phase::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    text(status, format!("{}\n", phase.label()))
}

async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = TextFormat::of_accept(&accept.collect::<Vec<_>>().join(","));
    ([(CONTENT_TYPE, format.content_type())], admin.metrics.expose(format)).into_response()
}

async fn unknown(method: Method) -> Response {
    if method == Method::GET || method == Method::HEAD {
        text(
            StatusCode::NOT_FOUND,
            "There is /, /healthz, /readyz, /metrics, /reload, /purge, /drain and /undrain.\n",
        )
    } else {
        text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are answered here.\n")
    }
}

fn text(status: StatusCode, body: impl Into<String>) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, body.into()).into_response()
}

#[cfg(test)]
mod tests;
