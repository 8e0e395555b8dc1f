//! Calls that change something. Who may make them: whoever reaches the admin listener (loopback,
//! unless it is configured otherwise), except through a browser.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, HOST, ORIGIN, REFERER, USER_AGENT, X_CONTENT_TYPE_OPTIONS};
use http::header::{CONTENT_TYPE, HeaderName};
use http::uri::Authority;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::{Admin, drain, purge};

/// What came of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// What has changed, in words.
    pub changed: Vec<String>,
    /// Keys whose new value needs a new process.
    pub not_live: Vec<&'static str>,
}

/// What control is asked to do.
#[derive(Debug)]
pub enum Ask {
    /// Read the configuration again. Told back when it is in force, or every reason why the old
    /// one stays.
    Reload(oneshot::Sender<Result<Reloaded, Vec<String>>>),
    /// Ask every client's connection to go when what it carries is done; new ones are taken. Told back when
    /// they have been asked.
    Part(oneshot::Sender<()>),
}

/// The way to control.
pub type Control = mpsc::Sender<Ask>;

/// The routes of these calls.
pub(super) fn router() -> Router<Admin> {
    Router::new()
        .route("/reload", post(reload))
        .route("/purge", post(purge::purge))
        // GET as well: Kubernetes' preStop hooks know nothing else.
        .route("/drain", get(drain::drain).post(drain::drain))
        .route("/undrain", get(drain::undrain).post(drain::undrain))
        .layer(from_fn(guarded))
}

async fn guarded(request: Request, next: Next) -> Response {
    match objection(request.headers()) {
        Some(why) => answer(StatusCode::FORBIDDEN, &json!({"error": why})),
        None => next.run(request).await,
    }
}

/// Why whoever sends these fields may not change anything.
///
/// A page that a browser shows can send requests to any address, and its person need not know. So
/// what only browsers send is refused; the fields alone do not do, since a plain http page sends few
/// of them. A name of somebody's own that has come to point here (DNS rebinding) is told by its
/// dots: addresses, `localhost` and one-label names of a container network are good.
fn objection(headers: &HeaderMap) -> Option<&'static str> {
    const FETCH: HeaderName = HeaderName::from_static("sec-fetch-site");
    let browser = [ORIGIN, REFERER, FETCH].iter().any(|name| headers.contains_key(name))
        || headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"));
    if browser {
        return Some("this call is not for browsers; use curl or ravelin itself");
    }
    let known = headers.get(HOST).and_then(|host| host.to_str().ok()).is_some_and(is_near);
    (!known).then_some("the Host field must be an address, localhost or a name without dots")
}

fn is_near(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    address.parse::<std::net::IpAddr>().is_ok() || (!host.is_empty() && !host.contains('.'))
}

async fn reload(State(admin): State<Admin>) -> Response {
    let gone = || answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": "it is not running"}));
    let Some(control) = &admin.control else { return gone() };
    let (tell, told) = oneshot::channel();
    if control.send(Ask::Reload(tell)).await.is_err() {
        return gone();
    }
    match told.await {
        Ok(Ok(done)) => {
            let body =
                json!({"reloaded": true, "changed": done.changed, "needs_restart": done.not_live});
            answer(StatusCode::OK, &body)
        }
        Ok(Err(faults)) => {
            answer(StatusCode::UNPROCESSABLE_ENTITY, &json!({"reloaded": false, "faults": faults}))
        }
        Err(_) => gone(),
    }
}

/// JSON, with every value on a line of its own: people read it too.
pub(super) fn answer(status: StatusCode, body: &Value) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, format!("{body:#}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_and_strange_names_are_refused() {
        let judge = |fields: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(*name, value.parse().unwrap());
            }
            objection(&headers).is_none()
        };
        for host in ["127.0.0.1:9901", "[::1]:9901", "10.1.2.3", "localhost:9901", "ravelin:9901"] {
            assert!(judge(&[("host", host), ("user-agent", "curl/8.5.0")]), "{host}");
            assert!(judge(&[("host", host), ("user-agent", "kube-probe/1.30")]), "{host}");
        }
        for host in ["evil.example:9901", "", "127.0.0.1.evil.example", "user@"] {
            assert!(!judge(&[("host", host)]), "{host}");
        }
        assert!(!judge(&[]), "no host at all");
        for field in [
            ("origin", "http://127.0.0.1:9901"),
            ("referer", "http://127.0.0.1:9901/"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
        ] {
            assert!(!judge(&[("host", "127.0.0.1:9901"), field]), "{field:?}");
        }
    }
}
