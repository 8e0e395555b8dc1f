//! What a route keeps, as it is written.

use serde_json::{Map, Value as Json, json};

use super::{duration, size};
use crate::pipeline::path::decode::encoded;
use crate::pipeline::plan::{CachePlan, StorePlan};

/// The store of all routes.
pub(super) fn store(plan: &StorePlan) -> Json {
    let mut out = Map::new();
    out.insert("memory".into(), json!(size(plan.memory)));
    if let Some(folder) = &plan.directory {
        out.insert("directory".into(), json!(folder.display().to_string()));
    }
    let generations = plan.generations.map_or_else(|| "off".to_owned(), duration);
    out.insert("generations".into(), json!(generations));
    out.insert("early_hints".into(), json!(plan.early_hints));
    Json::Object(out)
}

/// The settings of a route's cache.
pub(super) fn route(plan: &CachePlan) -> Json {
    let mut out = Map::new();
    for (key, paths) in [("paths", &plan.paths), ("except", &plan.except)] {
        if !paths.is_empty() {
            out.insert(key.into(), paths.iter().map(|path| encoded(path)).collect());
        }
    }
    for (key, value) in [
        ("with_cookies", plan.with_cookies),
        ("api", plan.api),
        ("errors", plan.errors),
        ("heuristic", plan.heuristic),
        ("shield", plan.shield),
    ] {
        out.insert(key.into(), json!(value));
    }
    if let Some(app) = &plan.app {
        out.insert("app".into(), json!(encoded(app)));
    }
    out.insert("stale_if_error".into(), json!(duration(plan.stale_if_error)));
    Json::Object(out)
}
