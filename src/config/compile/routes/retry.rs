//! `retry`, of a route or of all: what is sent again.

use std::time::Duration;

use http::Method;

use crate::config::compile::item;
use crate::config::parse;
use crate::config::schema::retry::{Retry, RetryForm, RetryPolicy as PolicyText};
use crate::config::schema::text::{ClockText, DurationText, OneOrMany, ReadText};
use crate::config::scope::Scope;
use crate::pipeline::plan::{ReadPattern, RetryPlan, RetryPolicy};

/// What is written, over `default`. `scope` is what holds the key.
pub fn retry(written: Option<&Retry>, default: &RetryPlan, scope: &Scope<'_>) -> RetryPlan {
    let scope = scope.key("retry");
    match written {
        None => default.clone(),
        Some(Retry::Policy(word)) => with(RetryPlan { policy: policy(*word), ..default.clone() }),
        Some(Retry::Form(form)) => with(self::form(form, default, &scope)),
    }
}

/// What a policy leaves without meaning goes.
fn with(plan: RetryPlan) -> RetryPlan {
    match plan.policy {
        RetryPolicy::Reads => plan,
        RetryPolicy::Unsent => RetryPlan { hedge: None, ..plan },
        RetryPolicy::Never => RetryPlan { hedge: None, hold: Duration::ZERO, ..plan },
    }
}

fn form(form: &RetryForm, default: &RetryPlan, scope: &Scope<'_>) -> RetryPlan {
    let policy = form.policy.map_or(default.policy, policy);
    let hold = form
        .hold
        .as_ref()
        .and_then(|text| scope.key("hold").parsed(text, parse::clock(text), ClockText::EXPECTED));
    if policy == RetryPolicy::Never && hold.flatten().is_some() {
        scope.key("hold").fault("it where nothing is sent again", "policy \"unsent\" or \"reads\"");
    }
    let after = form.hedge.as_ref().and_then(|hedge| {
        let scope = scope.key("hedge").key("after");
        let text = hedge.after.as_ref()?;
        let after = parse::duration(text).filter(|after| !after.is_zero());
        scope.parsed(text, after, DurationText::EXPECTED)
    });
    if policy != RetryPolicy::Reads && form.hedge.is_some() {
        scope.key("hedge").fault("it where reads are not sent again", "policy \"reads\"");
    }
    RetryPlan {
        policy,
        reads: patterns(form.reads.as_ref(), &default.reads, &scope.key("reads")),
        writes: patterns(form.writes.as_ref(), &default.writes, &scope.key("writes")),
        hold: hold.map_or(default.hold, Option::unwrap_or_default),
        hedge: after.or(default.hedge),
    }
}

const fn policy(word: PolicyText) -> RetryPolicy {
    match word {
        PolicyText::Never => RetryPolicy::Never,
        PolicyText::Unsent => RetryPolicy::Unsent,
        PolicyText::Reads => RetryPolicy::Reads,
    }
}

/// Those that are there already, and what is written, each once.
fn patterns(
    written: Option<&OneOrMany<ReadText>>,
    default: &[ReadPattern],
    scope: &Scope<'_>,
) -> Vec<ReadPattern> {
    let mut patterns = default.to_vec();
    for (i, text) in written.iter().flat_map(|written| written.iter()) {
        let one = item(scope, i).parsed(text, read(text), ReadText::EXPECTED);
        patterns.extend(one.filter(|one| !patterns.contains(one)));
    }
    patterns
}

/// `package.Service/Method`, or `POST /path`.
pub fn read(text: &str) -> Option<ReadPattern> {
    if let Some((method, path)) = text.split_once(' ') {
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        let upper = method.as_str().bytes().all(|byte| byte.is_ascii_uppercase());
        let wild = path.matches("**").count();
        // One or more segments stand alone, between two slashes or at the end.
        let between = path.contains("/**/") || path.ends_with("/**");
        let alone = || between && path.matches('*').count() == 2;
        let sound = wild == 0 || (wild == 1 && alone());
        let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
        return (upper && sound && plain && path.starts_with('/'))
            .then(|| ReadPattern::Http { method, path: path.into() });
    }
    let pattern = parse::grpc(text)?;
    Some(ReadPattern::Rpc { service: pattern.service, name: pattern.method? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_rpc_methods_or_http_requests() {
        let rpc = |service: &str, name: &str| {
            Some(ReadPattern::Rpc { service: service.into(), name: name.into() })
        };
        let post = |path: &str| Some(ReadPattern::Http { method: Method::POST, path: path.into() });
        for (text, expected) in [
            ("acme.v1.Shop/Lookup", rpc("acme.v1.Shop", "Lookup")),
            ("POST /shop/*/_find", post("/shop/*/_find")),
            ("POST /shop/**/_find", post("/shop/**/_find")),
            ("POST /shop/**", post("/shop/**")),
            ("acme.v1.Shop", None),
            ("/shop", None),
            ("POST shop", None),
            ("post /shop", None),
            ("POST /shop?x=1", None),
            ("POST /a/**/b/**/c", None),
            ("POST /a/*/**/c", None),
            ("POST /a/x**", None),
            ("", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
