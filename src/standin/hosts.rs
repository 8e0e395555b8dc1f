//! Which instance a request is for: ZITADEL's algorithm, its trust in headers included.

use super::message::Call;

/// The text ZITADEL adds to an unknown instance.
const NOT_FOUND: &str = "ID=QUERY-1kIjX Message=Instance not found. Make sure you got the domain right. \
    Check out https://zitadel.com/docs/apis/introduction#domains";

/// The instance of a request and the origin that its links carry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Instance {
    /// Host and port as asked for.
    pub(super) host: String,
    /// The public host if one was named.
    pub(super) public: String,
    /// `http` or `https`.
    pub(super) protocol: String,
}

/// No such instance, in ZITADEL's words.
#[derive(Debug)]
pub(super) struct Unknown {
    pub(super) message: String,
}

impl Instance {
    /// Looks the instance up as the HTTP, gRPC and Connect handlers do.
    pub(super) fn resolve(call: &Call) -> Result<Self, Unknown> {
        let host = header_host(call).unwrap_or_else(|| call.authority.clone());
        let public = call.header("x-zitadel-public-host").unwrap_or_default().to_owned();
        Self::look_up(call, host, public)
    }

    /// Looks the instance up as REST does: the gateway calls the server again and passes on
    /// `x-zitadel-*`, `Grpc-Metadata-*`, `X-Forwarded-For` and a host made of `X-Forwarded-Host`
    /// or `Host`, but not `Forwarded`.
    pub(super) fn resolve_rest(call: &Call) -> Result<Self, Unknown> {
        let named = |name: &str| {
            let metadata = format!("grpc-metadata-{name}");
            first(call, name).or_else(|| first(call, &metadata))
        };
        let host = named("x-zitadel-instance-host")
            .or_else(|| {
                first(call, "grpc-metadata-forwarded").and_then(|value| forwarded(&value, "host"))
            })
            .or_else(|| named("x-zitadel-forwarded").and_then(|value| forwarded(&value, "host")))
            .or_else(|| first(call, "x-forwarded-for").and_then(|value| forwarded(&value, "host")))
            .or_else(|| first(call, "x-forwarded-host"))
            .unwrap_or_else(|| call.authority.clone());
        Self::look_up(call, host, named("x-zitadel-public-host").unwrap_or_default())
    }

    fn look_up(call: &Call, host: String, public: String) -> Result<Self, Unknown> {
        let options = &call.shared.options;
        let known = |host: &str| {
            // Everything behind the first colon is dropped, whatever it says; letters count as they are.
            let domain = host.split(':').next().unwrap_or_default();
            domain == options.external_domain || domain == "localhost" || domain == "127.0.0.1"
        };
        let protocol = if options.external_secure { "https".to_owned() } else { protocol(call) };
        let refused = |why: &str| Unknown {
            message: format!(
                "unable to set instance using origin {{{host} {public} {protocol}}} (ExternalDomain is {}): {why}",
                options.external_domain
            ),
        };
        if !known(&host) {
            return Err(refused(NOT_FOUND));
        }
        if !public.is_empty() && !known(&public) {
            return Err(refused(&format!(
                "ID=QUERY-IuGh1 Message=public domain \"{public}\" not trusted"
            )));
        }
        Ok(Self { host, public, protocol })
    }

    /// The origin that the issuer, links and redirects carry.
    pub(super) fn origin(&self) -> String {
        let host = if self.public.is_empty() { &self.host } else { &self.public };
        format!("{}://{host}", self.protocol)
    }
}

fn first(call: &Call, name: &str) -> Option<String> {
    call.header(name).filter(|value| !value.is_empty()).map(str::to_owned)
}

/// Any of these overrides `Host`; the first one that says something wins.
fn header_host(call: &Call) -> Option<String> {
    first(call, "x-zitadel-instance-host")
        .or_else(|| first(call, "forwarded").and_then(|value| forwarded(&value, "host")))
        .or_else(|| first(call, "x-zitadel-forwarded").and_then(|value| forwarded(&value, "host")))
        .or_else(|| first(call, "x-forwarded-for").and_then(|value| forwarded(&value, "host")))
        .or_else(|| first(call, "x-forwarded-host"))
}

fn protocol(call: &Call) -> String {
    let web = |value: &String| value == "http" || value == "https";
    first(call, "forwarded")
        .and_then(|value| forwarded(&value, "proto"))
        .filter(web)
        .or_else(|| first(call, "x-forwarded-proto").filter(web))
        .unwrap_or_else(|| "http".to_owned())
}

/// A parameter of RFC 7239; the first element that has it wins, which is the client's.
pub(super) fn forwarded(value: &str, key: &str) -> Option<String> {
    value.split(',').flat_map(|element| element.split(';')).find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case(key) && !value.is_empty()).then(|| value.to_owned())
    })
}
