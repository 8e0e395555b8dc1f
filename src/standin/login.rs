//! `/ui/login/**`: login v1, HTML with a nonce, cookies on every page, no Cache-Control.

use super::hosts::Instance;
use super::message::{Call, Reply, go_error, redirect, reply, set};
use super::security;

/// Answers pages and resources.
pub(super) fn answer(call: &Call) -> Reply {
    let path = call.path.trim_start_matches("/ui/login");
    let nonce = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    if let Some(name) = path.strip_prefix("/resources/") {
        let mut reply = resource(name);
        security::headers(reply.headers_mut(), &security::login(&nonce));
        return reply;
    }
    if let Err(unknown) = Instance::resolve(call) {
        return go_error(404, &unknown.message);
    }
    let mut reply = match path {
        "" | "/" => redirect(302, "/ui/login/loginname"),
        "/healthz" => return reply(200, "text/plain; charset=utf-8", "OK"),
        "/ready" => return reply(200, "text/plain; charset=utf-8", "OK"),
        "/loginname" | "/login" | "/register" | "/password" | "/device" | "/logout/done" => {
            page(path, &nonce)
        }
        _ => go_error(404, "404 page not found"),
    };
    security::headers(reply.headers_mut(), &security::login(&nonce));
    security::user_agent_cookie(call, reply.headers_mut());
    security::cookie(call, reply.headers_mut(), "zitadel.login.csrf", &nonce, "Max-Age=43200; ");
    reply
}

fn page(path: &str, nonce: &str) -> Reply {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><title>Welcome Back!</title>\
         <link rel=\"stylesheet\" href=\"/ui/login/resources/themes/zitadel/css/zitadel.css\">\
         <style nonce=\"{nonce}\">body{{margin:0}}</style></head><body><form action=\"/ui/login{path}\" method=\"POST\">\
         <input type=\"hidden\" name=\"gorilla.csrf.Token\" value=\"{nonce}\">\
         <input name=\"loginName\" autofocus><button>Next</button></form>\
         <script nonce=\"{nonce}\" src=\"/ui/login/resources/scripts/form_submit.js\"></script></body></html>\n"
    );
    reply(200, "text/html; charset=utf-8", html)
}

fn resource(name: &str) -> Reply {
    let mut reply = match name {
        "themes/zitadel/css/zitadel.css" => {
            reply(200, "text/css; charset=utf-8", ".lgn-header{display:flex}\n".repeat(2_000))
        }
        "scripts/form_submit.js" => reply(
            200,
            "text/javascript; charset=utf-8",
            "document.addEventListener('submit',()=>{});\n".repeat(50),
        ),
        _ => {
            let mut missing = go_error(404, "404 page not found");
            security::no_store(missing.headers_mut());
            return missing;
        }
    };
    let headers = reply.headers_mut();
    set(headers, "last-modified", "Thu, 02 Oct 2025 08:00:00 GMT");
    set(headers, "accept-ranges", "bytes");
    security::cache(headers, "public, max-age=43200, s-maxage=604800", 43_200);
    reply
}
