//! What the shared cache is told: for one route, and for all of them together.

use std::path::PathBuf;
use std::time::Duration;

use crate::pipeline::path::rest_after;

/// What may be kept of a route's answers. What an answer says of itself comes on top; nothing here
/// lifts what is never kept (`cache::never`), except what `api` and `cookies` name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePlan {
    /// Paths (decoded) that this is about, and everything below them; empty: the whole route.
    pub paths: Vec<Box<str>>,
    /// Paths below those that are left out.
    pub except: Vec<Box<str>>,
    /// Whether requests that carry a `Cookie` are answered from the cache and may fill it: for
    /// static files, which do not depend on it. Otherwise they pass by.
    pub with_cookies: bool,
    /// Whether ZITADEL's API paths may be kept too, where the answer says for how long.
    pub api: bool,
    /// Whether answers of status 400 and above are kept, where they say for how long.
    pub errors: bool,
    /// Whether an age is guessed from `Last-Modified` (RFC 9111 §4.2.2) where an answer says nothing.
    pub heuristic: bool,
    /// For how long a stale answer may be served while upstream fails, where the answer does not
    /// say so itself and does not forbid it. Zero: not at all.
    pub stale_if_error: Duration,
}

impl Default for CachePlan {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            except: Vec::new(),
            with_cookies: false,
            api: false,
            errors: true,
            heuristic: false,
            stale_if_error: Duration::ZERO,
        }
    }
}

impl CachePlan {
    /// Whether a path (decoded) is one of those that this is about.
    pub fn covers(&self, path: &str) -> bool {
        let in_one =
            |paths: &[Box<str>]| paths.iter().any(|prefix| rest_after(prefix, path).is_some());
        (self.paths.is_empty() || in_one(&self.paths)) && !in_one(&self.except)
    }
}

/// The store that all routes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePlan {
    /// Bytes of everything that is kept: bodies, their coded variants, heads.
    pub memory: u64,
    /// Where the best variants outlive the process.
    pub directory: Option<PathBuf>,
}

impl StorePlan {
    /// What fits a sidecar.
    pub const MEMORY: u64 = 64 << 20;

    /// The largest body that is kept, in bytes: a quarter of the memory, so that ZITADEL's
    /// `main.js` of 9 MB fits the default. What is larger is streamed past.
    pub const fn largest(&self) -> u64 {
        self.memory / 4
    }
}

impl Default for StorePlan {
    fn default() -> Self {
        Self { memory: Self::MEMORY, directory: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_covered_by_what_is_named_and_not_left_out() {
        let plan = CachePlan {
            paths: vec!["/ui/console".into(), "/assets/v1".into()],
            except: vec!["/assets/v1/users".into()],
            ..CachePlan::default()
        };
        for (path, covered) in [
            ("/ui/console", true),
            ("/ui/console/main.js", true),
            ("/ui/consoles", false),
            ("/assets/v1/1/logo", true),
            ("/assets/v1/users/me/avatar", false),
            ("/", false),
        ] {
            assert_eq!(plan.covers(path), covered, "{path}");
        }
        assert!(CachePlan::default().covers("/anything"));
    }
}
