//! `/ui/console/**`: Go's file server over embedded files, so ranges, but no ETag, no
//! Last-Modified and hence never a 304 for a real file; no instance check either.

use http::Method;
use serde_json::json;

use super::bundle::{File, find, index};
use super::hosts::Instance;
use super::message::{Call, Reply, go_error, reply, set};
use super::{quota, security};

const SHORT: &str = "public, max-age=0, s-maxage=300";
const LONG: &str = "public, max-age=43200, s-maxage=604800";
const BUILD_DATE: &str = "Thu, 02 Oct 2025 08:00:00 GMT";
/// Whose cache is short although they are files.
const SHORT_FILES: [&str; 5] = [
    "manifest.webmanifest",
    "ngsw.json",
    "ngsw-worker.js",
    "safety-worker.js",
    "worker-basic.min.js",
];

/// Answers any method alike, as the file server does.
pub(super) fn answer(call: &Call) -> Reply {
    let name = call.path.trim_start_matches("/ui/console").trim_start_matches('/');
    if name == "assets/environment.json" {
        return environment(call);
    }
    let mut reply = file(call, name);
    security::headers(reply.headers_mut(), &security::console(&call.authority));
    if call.shared.limited().is_some() {
        quota::cookie(reply.headers_mut());
    }
    reply
}

fn file(call: &Call, name: &str) -> Reply {
    let short = |mut reply: Reply| {
        security::cache(reply.headers_mut(), SHORT, -3600);
        reply
    };
    if name.is_empty() {
        return short(serve(call, index(&call.shared.console)));
    }
    if name == "index.html" {
        return short(moved("./"));
    }
    if let Some(file) = find(&call.shared.console, name) {
        let reply = serve(call, file);
        if SHORT_FILES.contains(&name) {
            return short(reply);
        }
        let mut reply = reply;
        security::cache(reply.headers_mut(), LONG, 43_200);
        return reply;
    }
    if name.contains('.') {
        let mut missing = go_error(404, "404 page not found");
        security::no_store(missing.headers_mut());
        return missing;
    }
    if let Some(route) = name.strip_suffix('/') {
        return short(moved(&format!("../{}", route.rsplit('/').next().unwrap_or(route))));
    }
    short(route(call))
}

fn moved(location: &str) -> Reply {
    let mut reply = reply(301, "", "");
    set(reply.headers_mut(), "location", location);
    reply
}

/// A route of the single-page application: index.html, this time with a date.
fn route(call: &Call) -> Reply {
    if call.header("if-modified-since") == Some(BUILD_DATE) {
        let mut unchanged = reply(304, "", "");
        set(unchanged.headers_mut(), "last-modified", BUILD_DATE);
        return unchanged;
    }
    let mut reply = serve(call, index(&call.shared.console));
    set(reply.headers_mut(), "last-modified", BUILD_DATE);
    reply
}

fn serve(call: &Call, file: &File) -> Reply {
    let total = file.content.len();
    let asked =
        call.header("range").filter(|_| matches!(call.head.method, Method::GET | Method::HEAD));
    let mut reply = match asked.map(|range| span(range, total)) {
        None | Some(Span::Whole) => reply(200, file.content_type, file.content.clone()),
        Some(Span::Part(from, to)) => {
            let mut part = reply(206, file.content_type, file.content.slice(from..=to));
            set(part.headers_mut(), "content-range", &format!("bytes {from}-{to}/{total}"));
            part
        }
        Some(Span::Outside) => {
            let mut refused = go_error(416, "invalid range: failed to overlap");
            set(refused.headers_mut(), "content-range", &format!("bytes */{total}"));
            return refused;
        }
    };
    set(reply.headers_mut(), "accept-ranges", "bytes");
    reply
}

/// What a Range header means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Span {
    Whole,
    Part(usize, usize),
    Outside,
}

/// One range (RFC 9110 §14.1.2); a list of several, or another unit, is served whole.
pub(super) fn span(range: &str, total: usize) -> Span {
    let Some((from, to)) = range.strip_prefix("bytes=").and_then(|spec| spec.split_once('-'))
    else {
        return Span::Whole;
    };
    let (from, to) = match (from.parse::<usize>(), to.parse::<usize>()) {
        (Ok(from), Ok(to)) => (from, to.min(total.saturating_sub(1))),
        (Ok(from), Err(_)) if to.is_empty() => (from, total.saturating_sub(1)),
        (Err(_), Ok(last)) if from.is_empty() => {
            (total.saturating_sub(last), total.saturating_sub(1))
        }
        _ => return Span::Whole,
    };
    if from >= total || to < from { Span::Outside } else { Span::Part(from, to) }
}

/// The console's settings: `api` is the host asked for, `issuer` the instance's origin.
fn environment(call: &Call) -> Reply {
    let instance = match Instance::resolve(call) {
        Ok(instance) => instance,
        Err(unknown) => return not_found(&unknown.message),
    };
    let scheme = if call.shared.options.external_secure { "https" } else { "http" };
    let mut body = json!({
        "api": format!("{scheme}://{}", call.authority),
        "issuer": instance.origin(),
        "clientid": "200000000000000004",
        "customer_portal": "",
        "instance_management_url": "",
    });
    if call.shared.limited().is_some() {
        body["exhausted"] = true.into();
    }
    // Written without WriteHeader there: no Cache-Control, type sniffed.
    let mut reply = reply(200, "text/plain; charset=utf-8", body.to_string());
    security::headers(reply.headers_mut(), &security::console(&call.authority));
    if call.shared.limited().is_some() {
        quota::cookie(reply.headers_mut());
    }
    reply
}

fn not_found(message: &str) -> Reply {
    let mut reply = go_error(404, message);
    security::no_store(reply.headers_mut());
    reply
}
