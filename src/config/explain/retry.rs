//! What is sent again, as a file says it.

use serde_json::{Map, Value as Json, json};

use super::duration;
use crate::pipeline::plan::{ReadPattern, RetryPlan, RetryPolicy};

pub(super) fn retry(plan: &RetryPlan) -> Json {
    let policy = match plan.policy {
        RetryPolicy::Never => "never",
        RetryPolicy::Unsent => "unsent",
        RetryPolicy::Reads => "reads",
    };
    let mut out = Map::new();
    out.insert("policy".into(), json!(policy));
    let word = |pattern: &ReadPattern| match pattern {
        ReadPattern::Rpc { service, name } => format!("{service}/{name}"),
        ReadPattern::Http { method, path } => format!("{method} {path}"),
    };
    for (key, patterns) in [("reads", &plan.reads), ("writes", &plan.writes)] {
        if !patterns.is_empty() {
            out.insert(key.into(), patterns.iter().map(word).collect());
        }
    }
    let hold = if plan.hold.is_zero() { "off".to_owned() } else { duration(plan.hold) };
    out.insert("hold".into(), json!(hold));
    if let Some(after) = plan.hedge {
        out.insert("hedge".into(), json!({ "after": duration(after) }));
    }
    Json::Object(out)
}
