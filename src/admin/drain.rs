//! Taking endpoints down without loss: `/drain` gives them nothing new and answers when nothing is in
//! flight there any more; `/undrain` takes them back.
//!
//! Made to be the preStop hook of the server behind, and to be called by whatever stops it: when
//! the answer is there, it may be stopped however it likes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::Admin;
use super::calls::answer;
use crate::upstream::roster::idle;
use crate::upstream::state::EndpointState;

/// How long a call waits for what is in flight, unless it says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long an endpoint stays drained that does not go away: whoever drained it has forgotten it.
const FOR: Duration = Duration::from_secs(600);

/// What a call is about.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    cluster: Option<String>,
    endpoint: Option<String>,
    timeout: Duration,
    lasting: Duration,
}

impl Query {
    /// `cluster`, `endpoint`, `timeout` and `for`; names without a value stand for all.
    fn parse(text: &str) -> Result<Self, String> {
        let mut query = Self { cluster: None, endpoint: None, timeout: TIMEOUT, lasting: FOR };
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let duration = || {
                let duration = humantime::parse_duration(&value).ok();
                duration.ok_or_else(|| format!("{name}: expected a duration such as 30s"))
            };
            match &*name {
                "cluster" => {
                    query.cluster = Some(value.into_owned()).filter(|name| !name.is_empty())
                }
                "endpoint" => {
                    query.endpoint = Some(value.into_owned()).filter(|name| !name.is_empty())
                }
                "timeout" => query.timeout = duration()?,
                "for" => query.lasting = duration()?,
                other => {
                    let other = other.escape_debug();
                    return Err(format!("{other}: expected cluster, endpoint, timeout or for"));
                }
            }
        }
        Ok(query)
    }
}

/// 200 when nothing is in flight at the endpoints that the call names, 504 when its time is over
/// before; they are drained either way, also when the caller has gone.
pub(super) async fn drain(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let (query, endpoints) = match set(&admin, query, true) {
        Ok(found) => found,
        Err(refused) => return *refused,
    };
    for endpoint in &endpoints {
        admin.drained.watch(endpoint, admin.reach(endpoint), query.lasting);
    }
    let began = Instant::now();
    let drained = tokio::time::timeout(query.timeout, idle(&endpoints)).await.is_ok();
    let in_flight: u64 = endpoints.iter().map(|endpoint| endpoint.in_flight()).sum();
    let seconds = (began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    tracing::info!(endpoints = endpoints.len(), in_flight, seconds, drained, "drain: waited");
    let status = if drained { StatusCode::OK } else { StatusCode::GATEWAY_TIMEOUT };
    let told = json!({
        "drained": drained,
        "in_flight": in_flight,
        "seconds": seconds,
        "endpoints": told(&endpoints),
    });
    answer(status, &told)
}

/// 200 when the endpoints that the call names are taken back.
pub(super) async fn undrain(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    match set(&admin, query, false) {
        Ok((_, endpoints)) => {
            for endpoint in &endpoints {
                admin.drained.forget(endpoint);
            }
            answer(StatusCode::OK, &json!({"drained": false, "endpoints": told(&endpoints)}))
        }
        Err(refused) => *refused,
    }
}

type Found = (Query, Vec<Arc<EndpointState>>);

fn set(admin: &Admin, query: Option<String>, draining: bool) -> Result<Found, Box<Response>> {
    let refuse = |status, why: &str| Err(Box::new(answer(status, &json!({"error": why}))));
    let query = match Query::parse(query.as_deref().unwrap_or_default()) {
        Ok(query) => query,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, &why),
    };
    let (cluster, endpoint) = (query.cluster.as_deref(), query.endpoint.as_deref());
    let endpoints = admin.roster.set_draining(cluster, endpoint, draining);
    if endpoints.is_empty() {
        let known = told(&admin.roster.find(None, None));
        let body = json!({"error": "there is no such endpoint", "endpoints": known});
        return Err(Box::new(answer(StatusCode::NOT_FOUND, &body)));
    }
    for endpoint in &endpoints {
        let what = if draining { "drained" } else { "undrained" };
        tracing::info!(upstream.cluster = %endpoint.cluster, upstream.endpoint = %endpoint.name, "{what}");
    }
    Ok((query, endpoints))
}

fn told(endpoints: &[Arc<EndpointState>]) -> Value {
    let each = |endpoint: &Arc<EndpointState>| {
        json!({
            "cluster": &*endpoint.cluster,
            "endpoint": &*endpoint.name,
            "draining": endpoint.is_draining(),
            "in_flight": endpoint.in_flight(),
        })
    };
    endpoints.iter().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_what_is_meant_or_is_refused() {
        let all = Query { cluster: None, endpoint: None, timeout: TIMEOUT, lasting: FOR };
        assert_eq!(Query::parse("").unwrap(), all);
        assert_eq!(Query::parse("cluster=&endpoint=").unwrap(), all);
        let one =
            Query::parse("cluster=zitadel&endpoint=h2c%3A%2F%2F10.0.0.1:8080&timeout=1m&for=1h");
        let one = one.unwrap();
        assert_eq!(one.endpoint.as_deref(), Some("h2c://10.0.0.1:8080"));
        assert_eq!((one.timeout.as_secs(), one.lasting.as_secs()), (60, 3600));
        for wrong in ["timeout=", "timeout=soon", "for=-1s", "endpoints=x", "drain"] {
            assert!(Query::parse(wrong).is_err(), "{wrong}");
        }
    }
}
