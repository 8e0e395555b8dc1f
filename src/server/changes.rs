//! What a new plan changes, in words: for the log's one line and for whoever asked for it.

use std::fmt;

use crate::config::plan::Plan;

/// Names of one kind that are listed; the rest is a number.
const LISTED: usize = 8;

/// The difference between the plan in force and the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// `route a added`, `listeners b and c changed`, ….
    pub changed: Vec<String>,
    /// Keys whose new value needs a new process; the old one stays in force.
    pub not_live: Vec<&'static str>,
}

impl Changes {
    /// What `next` changes. Where a key cannot change in a running process, `next` is given the
    /// value that is in force.
    pub fn between(now: &Plan, next: &mut Plan) -> Self {
        let mut not_live = Vec::new();
        let mut hold = |key, differs: bool| {
            if differs {
                not_live.push(key);
            }
        };
        hold("workers", now.workers != next.workers);
        hold("admin", now.admin != next.admin);
        hold("access_log", now.access != next.access);
        hold("upgrade", now.upgrade != next.upgrade);
        next.workers = now.workers;
        next.admin = now.admin;
        next.access = now.access.clone();
        next.upgrade = now.upgrade.clone();
        let mut changed = Vec::new();
        compare("listener", &named(&now.listeners), &named(&next.listeners), &mut changed);
        compare("route", &named(&now.routes), &named(&next.routes), &mut changed);
        compare("cluster", &named(&now.clusters), &named(&next.clusters), &mut changed);
        if now.shutdown != next.shutdown {
            changed.push("shutdown changed".to_owned());
        }
        if changed.is_empty() && format!("{now:?}") != format!("{next:?}") {
            changed.push("other settings changed".to_owned());
        }
        Self { changed, not_live }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.changed {
            [] => f.write_str("nothing changed")?,
            changed => f.write_str(&changed.join(", "))?,
        }
        if !self.not_live.is_empty() {
            write!(f, "; needs a restart: {}", self.not_live.join(", "))?;
        }
        Ok(())
    }
}

/// What has a name, and all that it says.
trait Named: fmt::Debug {
    fn name(&self) -> &str;
}

impl Named for crate::downstream::plan::ListenerPlan {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for crate::pipeline::plan::RoutePlan {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for crate::upstream::plan::ClusterPlan {
    fn name(&self) -> &str {
        &self.name
    }
}

/// Not every plan can be compared (a route has patterns), but each can be told in full.
fn named<T: Named>(plans: &[std::sync::Arc<T>]) -> Vec<(String, String)> {
    plans.iter().map(|plan| (plan.name().to_owned(), format!("{plan:?}"))).collect()
}

type Told = [(String, String)];

fn compare(kind: &str, now: &Told, next: &Told, changed: &mut Vec<String>) {
    let find = |told: &Told, name: &str| told.iter().position(|(known, _)| known == name);
    let missing = |from: &Told, there: &Told| -> Vec<String> {
        let names = there.iter().map(|(name, _)| name);
        names.filter(|name| find(from, name).is_none()).cloned().collect()
    };
    let other = next.iter().filter(|(name, text)| {
        find(now, name).and_then(|place| now.get(place)).is_some_and(|(_, before)| before != text)
    });
    let other: Vec<_> = other.map(|(name, _)| name.clone()).collect();
    for (names, what) in
        [(missing(now, next), "added"), (missing(next, now), "removed"), (other, "changed")]
    {
        if !names.is_empty() {
            changed.push(format!("{} {what}", listed(kind, &names)));
        }
    }
    let kept = |told: &Told, other: &Told| -> Vec<String> {
        told.iter()
            .map(|(name, _)| name)
            .filter(|name| find(other, name).is_some())
            .cloned()
            .collect()
    };
    if kept(now, next) != kept(next, now) {
        changed.push(format!("{kind}s in another order"));
    }
}

/// `route a`, `routes a, b and 3 more`.
fn listed(kind: &str, names: &[String]) -> String {
    let plural = if names.len() > 1 { "s" } else { "" };
    let shown: Vec<_> = names.iter().take(LISTED).map(String::as_str).collect();
    let more = names.len() - shown.len();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{kind}{plural} {}{rest}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Files, Overrides};

    fn plan(yaml: &str) -> Plan {
        config::load_str("test", yaml, &Overrides::default(), Files::Ignored).unwrap()
    }

    #[test]
    fn every_kind_of_change_is_named() {
        let before = "workers: 2\nlisten: \":8000\"\nroutes: [{name: a, to: up, match: {path: /a}}, {name: b, to: up, match: {path: /b}}]\n\
            clusters: {up: {endpoints: [\"h2c://a:1\"]}, old: {endpoints: [\"h2c://a:1\"]}}\n";
        for (from, to, told) in [
            ("", "", "nothing changed"),
            ("a, to: up", "a, to: old", "route a changed"),
            ("{name: a, to: up, match: {path: /a}}, ", "", "route a removed"),
            ("{name: a,", "{name: c, to: up, match: {path: /c}}, {name: a,", "route c added"),
            ("\"h2c://a:1\"]}}", "\"h2c://a:2\"]}}", "cluster old changed"),
            (", old: {endpoints: [\"h2c://a:1\"]}", "", "cluster old removed"),
            ("workers: 2", "workers: 3", "nothing changed; needs a restart: workers"),
            (
                "workers: 2",
                "admin: {address: \"127.0.0.1:1\"}\naccess_log: {format: text}\nshutdown: {grace: 1s}\nworkers: 2",
                "shutdown changed; needs a restart: admin, access_log",
            ),
            (
                "{name: a, to: up, match: {path: /a}}, {name: b, to: up, match: {path: /b}}",
                "{name: b, to: up, match: {path: /b}}, {name: a, to: up, match: {path: /a}}",
                "routes in another order",
            ),
        ] {
            let now = plan(before);
            let mut next = plan(&before.replacen(from, to, 1));
            let changes = Changes::between(&now, &mut next);
            assert_eq!(changes.to_string(), told);
            assert_eq!((next.workers, next.admin), (now.workers, now.admin), "{told}");
        }
    }

    #[test]
    fn many_names_are_counted() {
        let names: Vec<_> = (0..10).map(|number| number.to_string()).collect();
        assert_eq!(listed("route", &names), "routes 0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
        assert_eq!(listed("route", &names[..1]), "route 0");
    }
}
