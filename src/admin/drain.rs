//! Taking endpoints down without loss: `/drain` gives them nothing new and answers when nothing is in
//! flight there any more; `/undrain` takes them back.
//!
//! Made to be the preStop hook of the server behind, and to be called by whatever stops it: when
//! the answer is there, it may be stopped however it likes.
//!
//! A drain that leaves a cluster without endpoints (a sidecar's has one) can only lose nothing if
//! clients go elsewhere. So they are asked to go first, and what they have under way is served.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::Admin;
use super::calls::{Ask, answer};
use crate::upstream::availability::Availability;
use crate::upstream::roster::idle;
use crate::upstream::state::EndpointState;

/// How long a call waits for what is in flight, unless it says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long clients that were asked to go have for it: a round trip, or their next request.
const PARTING: Duration = Duration::from_secs(1);
/// How long an endpoint stays drained that does not go away: whoever drained it has forgotten it.
const FOR: Duration = Duration::from_secs(600);

/// What a call is about.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    cluster: Option<String>,
    endpoint: Option<String>,
    delay: Duration,
    timeout: Duration,
    lasting: Duration,
}

impl Query {
    const fn all() -> Self {
        let delay = Duration::ZERO;
        Self { cluster: None, endpoint: None, delay, timeout: TIMEOUT, lasting: FOR }
    }

    /// `cluster`, `endpoint`, `delay`, `timeout` and `for`; names without a value stand for all.
    fn parse(text: &str) -> Result<Self, String> {
        let mut query = Self::all();
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
                "delay" => query.delay = duration()?,
                "timeout" => query.timeout = duration()?,
                "for" => query.lasting = duration()?,
                other => {
                    let other = other.escape_debug();
                    return Err(format!(
                        "{other}: expected cluster, endpoint, delay, timeout or for"
                    ));
                }
            }
        }
        Ok(query)
    }
}

/// 200 when nothing is in flight at the endpoints that the call names, 504 when its time is over
/// before; they are drained either way, also when the caller has gone in the meantime.
pub(super) async fn drain(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let (query, endpoints) = match find(&admin, query) {
        Ok(found) => found,
        Err(refused) => return *refused,
    };
    // A task of its own: a caller that goes does not leave it half done.
    let draining = tokio::spawn(run(admin, query, endpoints));
    draining.await.unwrap_or_else(|error| {
        let body = json!({"error": error.to_string()});
        answer(StatusCode::INTERNAL_SERVER_ERROR, &body)
    })
}

async fn run(admin: Admin, query: Query, endpoints: Vec<Arc<EndpointState>>) -> Response {
    tokio::time::sleep(query.delay).await;
    let emptied = emptied(&admin, &endpoints);
    if !emptied.is_empty() {
        part(&admin).await;
    }
    for endpoint in &endpoints {
        set(endpoint, true);
        admin.drained.watch(endpoint, admin.reach(endpoint), query.lasting);
    }
    let began = Instant::now();
    let drained = tokio::time::timeout(query.timeout, idle(&endpoints)).await.is_ok();
    let in_flight: u64 = endpoints.iter().map(|endpoint| endpoint.in_flight()).sum();
    let seconds = (began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    tracing::info!(endpoints = endpoints.len(), in_flight, seconds, drained, "drain: waited");
    let status = if drained { StatusCode::OK } else { StatusCode::GATEWAY_TIMEOUT };
    let warnings: Vec<_> = emptied.iter().map(|cluster| warning(cluster)).collect();
    let told = json!({
        "drained": drained,
        "in_flight": in_flight,
        "seconds": seconds,
        "endpoints": told(&endpoints),
        "warnings": warnings,
        "undo": undo(&query),
        "until": format!(
            "each has been away and is back, or {} are over",
            humantime::format_duration(query.lasting)
        ),
    });
    answer(status, &told)
}

fn warning(cluster: &str) -> String {
    format!(
        "cluster {cluster} has no endpoint left: its requests wait, or are refused, until one is back"
    )
}

/// The command that takes them back.
fn undo(query: &Query) -> String {
    let given = |name: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!(" --{name} {value}")).unwrap_or_default()
    };
    let (cluster, endpoint) =
        (given("cluster", &query.cluster), given("endpoint", &query.endpoint));
    format!("ravelin undrain{cluster}{endpoint}")
}

/// The clusters that have no endpoint left without these.
fn emptied(admin: &Admin, endpoints: &[Arc<EndpointState>]) -> Vec<Arc<str>> {
    let meant = |state: &Arc<EndpointState>| endpoints.iter().any(|one| Arc::ptr_eq(one, state));
    let clusters = (admin.clusters)();
    let emptied = clusters.iter().filter(|members| {
        let list = members.list();
        list.iter().any(|member| meant(&member.state)) && Availability::of(&list, meant).is_none()
    });
    emptied.map(|members| Arc::clone(&members.plan.name)).collect()
}

/// Asks clients to go, and gives them time for it.
async fn part(admin: &Admin) {
    let Some(control) = &admin.control else { return };
    let (tell, told) = oneshot::channel();
    if control.send(Ask::Part(tell)).await.is_ok() && told.await.is_ok() {
        tracing::info!("drain: no endpoint is left, clients are asked to go");
        tokio::time::sleep(PARTING).await;
    }
}

/// 200 when the endpoints that the call names are taken back.
pub(super) async fn undrain(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    match find(&admin, query) {
        Ok((_, endpoints)) => {
            for endpoint in &endpoints {
                admin.drained.forget(endpoint);
                set(endpoint, false);
            }
            answer(StatusCode::OK, &json!({"drained": false, "endpoints": told(&endpoints)}))
        }
        Err(refused) => *refused,
    }
}

fn set(endpoint: &EndpointState, draining: bool) {
    endpoint.set_draining(draining);
    let what = if draining { "drained" } else { "undrained" };
    tracing::info!(upstream.cluster = %endpoint.cluster, upstream.endpoint = %endpoint.name, "{what}");
}

type Found = (Query, Vec<Arc<EndpointState>>);

fn find(admin: &Admin, query: Option<String>) -> Result<Found, Box<Response>> {
    let refuse = |status, body: Value| Err(Box::new(answer(status, &body)));
    let query = match Query::parse(query.as_deref().unwrap_or_default()) {
        Ok(query) => query,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, json!({"error": why})),
    };
    let endpoints = admin.roster.find(query.cluster.as_deref(), query.endpoint.as_deref());
    if endpoints.is_empty() {
        let known = told(&admin.roster.find(None, None));
        let body = json!({"error": "there is no such endpoint", "endpoints": known});
        return refuse(StatusCode::NOT_FOUND, body);
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
        let all = Query::all();
        assert_eq!(Query::parse("").unwrap(), all);
        assert_eq!(Query::parse("cluster=&endpoint=").unwrap(), all);
        let one =
            Query::parse("cluster=zitadel&endpoint=h2c%3A%2F%2F10.0.0.1:8080&timeout=1m&for=1h");
        let one = one.unwrap();
        assert_eq!(one.endpoint.as_deref(), Some("h2c://10.0.0.1:8080"));
        assert_eq!((one.timeout.as_secs(), one.lasting.as_secs()), (60, 3600));
        assert_eq!(Query::parse("delay=5s").unwrap().delay.as_secs(), 5);
        for wrong in ["timeout=", "timeout=soon", "for=-1s", "endpoints=x", "drain"] {
            assert!(Query::parse(wrong).is_err(), "{wrong}");
        }
    }
}
