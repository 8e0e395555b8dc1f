//! `limits` and `rate_limit`, of a route or of all: what a request may cost.

use crate::config::parse;
use crate::config::schema::text::{CapText, ClockText, RateText};
use crate::config::schema::{RateForm, RateLimit, RequestLimits};
use crate::config::scope::Scope;
use crate::pipeline::plan::{LimitsPlan, Rate, RatePlan};

/// ZITADEL Cloud's policy by name.
pub const ZITADEL_CLOUD: &str = "zitadel-cloud";

/// The limits written here, and `default` for what is not written. `scope` is what holds both keys.
pub fn limits(
    written: Option<&RequestLimits>,
    rate_limit: Option<&RateLimit>,
    default: &LimitsPlan,
    scope: &Scope<'_>,
) -> LimitsPlan {
    let below = scope.key("limits");
    let rate = match rate_limit {
        Some(written) => rate(written, &scope.key("rate_limit")),
        None => default.rate,
    };
    let Some(written) = written else { return LimitsPlan { rate, ..default.clone() } };
    let cap = |text: Option<&CapText>, key: &str, most: u64| {
        let text = text?;
        let scope = below.key(key);
        let bytes = scope.parsed(text, parse::cap(text), CapText::EXPECTED)?;
        if bytes.is_some_and(|bytes| bytes > most) {
            scope.bad(text, "a size below 4GiB");
        }
        Some(bytes)
    };
    let body = cap(written.body.as_ref(), "body", u64::MAX);
    let message = cap(written.grpc_message.as_ref(), "grpc_message", u32::MAX.into());
    let message = message.map(|bytes| bytes.and_then(|bytes| u32::try_from(bytes).ok()));
    let idle = written.body_idle.as_ref().and_then(|text| {
        below.key("body_idle").parsed(text, parse::clock(text), ClockText::EXPECTED)
    });
    LimitsPlan {
        body: body.unwrap_or(default.body),
        grpc_message: message.unwrap_or(default.grpc_message),
        body_idle: idle.unwrap_or(default.body_idle),
        rate,
    }
}

fn rate(written: &RateLimit, scope: &Scope<'_>) -> Option<RatePlan> {
    match written {
        RateLimit::Named(text) => {
            let plan = match &**text {
                "off" => Some(None),
                ZITADEL_CLOUD => Some(Some(RatePlan::ZitadelCloud)),
                _ => None,
            };
            scope.parsed(text, plan, RateText::EXPECTED).flatten()
        }
        RateLimit::Own(RateForm { per_minute, burst }) => {
            let per_minute = (*per_minute)?;
            // Ten seconds' worth: a page and what it loads.
            let burst = burst.unwrap_or(per_minute / 6).max(1);
            Some(RatePlan::Own(Rate { per_minute, burst }))
        }
    }
}
