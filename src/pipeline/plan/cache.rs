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
    /// Where a single-page application lies (decoded): its generations are learned and kept.
    pub app: Option<Box<str>>,
    /// Whether nothing behind these addresses is written through them: what is kept then outlives an
    /// unsafe method that upstream did not refuse (RFC 9111 §4.4). File servers answer a POST as if it
    /// were a GET, and anybody could empty the cache with it.
    pub read_only: bool,
    /// Whether ZITADEL's keys and its discovery are kept for the time that upstream fails, whatever
    /// the paths.
    pub shield: bool,
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
            app: None,
            read_only: false,
            shield: false,
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

    /// Whether a path (decoded) belongs to the application.
    pub fn in_app(&self, path: &str) -> bool {
        self.app.as_ref().is_some_and(|app| rest_after(app, path).is_some())
    }

    /// Whether an unsafe method at a path (decoded) may make untrue what is kept of it. The files of an
    /// application are built, never written.
    pub fn is_written(&self, path: &str) -> bool {
        !self.read_only && !self.in_app(path)
    }
}

/// The store that all routes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePlan {
    /// Bytes of everything that is kept: bodies, their coded variants, heads.
    pub memory: u64,
    /// For how long the files of an application's previous generations are kept; `None`:
    /// generations are not told apart, and nothing is asked for ahead.
    pub generations: Option<Duration>,
    /// Whether an application's index comes with hints of what it loads (RFC 8297).
    pub early_hints: bool,
    /// Where the best variants outlive the process.
    pub directory: Option<PathBuf>,
}

impl StorePlan {
    /// A day: a tab that was opened in the morning still finds its lazy chunks in the evening.
    pub const GENERATIONS: Duration = Duration::from_secs(86_400);

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
        let generations = Some(Self::GENERATIONS);
        Self { memory: Self::MEMORY, directory: None, generations, early_hints: true }
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

    #[test]
    fn files_are_not_written_through_their_addresses() {
        let app = CachePlan { app: Some("/app".into()), ..CachePlan::default() };
        assert!(!app.is_written("/app/main.js") && app.is_written("/api/users"));
        let files = CachePlan { read_only: true, ..CachePlan::default() };
        assert!(!files.is_written("/api/users"));
    }
}
