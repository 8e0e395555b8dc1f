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
