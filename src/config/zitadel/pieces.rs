//! The routes of an installation behind its guards: the login, the bare host, what has limits or
//! clocks of its own, and everything else (`zitadel.md` §1, §6).

use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, Uri};

use super::{Installation, exposure, kept, patterns};
use crate::pipeline::plan::{
    Action, ForwardPlan, IdentityPlan, Matcher, PathPattern, RedirectPlan, RespondPlan, RoutePlan,
    Timeouts,
};

/// Where the login application lives (`NEXT_PUBLIC_BASE_PATH`, `OIDC.DefaultLoginURLV2`).
pub const LOGIN: &str = "/ui/v2/login";

/// SAML metadata makes its keys when it is first asked for, which was seen to take 7 s.
const SAML_TIME: Duration = Duration::from_secs(30);

/// Every route behind the guards; the last takes everything of the installation's hosts.
pub fn routes(site: &Installation, clocks: Timeouts) -> Vec<RoutePlan> {
    let to_zitadel = || site.forward(clocks);
    let mut routes = vec![login(site, clocks), root(site)];
    if !site.login_hosts.is_empty() {
        let matcher = Matcher { hosts: patterns(&site.login_hosts), ..Matcher::default() };
        let mut forward = to_login(site, clocks);
        forward.hosts.clone_from(&site.login_hosts);
        // The login's host is not an instance's: that one is told beside it.
        if forward.identity.instance_host.is_none() {
            let host = site.hosts.iter().find_map(super::authority);
            forward.identity.instance_host = host.and_then(|host| HeaderValue::try_from(host).ok());
        }
        let action = Action::Forward(forward);
        routes.push(RoutePlan { name: site.piece("login-domain"), matcher, action });
    }
    let mut piece = |name: &str, path: PathPattern, forward: ForwardPlan| {
        let matcher = Matcher { hosts: site.host_patterns(), path, ..Matcher::default() };
        let action = Action::Forward(forward);
        routes.push(RoutePlan { name: site.piece(name), matcher, action });
    };
    // ZITADEL's own short address of the device flow (RFC 8628); a name, to lead it elsewhere.
    piece("device", PathPattern::Exact("/device".into()), to_zitadel());
    let mut assets = to_zitadel();
    assets.limits.body = site.limits.assets;
    assets.cache = kept::assets(site);
    piece("assets", prefix("/assets/v1"), assets);
    let mut scim = to_zitadel();
    scim.limits.body = site.limits.scim;
    piece("scim", prefix("/scim/v2"), scim);
    let mut saml = to_zitadel();
    saml.timeouts.first_byte = clocks.first_byte.map(|first_byte| first_byte.max(SAML_TIME));
    piece("saml", prefix("/saml/v2"), saml);
    if site.guards.import_export.is_empty() {
        routes.extend(exposure::transfers(site, &[], clocks));
    }
    let matcher = Matcher { hosts: site.host_patterns(), ..Matcher::default() };
    let forward = ForwardPlan { cache: kept::files(site), ..to_zitadel() };
    let action = Action::Forward(forward);
    routes.push(RoutePlan { name: site.name.clone(), matcher, action });
    routes
}

fn prefix(path: &str) -> PathPattern {
    PathPattern::Prefix(path.into())
}

/// The login application, with a slash at its end and without (#10526); or a page that says what
/// is missing, where ZITADEL would answer `{"code":5,"message":"Not Found"}`.
fn login(site: &Installation, clocks: Timeouts) -> RoutePlan {
    let matcher =
        Matcher { hosts: site.host_patterns(), path: prefix(LOGIN), ..Matcher::default() };
    let action = if site.login.is_empty() {
        Action::Respond(RespondPlan {
            status: StatusCode::SERVICE_UNAVAILABLE,
            content_type: HeaderValue::from_static("text/html; charset=utf-8"),
            body: include_str!("login_missing.html").into(),
        })
    } else {
        Action::Forward(to_login(site, clocks))
    };
    RoutePlan { name: site.piece("login"), matcher, action }
}

/// To the login application; the instance's and the public host are told it by Ravelin (#11163).
fn to_login(site: &Installation, clocks: Timeouts) -> ForwardPlan {
    let mut forward = site.forward(clocks);
    forward.cluster = site.piece("login");
    forward.cache = kept::login(site);
    forward.identity = IdentityPlan { login: true, ..forward.identity };
    // Its pages are full of secrets, and Next.js codes its files itself.
    forward.compress = None;
    // Nor is it limited by what ZITADEL limits: its own calls are.
    forward.quota = None;
    forward
}

/// Whoever types the bare host wants the Console, which signs in with the login that the instance
/// uses; ZITADEL itself sends them to login v1, also where login v2 is required.
fn root(site: &Installation) -> RoutePlan {
    let matcher = Matcher {
        hosts: site.host_patterns(),
        path: PathPattern::Exact("/".into()),
        methods: vec![Method::GET, Method::HEAD],
        ..Matcher::default()
    };
    let to = Uri::from_static("/ui/console/");
    let action = Action::Redirect(RedirectPlan { status: StatusCode::FOUND, to, keep_path: false });
    RoutePlan { name: site.piece("root"), matcher, action }
}
