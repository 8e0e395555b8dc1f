//! `cache`: the store, and what routes keep in it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, access};

use crate::config::compile::item;
use crate::config::parse;
use crate::config::schema::cache::{CacheStore, RouteCache};
use crate::config::schema::text::{
    ClockText, DurationText, FileText, OneOrMany, PathText, SizeText,
};
use crate::config::scope::{self, Scope};
use crate::pipeline::path::decode;
use crate::pipeline::plan::{CachePlan, StorePlan};

/// The least memory: room for something.
const LEAST: u64 = 1 << 20;

/// The store.
pub fn store(written: Option<&CacheStore>, scope: &Scope<'_>) -> StorePlan {
    let default = StorePlan::default();
    let Some(written) = written else { return default };
    let memory = written.memory.as_ref().and_then(|text| {
        let scope = scope.key("memory");
        let memory = scope.parsed(text, parse::size(text), SizeText::EXPECTED);
        if memory.is_some_and(|memory| memory < LEAST) {
            scope.bad(text, "a size of 1MiB or more");
        }
        memory
    });
    let directory = written.directory.as_ref().map(|text| folder(text, &scope.key("directory")));
    StorePlan {
        memory: memory.unwrap_or(default.memory),
        generations: match written.generations.as_ref() {
            None => default.generations,
            Some(text) => {
                let seen = parse::clock(text);
                scope.key("generations").parsed(text, seen, ClockText::EXPECTED).unwrap_or_default()
            }
        },
        early_hints: written.early_hints.unwrap_or(default.early_hints),
        directory,
    }
}

/// A folder that can be read from, or made when it is needed.
fn folder(text: &FileText, scope: &Scope<'_>) -> PathBuf {
    let path = scope.resolve(text);
    if text.is_empty() {
        scope.fault("an empty path", "the path of a folder");
    } else if scope.looks()
        && let Err(why) = usable(&path)
    {
        scope.bad(text, format!("a folder to read from ({}: {why})", path.display()));
    }
    path
}

/// Whether a folder is there and readable, or could be made: nothing is made before it is needed.
fn usable(path: &Path) -> Result<(), String> {
    match std::fs::read_dir(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Err("it is no folder".to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // Above the root there is nothing to make it in.
            let above = path.parent().ok_or("it cannot be made")?;
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            match std::fs::metadata(above) {
                Ok(facts) if facts.is_dir() => access(above, Access::WRITE_OK).map_err(|error| {
                    format!("it cannot be made: {}", scope::reason(&error.into()))
                }),
                Ok(_) => Err(format!("{} is no folder", above.display())),
                Err(_) => usable(above),
            }
        }
        Err(error) => Err(scope::reason(&error)),
    }
}

/// What a route keeps; `base` is what holds where nothing is written.
pub fn route(
    written: Option<&RouteCache>,
    base: Option<Arc<CachePlan>>,
    scope: &Scope<'_>,
) -> Option<Arc<CachePlan>> {
    let written = match written {
        None => return base,
        Some(RouteCache::Switch(false)) => return None,
        Some(RouteCache::Switch(true)) => return Some(base.unwrap_or_default()),
        Some(RouteCache::Form(form)) => form,
    };
    let base = base.as_deref().cloned().unwrap_or_default();
    let list = |written: &Option<OneOrMany<PathText>>, base, key: &str| match written {
        None => base,
        Some(written) => paths(written, &scope.key(key)),
    };
    let stale = written.stale_if_error.as_ref().and_then(|text| {
        let scope = scope.key("stale_if_error");
        scope.parsed(text, parse::duration(text), DurationText::EXPECTED)
    });
    Some(Arc::new(CachePlan {
        paths: list(&written.paths, base.paths, "paths"),
        except: list(&written.except, base.except, "except"),
        with_cookies: written.with_cookies.unwrap_or(base.with_cookies),
        api: written.api.unwrap_or(base.api),
        errors: written.errors.unwrap_or(base.errors),
        app: match &written.app {
            None => base.app,
            Some(text) => {
                let seen = parse::path(text).and_then(decode::pattern);
                scope.key("app").parsed(text, seen, PathText::EXPECTED)
            }
        },
        shield: written.shield.unwrap_or(base.shield),
        read_only: base.read_only,
        heuristic: written.heuristic.unwrap_or(base.heuristic),
        stale_if_error: stale.unwrap_or(base.stale_if_error),
    }))
}

fn paths(written: &OneOrMany<PathText>, scope: &Scope<'_>) -> Vec<Box<str>> {
    if matches!(written, OneOrMany::Many(list) if list.is_empty()) {
        scope.fault("an empty list", "at least one path, or not the key at all");
    }
    let path = |(i, text): (Option<usize>, &PathText)| {
        let seen = parse::path(text).and_then(decode::pattern);
        item(scope, i).parsed(text, seen, PathText::EXPECTED)
    };
    written.iter().filter_map(path).collect()
}
