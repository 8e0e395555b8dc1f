//! The files under `deploy/`: the configurations in them load, and whoever stops Ravelin waits for
//! longer than it drains.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use ravelin::config::plan::Plan;
use ravelin::config::{self, Files, Overrides};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

fn load(name: &str, yaml: &str) -> Plan {
    config::load_str(name, yaml, &Overrides::default(), Files::Ignored)
        .unwrap_or_else(|faults| panic!("{faults}"))
}

/// The configuration inside of a ConfigMap.
fn inside(manifest: &str) -> String {
    let (_, rest) = manifest.split_once("  ravelin.yaml: |\n").expect("a ConfigMap");
    let block = rest.lines().map_while(|line| line.strip_prefix("    "));
    block.map(|line| format!("{line}\n")).collect()
}

/// The number behind `key` where it first stands.
fn seconds(text: &str, key: &str) -> Duration {
    let (_, rest) = text.split_once(key).expect(key);
    let digits = rest.trim_start().chars().take_while(char::is_ascii_digit);
    Duration::from_secs(digits.collect::<String>().parse().unwrap())
}

fn drained_within(plan: &Plan, patience: Duration, whose: &str) {
    let needed = plan.shutdown.delay + plan.shutdown.grace;
    assert!(patience > needed, "{whose} waits {patience:?}, a drain takes {needed:?}");
}

#[test]
fn compose_s_configuration_loads_and_a_drain_is_not_cut() {
    let plan = load("compose", &read("deploy/compose/ravelin.yaml"));
    let patience = seconds(&read("deploy/compose/compose.yaml"), "stop_grace_period:");
    drained_within(&plan, patience, "compose");
}

#[test]
fn kubernetes_configurations_load_and_a_drain_is_not_cut() {
    for name in ["edge", "sidecar"] {
        let manifest = read(&format!("deploy/kubernetes/{name}.yaml"));
        let plan = load(name, &inside(&manifest));
        drained_within(&plan, seconds(&manifest, "terminationGracePeriodSeconds:"), name);
        // Probes come from outside of the pod.
        let admin = plan.admin.expect("an admin listener");
        assert!(admin.ip().is_unspecified() && manifest.contains(&format!("{}", admin.port())));
    }
}

#[test]
fn systemd_waits_for_the_drain_of_the_ready_configuration() {
    let plan = load("edge", &read("config/edge.yaml"));
    let unit = read("deploy/systemd/ravelin.service");
    drained_within(&plan, seconds(&unit, "TimeoutStopSec="), "systemd");
    assert!(unit.contains("Type=notify"));
}

#[test]
fn kubernetes_takes_zitadel_down_by_a_drain_that_has_the_time_for_it() {
    let manifest = read("deploy/kubernetes/sidecar.yaml");
    let plan = load("sidecar", &inside(&manifest));
    let (_, hook) = manifest.split_once("path: \"/drain?").expect("a preStop hook");
    let (query, rest) = hook.split_once('"').unwrap();
    let given = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name).expect(name).1
    };
    assert!(plan.clusters.iter().any(|cluster| *cluster.name == *given("cluster")));
    let drain: Duration = ["delay", "timeout"]
        .iter()
        .map(|name| humantime::parse_duration(given(name)).unwrap())
        .sum();
    let own = plan.shutdown.delay + plan.shutdown.grace;
    let patience = seconds(&manifest, "terminationGracePeriodSeconds:");
    assert!(patience > drain + own, "{patience:?} for {drain:?} and {own:?}");
    assert!(rest.contains(&format!("port: {}", plan.admin.unwrap().port())));
}

#[test]
fn a_changed_configmap_arrives() {
    for name in ["edge", "sidecar"] {
        let manifest = read(&format!("deploy/kubernetes/{name}.yaml"));
        assert!(
            !manifest.contains("subPath: ravelin.yaml"),
            "{name}: kubelet never renews a subPath"
        );
        assert!(
            manifest.contains("args: [run, --config, /etc/ravelin/config/ravelin.yaml]"),
            "{name}"
        );
        assert!(manifest.contains("mountPath: /etc/ravelin/config,"), "{name}");
    }
}

#[test]
fn systemd_s_sockets_are_those_of_the_ready_configuration() {
    let plan = load("edge", &read("config/edge.yaml"));
    let unit = read("deploy/systemd/ravelin.socket");
    let opened: Vec<_> =
        unit.lines().filter_map(|line| line.strip_prefix("ListenStream=")).collect();
    for listener in &plan.listeners {
        let ravelin::downstream::plan::Address::Tcp(address) = listener.address else { continue };
        assert!(opened.contains(&&*address.to_string()), "{address}");
    }
    assert_eq!(opened.len(), plan.listeners.len());
    assert!(unit.contains("Service=ravelin.service"));
}

#[test]
fn the_commands_in_unit_and_script_are_commands() {
    let service = read("deploy/systemd/ravelin.service");
    let script = read("deploy/compose/restart-zitadel.sh");
    let reload = service.lines().find_map(|line| line.strip_prefix("ExecReload=")).unwrap();
    let drain = script.lines().find(|line| line.contains("ravelin drain --")).unwrap();
    let drain = drain.split("exec ravelin ").nth(1).unwrap().trim_end_matches(" ||");
    for line in [reload, drain] {
        let outcome = ravelin::command::args::command().try_get_matches_from(line.split(' '));
        assert!(outcome.is_ok(), "{line}: {outcome:?}");
    }
    let compose = load("compose", &read("deploy/compose/ravelin.yaml"));
    assert!(compose.clusters.iter().any(|cluster| *cluster.name == *"zitadel"));
    let folder = "RuntimeDirectory=ravelin";
    assert!(service.contains(folder) && service.contains("=/run/ravelin/upgrade.sock"));
}
