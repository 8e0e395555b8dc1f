//! OIDC and SAML. Every answer sets the browser's identity, discovery and keys included: a front
//! that stores the keys without a thought hands one browser's identity to all.

use http::Method;
use serde_json::json;

use super::hosts::Instance;
use super::message::{Answer, Call, Reply, Token, go_error, redirect, reply, set};
use super::{cors, security};

/// Discovery, `/oauth/v2`, `/oidc/v1` and `/saml/v2`.
pub(super) fn matches(path: &str) -> bool {
    path == "/.well-known/openid-configuration"
        || ["/oauth/v2/", "/oidc/v1/", "/saml/v2/"].iter().any(|prefix| path.starts_with(prefix))
}

/// Answers for the instance that the headers name.
pub(super) async fn answer(mut call: Call) -> Answer {
    if cors::is_preflight(&call) {
        return Ok(cors::preflight(&call, &cors::OIDC));
    }
    let instance = match Instance::resolve(&call) {
        Ok(instance) => instance,
        Err(unknown) => return Ok(go_error(404, &unknown.message)),
    };
    let (body, _) = call.body.read(1 << 20).await?;
    let origin = instance.origin();
    let mut reply = match call.path.as_str() {
        "/.well-known/openid-configuration" => {
            no_store(reply(200, "application/json", discovery(&origin)))
        }
        "/oauth/v2/keys" => keys(),
        "/oauth/v2/token" => no_store(token(&call, &body)),
        "/oauth/v2/authorize" => no_store(authorize(&call)),
        "/oauth/v2/introspect" => no_store(introspect(&call)),
        "/oauth/v2/revoke" => no_store(reply(200, "", "")),
        "/oauth/v2/device_authorization" => no_store(device(&origin)),
        "/oidc/v1/userinfo" => no_store(userinfo(&call)),
        "/oidc/v1/end_session" => no_store(redirect(302, "/ui/login/logout/done")),
        "/saml/v2/metadata" => reply(200, "text/xml", metadata(&origin)),
        "/saml/v2/certificate" => reply(200, "application/octet-stream", "MIIDemo"),
        "/saml/v2/SSO" => no_store(go_error(400, "failed to parse form: no SAMLRequest")),
        _ => no_store(go_error(404, "404 page not found")),
    };
    cors::actual(&call.head.method, call.header("origin"), &cors::OIDC, reply.headers_mut());
    security::user_agent_cookie(&call, reply.headers_mut());
    Ok(reply)
}

fn no_store(mut reply: Reply) -> Reply {
    security::no_store(reply.headers_mut());
    reply
}

fn discovery(origin: &str) -> String {
    json!({
        "issuer": origin,
        "authorization_endpoint": format!("{origin}/oauth/v2/authorize"),
        "token_endpoint": format!("{origin}/oauth/v2/token"),
        "introspection_endpoint": format!("{origin}/oauth/v2/introspect"),
        "userinfo_endpoint": format!("{origin}/oidc/v1/userinfo"),
        "revocation_endpoint": format!("{origin}/oauth/v2/revoke"),
        "end_session_endpoint": format!("{origin}/oidc/v1/end_session"),
        "device_authorization_endpoint": format!("{origin}/oauth/v2/device_authorization"),
        "jwks_uri": format!("{origin}/oauth/v2/keys"),
        "scopes_supported": ["openid", "profile", "email", "phone", "address", "offline_access"],
        "response_types_supported": ["code", "id_token", "id_token token"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "grant_types_supported": ["authorization_code", "implicit", "refresh_token", "client_credentials",
            "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:device_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
        "code_challenge_methods_supported": ["S256"],
        "ui_locales_supported": ["de", "en", "fr", "it"],
        "request_parameter_supported": true,
    })
    .to_string()
}

fn keys() -> Reply {
    let body = json!({"keys": [{
        "use": "sig", "kty": "RSA", "kid": "200000000000000009", "alg": "RS256", "e": "AQAB",
        "n": "sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri23bOdgWp4Dy1WlUzewbgBHod5pcM9H95GQRV3JDXboIRROSBigeC5yjU1hGzHHyXss8UDprecbAYxknTcQkhslANGRUZmdTOQ5qTRsLAt6BTYuyvVRdhS8exSZEy_c4gs_7svlJJQ4H9_NxsiIoLwAEk7-Q3UXERGYw_75IDrGA84-lA_-Ct4eTlXHBIY2EaV7t7LjJaynVJCpkv4LKjTTAumiGUIuQhrNhZLuF_RJLqHpM2kgWFLU7-VTdL1VbC2tejvcI2BlMkEpk1BzBZI0KQB0GaDWFLN-aEAw3vRw",
    }]});
    let mut reply = reply(200, "application/json", body.to_string());
    set(reply.headers_mut(), "cache-control", "max-age=300, must-revalidate");
    reply
}

fn token(call: &Call, body: &[u8]) -> Reply {
    let form = String::from_utf8_lossy(body);
    if call.head.method != Method::POST || !form.contains("grant_type=") {
        let error = json!({"error": "invalid_request", "error_description": "grant_type missing"});
        return reply(400, "application/json", error.to_string());
    }
    if !form.contains("client_id=demo") {
        let error = json!({"error": "invalid_client", "error_description": "client not found"});
        return reply(400, "application/json", error.to_string());
    }
    let granted = json!({"access_token": "demo", "token_type": "Bearer", "expires_in": 43199});
    reply(200, "application/json", granted.to_string())
}

fn authorize(call: &Call) -> Reply {
    if call.query("client_id").is_none() {
        let error = json!({"error": "invalid_request", "error_description": "client_id missing"});
        return reply(400, "application/json", error.to_string());
    }
    redirect(302, "/ui/login/login?authRequestID=200000000000000003")
}

fn introspect(call: &Call) -> Reply {
    if call.header("authorization").is_none() {
        return reply(401, "application/json", "{\"error\":\"invalid_client\"}");
    }
    reply(200, "application/json", "{\"active\":false}")
}

fn device(origin: &str) -> Reply {
    let body = json!({
        "device_code": "demo-device-code", "user_code": "DEMO-CODE", "verification_uri": format!("{origin}/device"),
        "verification_uri_complete": format!("{origin}/device?user_code=DEMO-CODE"), "expires_in": 300, "interval": 5,
    });
    reply(200, "application/json", body.to_string())
}

fn userinfo(call: &Call) -> Reply {
    match call.token() {
        Token::Good => reply(
            200,
            "application/json",
            "{\"sub\":\"200000000000000001\",\"preferred_username\":\"demo\"}",
        ),
        _ => reply(
            401,
            "application/json",
            "{\"error\":\"access_denied\",\"error_description\":\"access token invalid\"}",
        ),
    }
}

fn metadata(origin: &str) -> String {
    let origin = origin.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<EntityDescriptor xmlns=\"urn:oasis:names:tc:SAML:2.0:metadata\" \
         entityID=\"{origin}/saml/v2/metadata\"><IDPSSODescriptor protocolSupportEnumeration=\
         \"urn:oasis:names:tc:SAML:2.0:protocol\"><SingleSignOnService Binding=\
         \"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" Location=\"{origin}/saml/v2/SSO\"/>\
         </IDPSSODescriptor></EntityDescriptor>"
    )
}
