//! `/debug/*`: open to anybody who reaches the port, which is why a front must not let them.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use super::gzip;
use super::message::{Call, Reply, add, reply, set};

/// The answer below `/debug/`, if there is one.
pub(super) fn answer(call: &Call, name: &str) -> Option<Reply> {
    match name {
        "healthz" => Some(reply(200, "text/plain; charset=utf-8", "ok")),
        "ready" if call.shared.unready.load(Ordering::SeqCst) => {
            Some(reply(412, "application/json", "\"database is not reachable\""))
        }
        "ready" => Some(reply(200, "application/json", "\"ok\"")),
        "validate" => Some(reply(200, "application/json", "null")),
        "metrics" => Some(metrics(call)),
        _ => None,
    }
}

fn metrics(call: &Call) -> Reply {
    const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=values";
    let text = exposition(call);
    if !gzip::is_offered(call.header("accept-encoding")) {
        return reply(200, TYPE, text);
    }
    let mut reply = reply(200, TYPE, gzip::encode(text.as_bytes()));
    set(reply.headers_mut(), "content-encoding", "gzip");
    add(reply.headers_mut(), "vary", "Accept-Encoding");
    reply
}

/// About as long as the real one: 100 KB.
fn exposition(call: &Call) -> String {
    let total = call.shared.requests().len();
    let open = call.shared.open.load(Ordering::Relaxed);
    let mut text = format!(
        "# HELP http_server_total_request_count_total Total request counter\n\
         # TYPE http_server_total_request_count_total counter\n\
         http_server_total_request_count_total{{otel_scope_name=\"\"}} {total}\n\
         # HELP standin_connections Open connections\n# TYPE standin_connections gauge\n\
         standin_connections {open}\n\
         # HELP projection_handle_timer Time taken to process a projection update\n\
         # TYPE projection_handle_timer histogram\n"
    );
    for projection in 0..90 {
        for le in ["0.005", "0.01", "0.05", "0.1", "1", "5", "10", "30", "60", "+Inf"] {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "projection_handle_timer_bucket{{projection=\"projections.p{projection}\",otel_scope_name=\"zitadel\",le=\"{le}\"}} {projection}"
            );
        }
    }
    text
}
