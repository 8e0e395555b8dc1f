//! `listeners`, or their short form `listen` and `certificate`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::config::compile::{item, lasting};
use crate::config::parse::{self, Listen};
use crate::config::schema::text::{ListenText, OneOrMany, RangeText, SizeText};
use crate::config::schema::{
    Certificate, ClientAuth as ClientAuthText, ClientAuthMode, Document, Https, KeyPair,
    Limits as LimitsText, Listener, ListenerTls, ProxyProtocol, TlsVersion,
};
use crate::config::scope::Scope;
use crate::downstream::plan::{
    Address, CertificatePlan, ClientAuth, Limits, ListenerPlan, TlsPlan,
};

/// The port with TLS when none is given, and without: 8080 is ZITADEL's own.
const TLS_PORT: u16 = 8443;
const PLAIN_PORT: u16 = 8000;

/// Every listener; at least one.
pub fn listeners(
    document: &Document,
    admin: Option<SocketAddr>,
    scope: &Scope<'_>,
) -> Vec<ListenerPlan> {
    let Some(written) = &document.listeners else {
        let listener = short(document, scope);
        overlaps(&[(listener.clone(), scope.key("listen"))], admin);
        return vec![listener];
    };
    for key in ["listen", "certificate", "trusted_proxies"] {
        if scope.key(key).given() {
            scope.key(key).fault("it beside \"listeners\"", "either the short form or the list");
        }
    }
    let scope = scope.key("listeners");
    if written.is_empty() {
        scope.fault("an empty list", "at least one listener");
    }
    let mut plans: Vec<(ListenerPlan, Scope<'_>)> = Vec::new();
    for (i, listener) in written.iter().enumerate() {
        let below = scope.index(i);
        if let Some(plan) = full(listener, &plans, &below) {
            plans.push((plan, below));
        }
    }
    overlaps(&plans, admin);
    let https = https_port(&plans);
    for ((plan, _), listener) in plans.iter_mut().zip(written) {
        if listener.redirect_to_https == Some(Https::Flag(true)) {
            plan.redirect_to_https = Some(https);
        }
    }
    plans.into_iter().map(|(plan, _)| plan).collect()
}

fn short(document: &Document, scope: &Scope<'_>) -> ListenerPlan {
    let tls = document.certificate.as_ref().map(|pair| {
        let certificate = pair_plan(pair, true, &scope.key("certificate"));
        TlsPlan {
            certificates: certificate.into_iter().collect(),
            client_auth: ClientAuth::Off,
            only_tls13: false,
        }
    });
    let port = if tls.is_some() { TLS_PORT } else { PLAIN_PORT };
    let default = Address::Tcp(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port));
    let written = document.listen.as_ref();
    let address = written.and_then(|text| address(text, &scope.key("listen"))).unwrap_or(default);
    ListenerPlan {
        name: default_name(&address).into(),
        address,
        tls,
        proxy_protocol: Vec::new(),
        trusted_proxies: trusted(document.trusted_proxies.as_ref(), scope),
        redirect_to_https: None,
        limits: Limits::default(),
    }
}

fn full(
    listener: &Listener,
    prior: &[(ListenerPlan, Scope<'_>)],
    scope: &Scope<'_>,
) -> Option<ListenerPlan> {
    let tls = listener.tls.as_ref().map(|written| tls(written, &scope.key("tls")));
    let proxy_protocol = proxy(listener.proxy_protocol.as_ref(), &scope.key("proxy_protocol"));
    let trusted_proxies = trusted(listener.trusted_proxies.as_ref(), scope);
    let limits = limits(listener.limits.as_ref(), &scope.key("limits"));
    let redirect_to_https = match listener.redirect_to_https {
        Some(Https::Port(port)) => Some(port),
        // The port is known when all listeners are.
        Some(Https::Flag(_)) | None => None,
    };
    let redirects = !matches!(listener.redirect_to_https, None | Some(Https::Flag(false)));
    if redirects && listener.tls.is_some() {
        let expected = "a plaintext listener (this one has \"tls\")";
        scope.key("redirect_to_https").fault("a redirect to https", expected);
    }
    let address = address(listener.address.as_ref()?, &scope.key("address"))?;
    let name = name(listener, &address, prior, scope);
    Some(ListenerPlan {
        name,
        address,
        tls,
        proxy_protocol,
        trusted_proxies,
        redirect_to_https,
        limits,
    })
}

fn name(
    listener: &Listener,
    address: &Address,
    prior: &[(ListenerPlan, Scope<'_>)],
    scope: &Scope<'_>,
) -> Arc<str> {
    let taken = |name: &str| prior.iter().find(|(plan, _)| &*plan.name == name);
    if let Some(name) = &listener.name {
        if let Some((_, other)) = taken(name) {
            let expected = format!("a name of its own ({} has it)", other.path());
            scope.key("name").bad(name, expected);
        }
        if name.is_empty() {
            scope.key("name").bad(name, "a name");
        }
        return Arc::from(&**name);
    }
    let name = default_name(address);
    // Two listeners on ports of the system's choice have the same address here.
    match taken(&name) {
        Some(_) => format!("{name}#{}", prior.len() + 1).into(),
        None => name.into(),
    }
}

fn default_name(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn address(text: &ListenText, scope: &Scope<'_>) -> Option<Address> {
    match scope.parsed(text, parse::listen(text), ListenText::EXPECTED)? {
        Listen::Tcp(address) => Some(Address::Tcp(address)),
        Listen::Unix(path) => Some(Address::Unix(scope.resolve(&path))),
    }
}

fn tls(tls: &ListenerTls, scope: &Scope<'_>) -> TlsPlan {
    let written = tls.certificates.as_deref().unwrap_or_default();
    let below = scope.key("certificates");
    let mut certificates = Vec::new();
    let mut default: Option<Scope<'_>> = None;
    for (i, certificate) in written.iter().enumerate() {
        let below = below.index(i);
        let is_default = certificate.default.unwrap_or(written.len() == 1);
        if is_default {
            match &default {
                Some(first) => {
                    let expected = format!("one default ({} is it)", first.path());
                    below.key("default").fault("a second default", expected);
                }
                None => default = Some(below.clone()),
            }
        }
        certificates.extend(certificate_plan(certificate, is_default, &below));
    }
    TlsPlan {
        certificates,
        client_auth: client_auth(tls.client_auth.as_ref(), &scope.key("client_auth")),
        only_tls13: tls.min_version == Some(TlsVersion::V13),
    }
}

fn certificate_plan(
    certificate: &Certificate,
    default: bool,
    scope: &Scope<'_>,
) -> Option<CertificatePlan> {
    let pair = KeyPair { cert: certificate.cert.clone(), key: certificate.key.clone() };
    pair_plan(&pair, default, scope)
}

fn pair_plan(pair: &KeyPair, default: bool, scope: &Scope<'_>) -> Option<CertificatePlan> {
    let cert = pair.cert.as_ref().map(|path| scope.key("cert").readable(path));
    let key = pair.key.as_ref().map(|path| scope.key("key").readable(path));
    Some(CertificatePlan { cert: cert?, key: key?, default })
}

fn client_auth(auth: Option<&ClientAuthText>, scope: &Scope<'_>) -> ClientAuth {
    let Some(auth) = auth else { return ClientAuth::Off };
    let ca = auth.ca.as_ref().map(|path| scope.key("ca").readable(path));
    match (auth.mode, ca) {
        (Some(ClientAuthMode::Optional), Some(ca)) => ClientAuth::Optional(ca),
        (Some(ClientAuthMode::Required), Some(ca)) => ClientAuth::Required(ca),
        (Some(ClientAuthMode::Optional | ClientAuthMode::Required), None) => {
            if !scope.key("ca").given() {
                scope.key("ca").fault("nothing", "the path of a file, unless mode is \"off\"");
            }
            ClientAuth::Off
        }
        (Some(ClientAuthMode::Off) | None, _) => ClientAuth::Off,
    }
}

fn proxy(proxy: Option<&ProxyProtocol>, scope: &Scope<'_>) -> Vec<ipnet::IpNet> {
    let from = proxy.and_then(|proxy| proxy.from.as_ref());
    ranges(from, &scope.key("from"))
}

fn trusted(written: Option<&OneOrMany<RangeText>>, scope: &Scope<'_>) -> Arc<[ipnet::IpNet]> {
    ranges(written, &scope.key("trusted_proxies")).into()
}

fn ranges(written: Option<&OneOrMany<RangeText>>, scope: &Scope<'_>) -> Vec<ipnet::IpNet> {
    let Some(from) = written else { return Vec::new() };
    // An empty list would switch the protocol off, which nobody who wrote the key can want.
    if from.iter().next().is_none() && !matches!(scope.place(), crate::config::fault::Place::Whole)
    {
        scope.fault("no range", RangeText::EXPECTED);
    }
    from.iter()
        .filter_map(|(i, text)| {
            item(scope, i).parsed(text, parse::range(text), RangeText::EXPECTED)
        })
        .collect()
}

fn limits(limits: Option<&LimitsText>, scope: &Scope<'_>) -> Limits {
    let default = Limits::default();
    let Some(limits) = limits else { return default };
    let count = |value: Option<u32>, default: usize| {
        value.and_then(|value| usize::try_from(value).ok()).unwrap_or(default)
    };
    Limits {
        connections: count(limits.connections, default.connections),
        connections_per_client: count(
            limits.connections_per_client,
            default.connections_per_client,
        ),
        streams: limits.streams.unwrap_or(default.streams),
        header_bytes: limits
            .header_size
            .as_ref()
            .and_then(|text| header_size(text, &scope.key("header_size")))
            .unwrap_or(default.header_bytes),
        header_fields: count(limits.header_fields, default.header_fields),
        head_time: lasting(limits.head_time.as_ref(), default.head_time, &scope.key("head_time")),
        idle: lasting(limits.idle.as_ref(), default.idle, &scope.key("idle")),
    }
}

fn header_size(text: &SizeText, scope: &Scope<'_>) -> Option<u32> {
    let bytes = scope.parsed(text, parse::size(text), SizeText::EXPECTED)?;
    if !(1 << 10..=16 << 20).contains(&bytes) {
        scope.bad(text, "a size from 1KiB to 16MiB");
        return None;
    }
    u32::try_from(bytes).ok()
}

/// Where clients of a redirecting listener find https.
fn https_port(plans: &[(ListenerPlan, Scope<'_>)]) -> u16 {
    let mut ports =
        plans.iter().filter(|(plan, _)| plan.tls.is_some()).map(|(plan, _)| match plan.address {
            Address::Tcp(address) => address.port(),
            Address::Unix(_) => 443,
        });
    match (ports.next(), ports.next()) {
        (Some(port), None) if port != 0 => port,
        _ => 443,
    }
}

fn overlaps(plans: &[(ListenerPlan, Scope<'_>)], admin: Option<SocketAddr>) {
    for (i, (plan, scope)) in plans.iter().enumerate() {
        let prior = plans.iter().take(i).find(|(prior, _)| overlap(&prior.address, &plan.address));
        let place = if scope.path() == "listen" { scope.clone() } else { scope.key("address") };
        if let Some((other, other_scope)) = prior {
            let expected = format!(
                "an address of its own ({} has {})",
                other_scope.path(),
                default_name(&other.address)
            );
            place.bad(&default_name(&plan.address), expected);
        }
        if admin.is_some_and(|admin| overlap(&Address::Tcp(admin), &plan.address)) {
            place.bad(&default_name(&plan.address), "an address of its own (admin has it)");
        }
    }
}

/// Whether two listeners would get each other's connections.
fn overlap(a: &Address, b: &Address) -> bool {
    let (a, b) = match (a, b) {
        (Address::Unix(a), Address::Unix(b)) => return a == b,
        (Address::Tcp(a), Address::Tcp(b)) => (a, b),
        _ => return false,
    };
    // `[::]` is dual stack; `0.0.0.0` is every IPv4 address.
    let wide = |wide: &SocketAddr, other: &SocketAddr| {
        wide.ip().is_unspecified() && (wide.is_ipv6() || other.is_ipv4())
    };
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || wide(a, b) || wide(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_overlaps_what_it_covers() {
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        assert!(overlap(&tcp("[::]:1"), &tcp("127.0.0.1:1")));
        assert!(overlap(&tcp("10.0.0.1:1"), &tcp("0.0.0.0:1")));
        assert!(!overlap(&tcp("0.0.0.0:1"), &tcp("[::1]:1")));
        assert!(!overlap(&tcp("[::]:0"), &tcp("[::]:0")));
        assert!(!overlap(&tcp("127.0.0.1:1"), &tcp("127.0.0.2:1")));
    }
}
