//! What of ZITADEL is refused to everyone, and the exceptions: `/debug`, the system API, gRPC
//! reflection, experimental services, and on demand import and export.
//!
//! ZITADEL serves all of it on its one port; metrics, reflection and health without asking who
//! (`internal/api/api.go`, zitadel/zitadel#6664).

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::guards::{self, Guarding};
use super::{Installation, Opening};
use crate::config::parse;
use crate::pipeline::plan::{Action, ForwardPlan, Matcher, PathPattern, RoutePlan, Timeouts};

/// What can be opened of what [`guards`] refuses: the area, and a path (from a slash on) with
/// everything below it, or a gRPC service.
const OPENABLE: [(&str, &str); 10] = [
    ("debug", "/debug"),
    ("system", "/system/v1"),
    ("system", "zitadel.system.v1.SystemService"),
    ("reflection", "grpc.reflection.v1.ServerReflection"),
    ("reflection", "grpc.reflection.v1alpha.ServerReflection"),
    ("v3alpha", "/v3alpha"),
    ("v3alpha", "/resources/v3alpha"),
    ("v3alpha", "zitadel.resources.user.v3alpha.ZITADELUsers"),
    ("v3alpha", "zitadel.resources.userschema.v3alpha.ZITADELUserSchemas"),
    ("v3alpha", "zitadel.resources.debug_events.v3alpha.ZITADELDebugEvents"),
];

/// Import and export: the end of the route's name, and path or gRPC method.
const TRANSFERS: [(&str, &str); 4] = [
    ("import", "/admin/v1/import"),
    ("import-grpc", "zitadel.admin.v1.AdminService/ImportData"),
    ("export", "/admin/v1/export"),
    ("export-grpc", "zitadel.admin.v1.AdminService/ExportData"),
];

/// Import and export of a whole installation take as long as they take.
const TRANSFER_TIME: Duration = Duration::from_secs(1800);

/// Exceptions, then refusals.
pub fn guards(site: &Installation, clocks: Timeouts) -> Vec<RoutePlan> {
    let mut routes = Vec::new();
    if site.guards.health {
        for (name, path) in [("health", "/debug/healthz"), ("ready", "/debug/ready")] {
            let path = PathPattern::Exact(path.into());
            let matcher = Matcher { hosts: site.host_patterns(), path, ..Matcher::default() };
            let action = Action::Forward(site.forward(clocks));
            routes.push(RoutePlan { name: site.piece(name), matcher, action });
        }
    }
    for (i, opening) in site.guards.open.iter().enumerate() {
        routes.extend(opened(site, i, opening, clocks));
    }
    let guarding = Guarding { hosts: site.host_patterns(), ..Guarding::default() };
    for guard in guards::guards(&guarding) {
        let name = site.piece(&guard.name);
        routes.push(RoutePlan { name, matcher: guard.matcher, action: Action::Deny });
    }
    if !site.guards.import_export.is_empty() {
        routes.extend(transfers(site, &site.guards.import_export, clocks));
        for (end, what) in TRANSFERS {
            let name = site.piece(&format!("guard-{end}"));
            routes.push(RoutePlan { name, matcher: matcher(site, what), action: Action::Deny });
        }
    }
    routes
}

/// Whether a guard refuses this path.
pub fn is_guarded(path: &str) -> bool {
    let below = |what: &str| {
        path.strip_prefix(what).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    OPENABLE.iter().any(|(_, what)| match what.starts_with('/') {
        true => below(what),
        false => path.strip_prefix('/').is_some_and(|path| path.starts_with(what)),
    })
}

/// Import and export, without limits and with time; `clients` empty: for everyone.
pub(super) fn transfers(
    site: &Installation,
    clients: &[IpNet],
    clocks: Timeouts,
) -> Vec<RoutePlan> {
    let long = clocks.first_byte.map(|first_byte| first_byte.max(TRANSFER_TIME));
    let route = |(end, what): &(&str, &str)| {
        let mut forward = site.forward(Timeouts { first_byte: long, ..clocks });
        forward.limits.grpc_message = None;
        let matcher = Matcher { clients: clients.to_vec(), ..matcher(site, what) };
        RoutePlan { name: site.piece(end), matcher, action: Action::Forward(forward) }
    };
    TRANSFERS.iter().map(route).collect()
}

fn opened(site: &Installation, i: usize, opening: &Opening, clocks: Timeouts) -> Vec<RoutePlan> {
    let named = OPENABLE.iter().filter(|(area, _)| opening.names.contains(area));
    let wanted = named.map(|(_, what)| *what).chain(opening.paths.iter().map(|path| &**path));
    let route = |(j, what): (usize, &str)| {
        let name: Arc<str> = match j {
            0 => site.piece(&format!("open-{}", i + 1)),
            j => site.piece(&format!("open-{}-{}", i + 1, j + 1)),
        };
        let matcher = Matcher {
            listeners: opening.listeners.clone(),
            clients: opening.clients.clone(),
            ..matcher(site, what)
        };
        RoutePlan { name, matcher, action: Action::Forward(unhurried(site.forward(clocks))) }
    };
    wanted.enumerate().map(route).collect()
}

/// Reflection is a stream on which clients are silent for as long as they like.
fn unhurried(mut forward: ForwardPlan) -> ForwardPlan {
    forward.limits.body_idle = None;
    forward
}

fn matcher(site: &Installation, what: &str) -> Matcher {
    let hosts = site.host_patterns();
    if what.starts_with('/') {
        let path = PathPattern::Prefix(what.trim_end_matches('/').into());
        return Matcher { hosts, path, ..Matcher::default() };
    }
    Matcher { hosts, grpc: parse::grpc(what), ..Matcher::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_in_the_tables_is_one() {
        let all = OPENABLE.iter().map(|(_, what)| *what).chain(TRANSFERS.iter().map(|t| t.1));
        for what in all.filter(|what| !what.starts_with('/')) {
            // Else the guard would hold for everything or for nothing.
            assert!(parse::grpc(what).is_some(), "{what}");
        }
    }

    #[test]
    fn a_guarded_path_is_known_by_whole_segments() {
        for path in ["/debug", "/debug/metrics", "/system/v1/x", "/v3alpha/debug_events"] {
            assert!(is_guarded(path), "{path}");
        }
        for path in ["/debugger", "/system", "/admin/v1/healthz", "/"] {
            assert!(!is_guarded(path), "{path}");
        }
    }
}
