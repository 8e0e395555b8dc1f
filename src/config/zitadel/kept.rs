//! What of an installation's answers is kept in memory: files that are the same for everyone
//! (zitadel.md §3, §13.6). Its pages, APIs and `environment.json` are not.

use std::sync::Arc;

use super::Installation;
use crate::pipeline::plan::CachePlan;

/// Of ZITADEL itself: the Console, and the files of login v1; where it is wished, also what relying
/// parties need while ZITADEL restarts. After login the browser sends its cookies along with every one
/// of them, though none depends on them.
pub(super) fn files(site: &Installation) -> Option<Arc<CachePlan>> {
    let kept = plan(site, &["/ui/console", "/ui/login/resources"], &[], true)?;
    let (app, shield) = (Some("/ui/console".into()), site.shield);
    Some(Arc::new(CachePlan { app, shield, ..CachePlan::clone(&kept) }))
}

/// Of the login application: what Next.js names by its content.
pub(super) fn login(site: &Installation) -> Option<Arc<CachePlan>> {
    plan(site, &["/ui/v2/login/_next/static"], &[], true)
}

/// Of `/assets/v1`: what is public. The rest is served with the same public `Cache-Control`, but to
/// whoever is signed in (§3.4).
pub(super) fn assets(site: &Installation) -> Option<Arc<CachePlan>> {
    let except = ["/assets/v1/users", "/assets/v1/instance/policy", "/assets/v1/org/policy"];
    plan(site, &[], &except, false)
}

/// Nothing is written through these addresses: logos are uploaded below others (§3.4). A 404 is never
/// kept: during a rollout another replica may have the file (§3.8).
fn plan(
    site: &Installation,
    paths: &[&str],
    except: &[&str],
    with_cookies: bool,
) -> Option<Arc<CachePlan>> {
    let list = |paths: &[&str]| paths.iter().map(|path| Box::from(*path)).collect();
    site.cache.then(|| {
        Arc::new(CachePlan {
            paths: list(paths),
            except: list(except),
            with_cookies,
            errors: false,
            read_only: true,
            ..CachePlan::default()
        })
    })
}
