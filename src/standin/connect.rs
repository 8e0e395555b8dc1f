//! The v2 services as connect-go serves them: Connect, gRPC and gRPC-Web under one path, matched
//! raw; errors of gRPC and gRPC-Web are Trailers-Only.

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::Frame;
use serde_json::json;

use super::grpc::{self, Status};
use super::hosts::Instance;
use super::message::{Answer, Call, Reply, add, frames, go_error, reply, set};
use super::{cors, grpc_web, gzip};

const SERVICES: [&str; 23] = [
    "action.v2.ActionService",
    "action.v2beta.ActionService",
    "app.v2beta.AppService",
    "authorization.v2beta.AuthorizationService",
    "feature.v2.FeatureService",
    "feature.v2beta.FeatureService",
    "idp.v2.IdentityProviderService",
    "instance.v2beta.InstanceService",
    "internal_permission.v2beta.InternalPermissionService",
    "oidc.v2.OIDCService",
    "oidc.v2beta.OIDCService",
    "org.v2.OrganizationService",
    "org.v2beta.OrganizationService",
    "project.v2beta.ProjectService",
    "saml.v2.SAMLService",
    "session.v2.SessionService",
    "session.v2beta.SessionService",
    "settings.v2.SettingsService",
    "settings.v2beta.SettingsService",
    "user.v2.UserService",
    "user.v2beta.UserService",
    "webkey.v2.WebKeyService",
    "webkey.v2beta.WebKeyService",
];

const TYPES: &str = "application/grpc, application/grpc+json, application/grpc+proto, application/grpc-web, \
    application/grpc-web+json, application/grpc-web+proto, application/json, application/json; charset=utf-8, \
    application/proto";

/// Whether the raw path is below a known service.
pub(super) fn is_service(path: &str) -> bool {
    let service = path
        .strip_prefix("/zitadel.")
        .and_then(|rest| rest.split_once('/'))
        .map(|(service, _)| service);
    service.is_some_and(|service| SERVICES.contains(&service))
}

/// Answers in the protocol of the content type.
pub(super) async fn answer(mut call: Call) -> Answer {
    if cors::is_preflight(&call) {
        return Ok(cors::preflight(&call, &cors::API));
    }
    let method = call.path.rsplit('/').next().unwrap_or_default();
    let depth = call.path.bytes().filter(|byte| *byte == b'/').count();
    let mut reply = if depth != 2 || !grpc::is_method(method) {
        go_error(404, "404 page not found")
    } else if call.head.method != Method::POST {
        let mut refused = reply(405, "", "");
        set(refused.headers_mut(), "allow", "POST");
        refused
    } else {
        by_protocol(&mut call).await?
    };
    cors::actual(&call.head.method, call.header("origin"), &cors::API, reply.headers_mut());
    Ok(reply)
}

async fn by_protocol(call: &mut Call) -> Answer {
    let content_type = call.content_type().to_owned();
    let reply = match content_type.as_str() {
        "application/json" | "application/json; charset=utf-8" => {
            call.body.read(usize::MAX).await?;
            unary(call, true)
        }
        "application/proto" => {
            call.body.read(usize::MAX).await?;
            unary(call, false)
        }
        "application/grpc" | "application/grpc+proto" | "application/grpc+json" => {
            framed(call, &content_type, false).await?
        }
        "application/grpc-web" | "application/grpc-web+proto" | "application/grpc-web+json" => {
            framed(call, &content_type, true).await?
        }
        _ => {
            let mut refused = reply(415, "", "");
            set(refused.headers_mut(), "accept-post", TYPES);
            refused
        }
    };
    Ok(reply)
}

fn decide(call: &Call) -> Result<Vec<u8>, Status> {
    Instance::resolve(call).map_err(|unknown| Status::new(5, unknown.message))?;
    grpc::limits(call)?;
    Ok(grpc::result(&call.path))
}

/// Connect unary.
fn unary(call: &Call, is_json: bool) -> Reply {
    let (status, content_type, body) = match decide(call) {
        Ok(message) if !is_json => (200, "application/proto", message),
        Ok(message) if message.is_empty() => (200, "application/json", b"{}".to_vec()),
        Ok(_) => (200, "application/json", b"{\"details\":{\"totalResult\":\"1\"}}".to_vec()),
        Err(status) => {
            let (http, name) = words(status.code);
            (
                http,
                "application/json",
                json!({"code": name, "message": status.message}).to_string().into_bytes(),
            )
        }
    };
    let compress = gzip::is_offered(call.header("accept-encoding"));
    let mut reply = reply(status, content_type, if compress { gzip::encode(&body) } else { body });
    let headers = reply.headers_mut();
    set(headers, "accept-encoding", "gzip");
    if compress {
        set(headers, "content-encoding", "gzip");
    }
    reply
}

/// HTTP status and name of the codes that occur here.
fn words(code: u8) -> (u16, &'static str) {
    match code {
        5 => (404, "not_found"),
        8 => (429, "resource_exhausted"),
        12 => (501, "unimplemented"),
        16 => (401, "unauthenticated"),
        _ => (500, "internal"),
    }
}

/// gRPC and gRPC-Web.
async fn framed(call: &mut Call, content_type: &str, is_web: bool) -> Answer {
    let outcome = match grpc::read(call).await? {
        // Requests carry nothing that matters here, so a compressed one need not be unpacked.
        Ok(_) => decide(call),
        Err(status) => Err(status),
    };
    let mut reply = reply(200, "", "");
    let headers = reply.headers_mut();
    headers.remove("content-length");
    set(headers, "content-type", content_type);
    set(headers, "grpc-accept-encoding", "gzip");
    let message = match outcome {
        Ok(message) => message,
        Err(status) => {
            status.write(headers);
            return Ok(reply);
        }
    };
    let compress = gzip::is_offered(call.header("grpc-accept-encoding"));
    if compress {
        set(headers, "grpc-encoding", "gzip");
    }
    let message = grpc::prefixed(&message, compress);
    let mut trailers = HeaderMap::new();
    add(&mut trailers, "grpc-status", "0");
    let last = if is_web {
        Frame::<Bytes>::data(grpc_web::trailer_frame(&trailers))
    } else {
        Frame::trailers(trailers)
    };
    Ok(reply.map(|_| frames(vec![Frame::data(message), last])))
}
