//! What of ZITADEL only reads, beyond GET, HEAD and names that begin with Get, List or Search.
//!
//! From the services and their REST mappings (`google.api.http` in `proto/zitadel/**`; the services
//! stand in `zitadel.md` §1). A search over REST is a POST: in v1 its path ends in `_search`, in v2
//! and v2beta in `search` or, for some, `_search`; users are listed by a POST to the collection
//! itself, while to every other collection that is a creation. SCIM has `.search` (RFC 7644
//! §3.4.3).
//!
//! Not here, though they sound like it: `RetrieveIdentityProviderIntent`, which newer versions let
//! succeed once, and `ExportData`, whose answer is all of an instance.
//!
//! And what is asked with GET though it does something: a browser that is sent from page to page brings
//! codes that hold once, of a login, of another identity provider, of a mail (`STEPS`). Asked
//! twice, the second would be told that its code is spent.

use std::time::Duration;

use http::Method;

use crate::pipeline::plan::{ReadPattern, RetryPlan, RetryPolicy};

/// How long a request waits for a replica: an update of ZITADEL restarts within that.
const HOLD: Duration = Duration::from_secs(5);

/// Methods without a verb that says it.
const METHODS: [(&str, &str); 4] = [
    ("grpc.health.v1.Health", "Check"),
    ("zitadel.admin.v1.AdminService", "IsOrgUnique"),
    ("zitadel.management.v1.ManagementService", "IsUserUnique"),
    ("zitadel.system.v1.SystemService", "ExistsDomain"),
];

/// Searches over REST.
const SEARCHES: [&str; 13] = [
    "/admin/v1/**/_search",
    "/auth/v1/**/_search",
    "/management/v1/**/_search",
    "/system/v1/**/_search",
    "/v2/users",
    "/v2/**/search",
    "/v2/**/_search",
    "/v2beta/users",
    "/v2beta/**/search",
    "/v2beta/**/_search",
    "/resources/v3alpha/**/_search",
    "/scim/v2/*/.search",
    "/scim/v2/*/*/.search",
];

/// What a browser asks for with GET, and what may be done but once: steps of OIDC and SAML, callbacks
/// of identity providers, and pages of login v1 (`internal/api/ui/login/router.go`) and v2 that send
/// a code, take one or end a login. Paths that `OIDC.CustomEndpoints` renames are named in `writes`.
const STEPS: [&str; 22] = [
    "/oauth/v2/authorize",
    "/oauth/v2/authorize/**",
    "/oidc/v1/end_session",
    "/saml/v2/SSO",
    "/saml/v2/SLO",
    "/saml/v2/login",
    "/idps/callback",
    "/idps/jwt",
    "/idps/*/saml/acs",
    "/idps/*/saml/slo",
    "/ui/login/login",
    "/ui/login/login/**",
    "/ui/login/register/externalidp/**",
    "/ui/login/password/**",
    "/ui/login/user/**",
    "/ui/login/mfa/**",
    "/ui/login/mail/verification",
    "/ui/login/device/**",
    "/ui/v2/login/login",
    "/ui/v2/login/idp/**",
    "/ui/v2/login/saml-post",
    "/ui/v2/login/signedin",
];

/// What is sent again of requests to ZITADEL and its login where nothing is said.
pub fn retry() -> RetryPlan {
    let rpc = METHODS
        .into_iter()
        .map(|(service, name)| ReadPattern::Rpc { service: service.into(), name: name.into() });
    let searches = SEARCHES
        .into_iter()
        .map(|path| ReadPattern::Http { method: Method::POST, path: path.into() });
    let steps =
        STEPS.into_iter().map(|path| ReadPattern::Http { method: Method::GET, path: path.into() });
    RetryPlan {
        policy: RetryPolicy::Reads,
        reads: rpc.chain(searches).collect(),
        writes: steps.collect(),
        hold: HOLD,
        hedge: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::compile::routes::retry::read;
    use crate::exchange::Class;
    use crate::pipeline::forward::retry::reads::is_read;

    #[test]
    fn every_pattern_is_one_that_a_file_may_hold() {
        let RetryPlan { reads, writes, .. } = retry();
        for pattern in reads.into_iter().chain(writes) {
            let text = match &pattern {
                ReadPattern::Rpc { service, name } => format!("{service}/{name}"),
                ReadPattern::Http { method, path } => format!("{method} {path}"),
            };
            assert_eq!(read(&text), Some(pattern), "{text}");
        }
    }

    #[test]
    fn searches_read_and_creations_do_not() {
        let reads = retry();
        for (path, expected) in [
            ("/v2/users", true),
            ("/v2beta/users", true),
            ("/v2/sessions/search", true),
            ("/v2/organizations/_search", true),
            ("/v2/users/1/links/_search", true),
            ("/v2/actions/targets/1/publickeys/search", true),
            ("/v2beta/instances/search", true),
            ("/management/v1/users/_search", true),
            ("/admin/v1/events/_search", true),
            ("/auth/v1/usergrants/me/_search", true),
            ("/scim/v2/1/Users/.search", true),
            ("/scim/v2/1/.search", true),
            ("/v2/users/human", false),
            ("/v2/users/new", false),
            ("/v2/sessions", false),
            ("/v2/organizations", false),
            ("/v2/users/1/links", false),
            ("/v2/idp_intents/1", false),
            ("/management/v1/users/human/_import", false),
            ("/management/v1/projects", false),
            ("/admin/v1/import", false),
            ("/oauth/v2/token", false),
            ("/oauth/v2/introspect", false),
            ("/ui/login/loginname", false),
            ("/scim/v2/1/Users", false),
            ("/scim/v2/1/Bulk", false),
        ] {
            assert_eq!(is_read(Class::Rest, &Method::POST, path, &reads), expected, "{path}");
        }
        for (path, expected) in [
            ("/zitadel.admin.v1.AdminService/IsOrgUnique", true),
            ("/zitadel.management.v1.ManagementService/IsUserUnique", true),
            ("/grpc.health.v1.Health/Check", true),
            ("/grpc.health.v1.Health/Watch", false),
            ("/zitadel.user.v2.UserService/RetrieveIdentityProviderIntent", false),
            ("/zitadel.admin.v1.AdminService/ExportData", false),
            ("/zitadel.session.v2.SessionService/CreateSession", false),
            ("/zitadel.session.v2.SessionService/SetSession", false),
        ] {
            assert_eq!(is_read(Class::Grpc, &Method::POST, path, &reads), expected, "{path}");
        }
    }
    #[test]
    fn steps_of_a_login_that_bring_a_code_are_no_reads_and_what_only_shows_is_one() {
        let plan = retry();
        for (path, expected) in [
            ("/idps/callback", false),
            ("/idps/230112/saml/acs", false),
            ("/idps/230112/saml/metadata", true),
            ("/ui/login/login/externalidp/callback", false),
            ("/ui/login/login/externalidp/saml/acs", false),
            ("/ui/login/login/jwt/callback", false),
            ("/ui/login/register/externalidp/callback", false),
            ("/ui/login/mail/verification", false),
            ("/ui/login/password/reset", false),
            ("/ui/login/user/init", false),
            ("/ui/login/mfa/otp/verify", false),
            ("/ui/login/loginname", true),
            ("/ui/login/resources/themes/zitadel/css/zitadel.css", true),
            ("/oauth/v2/authorize", false),
            ("/oauth/v2/authorize/callback", false),
            ("/oauth/v2/keys", true),
            ("/oidc/v1/end_session", false),
            ("/oidc/v1/userinfo", true),
            ("/saml/v2/SSO", false),
            ("/saml/v2/metadata", true),
            ("/.well-known/openid-configuration", true),
            ("/ui/v2/login/login", false),
            ("/ui/v2/login/idp/google/success", false),
            ("/ui/v2/login/loginname", true),
            ("/ui/console/main.js", true),
            ("/device", true),
            ("/v2/users/1", true),
        ] {
            for class in [Class::Page, Class::Rest] {
                assert_eq!(is_read(class, &Method::GET, path, &plan), expected, "{path}");
            }
        }
    }
}
