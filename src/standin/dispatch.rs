//! ZITADEL's route table: the first match wins, in the order of its `startAPIs`.
//!
//! Most routes match the raw path. Native gRPC and gRPC-Web of the v1 services match the decoded
//! one: that is how the real server behaves, and why a guard in front must decode.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use http::{Method, StatusCode};

use super::hosts::Instance;
use super::message::{Answer, Call, Reply, go_error, redirect, reply, set};
use super::{
    assets, connect, console, cors, debug, echo, grpc, grpc_web, login, oidc, orders, plain, quota,
    reflection, rest, websocket,
};

/// Answers a request, orders obeyed.
pub(super) async fn answer(call: Call) -> Answer {
    let orders = match orders::of(&call) {
        Ok(orders) => orders,
        Err(word) => return Ok(go_error(400, &format!("no such order: {word}"))),
    };
    orders::before(&orders, &call).await?;
    let is_http2 = call.is_http2();
    let done = ledger(&call);
    let mut reply = route(call).await?;
    if reply.status() != StatusCode::SERVICE_UNAVAILABLE
        && let Some((ledger, id)) = done
    {
        note(&ledger, &id);
    }
    // `a.router.Use(RobotsTagHandler)`: on every answer.
    set(reply.headers_mut(), "x-robots-tag", "none");
    orders::after(orders, reply, is_http2)
}

/// Where this request is to be written down once it is done, and as what.
fn ledger(call: &Call) -> Option<(PathBuf, String)> {
    let ledger = call.shared.options.ledger.clone()?;
    Some((ledger, call.header("x-standin-write")?.to_owned()))
}

/// One line, in one write: what is appended so does not mix with that of other processes.
fn note(ledger: &Path, id: &str) {
    let file = OpenOptions::new().create(true).append(true).open(ledger);
    if let Err(error) = file.and_then(|mut file| file.write_all(format!("{id}\n").as_bytes())) {
        tracing::error!(%error, "the ledger cannot be written");
    }
}

async fn route(call: Call) -> Answer {
    if let Some(clean) = cleaned(&call) {
        return Ok(clean);
    }
    let path = call.path.clone();
    if let Some(reply) = path.strip_prefix("/debug/").and_then(|name| debug::answer(&call, name)) {
        return Ok(reply);
    }
    // The helpers stand where ZITADEL has nothing.
    if let Some(helper) = plain::matches(&path) {
        return plain::answer(call, helper).await;
    }
    if path == "/ws" {
        return Ok(websocket::answer(call));
    }
    if echo::matches(&call) {
        return echo::answer(call).await;
    }
    if let Some(reply) = before_api(&call, &path) {
        return Ok(reply);
    }
    if rest::is_v1(&path) {
        return rest::answer(call).await;
    }
    if connect::is_service(&path) {
        return connect::answer(call).await;
    }
    if reflection::matches(&path) {
        return reflection::answer(call);
    }
    if let Some(refused) = quota::page(&call, &path) {
        return Ok(refused);
    }
    if let Some(page) = page(&call, &path) {
        return Ok(page);
    }
    if path == "/scim/v2" || path.starts_with("/scim/v2/") {
        return rest::scim(call).await;
    }
    if assets::matches(&path) {
        return assets::answer(call).await;
    }
    if oidc::matches(&path) {
        return oidc::answer(call).await;
    }
    if grpc::is_native(&call) {
        return grpc::answer(call).await;
    }
    if grpc_web::matches(&call) {
        return grpc_web::answer(call).await;
    }
    rest::answer(call).await
}

/// The outer mux sends `//`, `/./` and `/../` to the clean path; it looks at the decoded one.
fn cleaned(call: &Call) -> Option<Reply> {
    if call.head.method == Method::CONNECT || call.decoded == "*" {
        return None;
    }
    // The console's sub-router is not reached before the outer mux has cleaned.
    let clean = clean(&call.decoded);
    (clean != call.decoded).then(|| {
        let query = call.head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut reply =
            reply(301, "text/html; charset=utf-8", "<a href>Moved Permanently</a>.\n\n");
        set(reply.headers_mut(), "location", &format!("{clean}{query}"));
        reply
    })
}

/// Go's `path.Clean`, a trailing slash kept.
pub(super) fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let mut clean = String::with_capacity(path.len());
    for segment in &kept {
        clean.push('/');
        clean.push_str(segment);
    }
    if path.ends_with('/') || kept.is_empty() {
        clean.push('/');
    }
    clean
}

/// Small routes that the mux knows before or between the APIs.
fn before_api(call: &Call, path: &str) -> Option<Reply> {
    match path {
        "/" => Some(redirect(302, "/ui/login")),
        "/debug" => Some(redirect(307, "/")),
        "/device" => {
            let query = call.head.uri.query().unwrap_or_default();
            Some(redirect(302, &format!("/ui/login/device?{query}")))
        }
        // The content type is set after WriteHeader there, hence sniffed.
        "/robots.txt" => {
            Some(reply(200, "text/plain; charset=utf-8", "User-agent: *\nDisallow: /"))
        }
        _ if path.starts_with("/openapi/v2/swagger") => {
            let mut reply = openapi(path);
            set(reply.headers_mut(), "access-control-allow-origin", "*");
            set(reply.headers_mut(), "vary", "Origin");
            Some(reply)
        }
        _ => None,
    }
}

fn openapi(path: &str) -> Reply {
    const FILES: [&str; 4] = ["admin", "auth", "management", "system"];
    let name = path.trim_start_matches("/openapi/v2/swagger").trim_start_matches('/');
    if name.is_empty() {
        let list: String = FILES
            .iter()
            .map(|name| format!("<a href=\"{name}.swagger.json\">{name}.swagger.json</a>\n"))
            .collect();
        return reply(
            200,
            "text/html; charset=utf-8",
            format!("<!doctype html>\n<pre>\n{list}</pre>\n"),
        );
    }
    match FILES.iter().find(|file| name.strip_suffix(".swagger.json") == Some(file)) {
        Some(file) => {
            let title = format!(
                "{{\"swagger\":\"2.0\",\"info\":{{\"title\":\"zitadel/{file}.proto\"}},\"paths\":{{}}}}"
            );
            reply(200, "application/json", title)
        }
        None => go_error(404, "404 page not found"),
    }
}

/// What a browser shows.
fn page(call: &Call, path: &str) -> Option<Reply> {
    if path.starts_with("/ui/console") {
        return Some(console::answer(call));
    }
    if path.starts_with("/ui/login") {
        return Some(login::answer(call));
    }
    if let Some(rest) = path.strip_prefix("/idps") {
        // `PathPrefix` is textual, and the sub-router then misses its slash.
        if !rest.starts_with('/') && !rest.is_empty() {
            return Some(redirect(301, &format!("/{rest}")));
        }
        return Some(match Instance::resolve(call) {
            Ok(_) if rest == "/callback" => {
                go_error(400, "ID=IDP-Ahk7i Message=Errors.Intent.StateMissing")
            }
            Ok(_) => go_error(404, "404 page not found"),
            Err(unknown) => go_error(404, &unknown.message),
        });
    }
    None
}

/// A preflight of rs/cors, where the route has one.
pub(super) fn preflight(call: &Call) -> Option<Reply> {
    cors::is_preflight(call).then(|| cors::preflight(call, &cors::API))
}
