//! What an exchange needs of an endpoint.

use crate::exchange::Class;

/// What an exchange needs of ZITADEL. A replica that has just started serves gRPC for about a
/// second before its REST gateway has dialled it (`zitadel.md` §13.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// gRPC, gRPC-Web, Connect, OIDC, files and pages: served directly.
    Rpc,
    /// REST, which ZITADEL's gateway turns into a gRPC call to itself.
    Rest,
}

impl Need {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Rpc, Self::Rest];

    /// What an exchange needs. Much has the class of REST that ZITADEL's gateway has no part in: OIDC
    /// and SCIM, a file or a page that is fetched without a browser's fields. None of it must wait for
    /// the gateway.
    pub fn of(class: Class, path: &str) -> Self {
        match class {
            Class::Rest if is_gateways(path) => Self::Rest,
            Class::Rest => Self::Rpc,
            Class::Grpc
            | Class::GrpcWeb
            | Class::GrpcWebText
            | Class::Connect
            | Class::ConnectStream
            | Class::Asset
            | Class::Page
            | Class::WebSocket => Self::Rpc,
        }
    }

    /// The stable word for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rpc => "rpc",
            Self::Rest => "rest",
        }
    }
}

/// Whether ZITADEL's REST gateway answers this path (`zitadel.md` §1): `/management/v1/…` and its
/// like, `/v2/…` and every other version, `/resources/…`, `/healthz`.
fn is_gateways(path: &str) -> bool {
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
    let is_version = |segment: &str| {
        segment.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    match segments.next() {
        Some("admin" | "auth" | "management" | "system") => segments.next().is_some_and(is_version),
        Some("resources" | "healthz") => true,
        first => first.is_some_and(is_version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_gateway_answers_waits_for_it() {
        for (class, path, need) in [
            (Class::Rest, "/auth/v1/users/me", Need::Rest),
            (Class::Rest, "/management/v1/projects/_search", Need::Rest),
            (Class::Rest, "/v2/users", Need::Rest),
            (Class::Rest, "/v2beta/users/1", Need::Rest),
            (Class::Rest, "/v3alpha/debug_events", Need::Rest),
            (Class::Rest, "/resources/v3alpha/users", Need::Rest),
            (Class::Rest, "/healthz", Need::Rest),
            (Class::Rest, "/ui/console/", Need::Rpc),
            (Class::Rest, "/ui/v2/login/security", Need::Rpc),
            (Class::Rest, "/.well-known/openid-configuration", Need::Rpc),
            (Class::Rest, "/oauth/v2/token", Need::Rpc),
            (Class::Rest, "/oidc/v1/userinfo", Need::Rpc),
            (Class::Rest, "/saml/v2/metadata", Need::Rpc),
            (Class::Rest, "/scim/v2/1/Users", Need::Rpc),
            (Class::Rest, "/assets/v1/users/me/avatar", Need::Rpc),
            (Class::Rest, "/idps/callback", Need::Rpc),
            (Class::Rest, "/", Need::Rpc),
            (Class::Rest, "*", Need::Rpc),
            (Class::Rest, "/vx", Need::Rpc),
            (Class::Connect, "/v2/users", Need::Rpc),
            (Class::Page, "/v2/users", Need::Rpc),
        ] {
            assert_eq!(Need::of(class, path), need, "{class:?} {path}");
        }
    }
}
