//! What a cluster is told beside its addresses.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::compile::lasting;
use crate::config::parse;
use crate::config::schema::text::{AuthorityText, HashText, PathText, ResolverText};
use crate::config::schema::upstream::{Health, HealthCheck, HealthForm};
use crate::config::scope::Scope;
use crate::message::FieldName;
use crate::upstream::plan::{Caps, Check, HashBy, HealthPlan};

/// From one check to the next where nothing is said.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long an answer to a check may take where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(2);

/// ZITADEL's own check, asking for this host.
pub fn zitadel(host: Option<String>) -> HealthPlan {
    let check = Check::Zitadel { host: host.map(Into::into) };
    HealthPlan { check, interval: INTERVAL, timeout: TIMEOUT }
}

/// How endpoints are checked; `host` is asked for where nothing is said.
pub fn health(
    written: Option<&Health>,
    host: Option<String>,
    scope: &Scope<'_>,
) -> Option<HealthPlan> {
    let bare = HealthForm::default();
    let (check, form) = match written? {
        Health::Check(check) => (*check, &bare),
        Health::Form(form) => (form.check?, form),
    };
    foreign(check, form, scope);
    let named = form.host.as_ref().and_then(|text| {
        let known = parse::authority(text).map(|_| text.to_string());
        scope.key("host").parsed(text, known, AuthorityText::EXPECTED)
    });
    let host = named.or(host).map(Into::into);
    let check = match check {
        HealthCheck::Off => return None,
        HealthCheck::Tcp => Check::Tcp,
        HealthCheck::Zitadel => Check::Zitadel { host },
        HealthCheck::Grpc => {
            Check::Grpc { service: form.service.as_deref().unwrap_or_default().into() }
        }
        HealthCheck::Http => Check::Http {
            path: path(form.path.as_ref(), &scope.key("path")).into(),
            status: form.status,
            host,
        },
    };
    Some(HealthPlan {
        check,
        interval: lasting(form.interval.as_ref(), INTERVAL, &scope.key("interval")),
        timeout: lasting(form.timeout.as_ref(), TIMEOUT, &scope.key("timeout")),
    })
}

fn path<'a>(written: Option<&'a PathText>, scope: &Scope<'_>) -> &'a str {
    let parsed = written.and_then(|text| scope.parsed(text, parse::path(text), PathText::EXPECTED));
    parsed.unwrap_or("/")
}

/// Reports keys that the check does not have.
fn foreign(check: HealthCheck, form: &HealthForm, scope: &Scope<'_>) {
    let http = check == HealthCheck::Http;
    let named = http || check == HealthCheck::Zitadel;
    for (key, given, fits, expected) in [
        ("path", form.path.is_some(), http, "it with check: http only"),
        ("status", form.status.is_some(), http, "it with check: http only"),
        ("host", form.host.is_some(), named, "it with check: zitadel or http only"),
        ("service", form.service.is_some(), check == HealthCheck::Grpc, "it with check: grpc only"),
    ] {
        if given && !fits {
            scope.key(key).fault("a key that this check does not have", expected);
        }
    }
}

/// The name server that is asked.
pub fn resolver(written: Option<&ResolverText>, scope: &Scope<'_>) -> Option<SocketAddr> {
    let text = written?;
    let address = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
    scope.parsed(text, address, ResolverText::EXPECTED)
}

/// What one endpoint is given at most.
pub fn caps(in_flight: Option<u32>, pending: Option<u32>, base: Caps) -> Caps {
    Caps { in_flight: in_flight.or(base.in_flight), pending: pending.unwrap_or(base.pending) }
}

/// What leads an exchange to its endpoint.
pub fn hash(written: Option<&HashText>, scope: &Scope<'_>) -> Option<HashBy> {
    let text = written?;
    let by = match text.split_once(':') {
        None if &**text == "client" => Some(HashBy::Client),
        Some(("header", name)) => name.parse::<FieldName>().ok().map(HashBy::Header),
        Some(("cookie", name)) if !name.is_empty() && !name.contains([';', '=', ' ']) => {
            Some(HashBy::Cookie(name.into()))
        }
        _ => None,
    };
    scope.parsed(text, by, HashText::EXPECTED)
}
