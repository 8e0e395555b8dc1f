//! What an answer means, in words that name the setting to change. Pure.

use std::fmt::Display;

use http::{StatusCode, Uri};
use serde_json::Value as Json;

use super::ask::Reply;
use crate::config::zitadel::Mode;
use crate::upstream::plan::{EndpointPlan, Protocol};

/// Nobody is there.
pub(super) fn unreachable(endpoint: &str, cause: &str) -> String {
    format!(
        "{endpoint} cannot be reached ({cause}): start ZITADEL, or correct zitadel.upstream (ZITADEL listens on ZITADEL_PORT, 8080 unless set)"
    )
}

/// Where endpoints should be found, none are.
pub(super) fn not_found(source: &str, why: &str) -> String {
    format!("no endpoints are found at {source} ({why}): correct it, or what it names")
}

/// Somebody is there and speaks `protocol`, which is not what was configured; or it is, and only
/// its certificate is not believed (`cause`).
pub(super) fn speaks(
    mode: Mode,
    endpoint: &EndpointPlan,
    protocol: Protocol,
    cause: &str,
) -> String {
    let name = &endpoint.name;
    let mode = mode.word();
    match protocol {
        Protocol::H2 if endpoint.protocol == Protocol::H2 => format!(
            "{name}: ZITADEL's certificate is not believed ({cause}): set zitadel.tls.ca to its CA, or zitadel.tls.pins, and zitadel.tls.server_name to a name in it"
        ),
        Protocol::H2 => format!(
            "{name} speaks TLS, so ZITADEL runs with --tlsMode enabled (TLS.Enabled: true), but Ravelin is told tls_mode \"{mode}\": start ZITADEL with --tlsMode {mode} (ZITADEL_TLS_ENABLED=false), or set zitadel.tls_mode to enabled and zitadel.upstream to h2://…"
        ),
        Protocol::H2c => format!(
            "{name} speaks h2c in plaintext, so ZITADEL runs with --tlsMode external or disabled (TLS.Enabled: false), but Ravelin is told tls_mode \"{mode}\": start ZITADEL with --tlsMode enabled (ZITADEL_TLS_ENABLED=true), or set zitadel.tls_mode to external and zitadel.upstream to h2c://…"
        ),
        Protocol::Http | Protocol::Https => format!(
            "{name} speaks HTTP/1.1 only, ZITADEL itself HTTP/2 too: gRPC needs it. Something stands between (a proxy, a mesh, a service declared as http1): set zitadel.upstream to ZITADEL's own port, or its appProtocol to kubernetes.io/h2c"
        ),
    }
}

/// Somebody is there and speaks nothing that is known.
pub(super) fn speaks_nothing(endpoint: &EndpointPlan, cause: &str) -> String {
    format!(
        "{} takes connections and speaks neither HTTP/2 nor TLS nor HTTP/1.1 ({cause}): correct zitadel.upstream (ZITADEL_PORT)",
        endpoint.name
    )
}

/// The issuer that discovery names, or why it names none.
pub(super) fn issuer(host: &str, reply: &Reply) -> Result<String, String> {
    let text = String::from_utf8_lossy(&reply.body);
    if reply.status == StatusCode::OK {
        let json: Option<Json> = serde_json::from_slice(&reply.body).ok();
        let issuer = json.as_ref().and_then(|json| json.get("issuer")).and_then(Json::as_str);
        return issuer.map(str::to_owned).ok_or_else(|| {
            "discovery names no issuer: zitadel.upstream is something else than ZITADEL".to_owned()
        });
    }
    if reply.status == StatusCode::NOT_FOUND && text.contains("nstance") {
        let known = external_domain(&text);
        let known =
            known.map(|name| format!(" (its ExternalDomain is {name})")).unwrap_or_default();
        let bare = without_port(host);
        return Err(format!(
            "ZITADEL has no instance for {host}{known}: set ZITADEL_EXTERNALDOMAIN={bare} and run zitadel setup again, or add {bare} to the instance's custom domains, or correct zitadel.domain"
        ));
    }
    let kind = reply.headers.get(http::header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("no content type");
    Err(format!(
        "discovery for {host} is answered with {} ({kind}): zitadel.upstream is something else than ZITADEL, or ZITADEL is not ready",
        reply.status.as_u16()
    ))
}

/// `unable to set instance using origin {…} (ExternalDomain is X): …`
/// (`internal/api/http/middleware/instance_interceptor.go`).
fn external_domain(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("(ExternalDomain is ")?;
    rest.split_once(')').map(|(name, _)| name)
}

/// How an issuer differs from the address at which clients come.
pub(super) fn origin(mode: Mode, origin: &str, issuer: &str) -> Option<String> {
    let change = change(mode, origin, issuer)?;
    Some(format!("clients come to {origin}, ZITADEL's issuer is {issuer}: {change}"))
}

/// How the Console's settings differ from the address at which clients come, beyond what the issuer
/// did already.
pub(super) fn environment(mode: Mode, origin: &str, issuer: &str, reply: &Reply) -> Vec<String> {
    let json: Option<Json> = serde_json::from_slice(&reply.body).ok();
    let Some(json) = json.filter(|_| reply.status == StatusCode::OK) else {
        return vec![format!(
            "the Console's environment.json is answered with {}: zitadel.upstream is something else than ZITADEL",
            reply.status.as_u16()
        )];
    };
    let line = |key: &str| {
        let said = json.get(key).and_then(Json::as_str).unwrap_or_default();
        let change = change(mode, origin, said).filter(|_| parts(said) != parts(issuer))?;
        Some(format!("clients come to {origin}, the Console is told {key} {said}: {change}"))
    };
    ["api", "issuer"].into_iter().filter_map(line).collect()
}

/// What to change so that ZITADEL says `origin` where it says `said`; none if it does.
fn change(mode: Mode, origin: &str, said: &str) -> Option<String> {
    let wanted = parts(origin)?;
    let Some(said) = parts(said) else {
        return Some("that is no address, check ZITADEL_EXTERNALDOMAIN".to_owned());
    };
    if wanted == said {
        return None;
    }
    Some(if wanted.0 != said.0 && mode == Mode::Disabled {
        "ZITADEL runs with ExternalSecure: true. Set ZITADEL_EXTERNALSECURE=false (--tlsMode disabled), or give Ravelin a certificate and set zitadel.tls_mode to external".to_owned()
    } else if wanted.0 != said.0 {
        format!(
            "ZITADEL runs with --tlsMode disabled (ExternalSecure: false). Start it with --tlsMode {} (ZITADEL_EXTERNALSECURE=true)",
            mode.word()
        )
    } else if wanted.1 != said.1 {
        format!("set ZITADEL_EXTERNALDOMAIN={}, or correct zitadel.domain", wanted.1)
    } else {
        format!("set ZITADEL_EXTERNALPORT={}, or correct zitadel.domain", wanted.2)
    })
}

/// The login is not there.
pub(super) fn login_unreachable(endpoint: &str, cause: &str) -> String {
    format!(
        "the login {endpoint} cannot be reached ({cause}): start it, or correct zitadel.login (its PORT is 3000 unless set)"
    )
}

/// Something is there that is not the login.
pub(super) fn login_status(endpoint: &str, status: StatusCode) -> String {
    let status = status.as_u16();
    format!(
        "the login {endpoint} answers {status} to /ui/v2/login/healthy: set its NEXT_PUBLIC_BASE_PATH=/ui/v2/login, or correct zitadel.login"
    )
}

/// The login is there and does not reach ZITADEL.
pub(super) fn login_without_api(endpoint: &str, cause: impl Display, host: &str) -> String {
    format!(
        "the login {endpoint} does not get through to ZITADEL ({cause}): check its ZITADEL_API_URL (ZITADEL's internal address), CUSTOM_REQUEST_HEADERS=Host:{host} and ZITADEL_SERVICE_USER_TOKEN"
    )
}

/// Scheme, host and port of an address.
fn parts(text: &str) -> Option<(String, String, u16)> {
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str()?;
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme.to_owned(), uri.host()?.to_owned(), port))
}

fn without_port(host: &str) -> &str {
    host.rsplit_once(':').filter(|(name, _)| !name.ends_with(':')).map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(mode: Mode, wanted: &str, issuer: &str) -> String {
        origin(mode, wanted, issuer).unwrap_or_default()
    }

    #[test]
    fn each_part_of_an_issuer_names_its_own_setting() {
        let wanted = "https://id.example.com";
        assert_eq!(origin(Mode::External, wanted, wanted), None);
        assert_eq!(origin(Mode::External, wanted, "https://id.example.com:443"), None);
        let text = said(Mode::External, wanted, "http://id.example.com");
        assert!(text.contains("--tlsMode external (ZITADEL_EXTERNALSECURE=true)"), "{text}");
        let text = said(Mode::Disabled, "http://id.example.com", wanted);
        assert!(text.contains("ZITADEL_EXTERNALSECURE=false"), "{text}");
        let text = said(Mode::External, wanted, "https://localhost");
        assert!(text.contains("ZITADEL_EXTERNALDOMAIN=id.example.com"), "{text}");
        let text = said(Mode::Enabled, wanted, "https://id.example.com:8080");
        assert!(text.contains("ZITADEL_EXTERNALPORT=443"), "{text}");
        assert!(said(Mode::Enabled, wanted, "nonsense").contains("EXTERNALDOMAIN"));
    }

    #[test]
    fn the_external_domain_is_read_out_of_zitadel_s_own_words() {
        let text = "unable to set instance using origin {x  https} (ExternalDomain is a.example): ID=QUERY-1kIjX Message=Instance not found.";
        assert_eq!(external_domain(text), Some("a.example"));
        assert_eq!(external_domain("ExternalDomain is"), None);
    }
}
