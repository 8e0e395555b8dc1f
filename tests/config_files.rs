//! The configuration as a user meets it: ready files, generated documents, faults, precedence.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ravelin::config::{self, Files, Overrides, Source, explain, reference};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).expect(path)
}

/// The program with these arguments and nothing of the tester's own environment.
fn ravelin(arguments: &[&str], variables: &[(&str, &str)], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ravelin"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    assert_eq!(read("config/ravelin.schema.json"), reference::json());
}

#[test]
fn the_committed_reference_is_the_generated_one() {
    assert_eq!(read("docs/configuration.md"), reference::markdown());
}

#[test]
fn ready_configurations_load_and_name_the_schema() {
    for name in ["edge", "sidecar", "dev"] {
        let path = format!("config/{name}.yaml");
        let first = "# yaml-language-server: $schema=./ravelin.schema.json\n";
        assert!(read(&path).starts_with(first), "{path}");
        let source =
            Source { file: Some(repository().join(&path)), overrides: Overrides::default() };
        config::load_with(source, Files::Ignored).unwrap();
    }
}

#[test]
fn the_readme_s_configuration_loads() {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("```yaml\n").unwrap();
    let (yaml, _) = rest.split_once("```").unwrap();
    let plan = config::load_str("README", yaml, &Overrides::default(), Files::Ignored);
    let plan = plan.unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!((plan.listeners.len(), plan.routes.len(), plan.clusters.len()), (2, 2, 2));
}

#[test]
fn what_is_explained_loads_to_the_same() {
    let ready = ["config/edge.yaml", "config/sidecar.yaml", "config/dev.yaml"];
    for path in ready.into_iter().chain(["tests/config/everything.yaml"]) {
        let load = |text: &str| {
            config::load_str(path, text, &Overrides::default(), Files::Ignored).unwrap()
        };
        let explained = explain::yaml(&load(&read(path)));
        assert_eq!(explain::yaml(&load(&explained)), explained);
    }
}

/// Each `bad/*.yaml` has its exact messages beside it; `RAVELIN_BLESS=1` writes them anew.
#[test]
fn bad_files_have_exactly_these_faults() {
    let folder = repository().join("tests/config/bad");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        count += 1;
        let name = path.file_name().unwrap().to_str().unwrap();
        let output = ravelin(&["check", "--config", name], &[], &folder);
        assert_eq!(output.status.code(), Some(64), "{name}: {}", stdout(&output));
        let expected = path.with_extension("expected");
        if std::env::var_os("RAVELIN_BLESS").is_some() {
            std::fs::write(&expected, &output.stderr).unwrap();
        }
        assert_eq!(stderr(&output), std::fs::read_to_string(&expected).unwrap(), "{name}");
    }
    assert!(count >= 20, "only {count}");
}

#[test]
fn flags_stand_before_variables_and_variables_before_the_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("ravelin.yaml"),
        "upstream: h2c://file:1\nworkers: 1\nshutdown: {grace: 1s, delay: 1s}\n",
    )
    .unwrap();
    let variables = [("RAVELIN_WORKERS", "2"), ("RAVELIN_GRACE", "2s"), ("RAVELIN_DOMAIN", "")];
    let output = ravelin(&["check", "--explain", "--grace", "3s"], &variables, folder.path());
    let text = stdout(&output);
    assert!(text.contains("workers: 2\n"), "{text}");
    assert!(text.contains("h2c://file:1"), "{text}");
    assert!(text.contains("delay: \"1s\"\n  grace: \"3s\"\n"), "{text}");
}

#[test]
fn a_fault_of_a_flag_or_variable_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        ravelin(&["check", "--upstream", "ftp://x"], &[("RAVELIN_WORKERS", "x")], folder.path());
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(64));
    assert!(
        text.contains("--upstream: upstream: found \"ftp://x\", expected an address"),
        "{text}"
    );
    assert!(text.contains("RAVELIN_WORKERS: workers: found \"x\", expected a whole"), "{text}");
}

#[test]
fn a_sidecar_needs_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["check", "--upstream", "h2c://127.0.0.1:8080", "--domain", "id.example.com"];
    let output = ravelin(&arguments, &[], folder.path());
    assert_eq!(stdout(&output), "configuration: ok (1 listener, 1 route, 1 cluster)\n");
}

#[test]
fn a_relative_path_is_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("etc");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(below.join("tls.pem"), "").unwrap();
    let text = "upstream: h2c://z\ncertificate: {cert: tls.pem, key: tls.pem}\n";
    std::fs::write(below.join("r.yaml"), text).unwrap();
    let output = ravelin(&["check", "-c", "etc/r.yaml"], &[], folder.path());
    assert_eq!(stdout(&output), "etc/r.yaml: ok (1 listener, 1 route, 1 cluster)\n");
}

#[test]
fn explain_shows_no_secret() {
    let text = "clusters: {c: {endpoints: 'h2c://z'}}\nroutes: [{to: c, request_headers: {set: {authorization: Bearer hunter2, x-api-key: hunter2, x-open: shown}}, match: {headers: {cookie: hunter2}}}]\n";
    let plan = config::load_str("t", text, &Overrides::default(), Files::Ignored).unwrap();
    let explained = explain::yaml(&plan);
    assert!(!explained.contains("hunter2"), "{explained}");
    assert!(explained.contains("x-open: shown"), "{explained}");
}

/// The schema documents the defaults, the plans' `Default` are the defaults: they must agree.
#[test]
fn documented_defaults_are_the_defaults() {
    let schema = ravelin::config::schema::json_schema();
    let defaults = |name: &str| {
        let keys = schema.pointer(&format!("/$defs/{name}/properties")).unwrap();
        let keys = keys.as_object().unwrap().iter();
        let keys = keys.filter_map(|(key, rule)| Some(format!("{key}: {}", rule.get("default")?)));
        format!("{{{}}}", keys.collect::<Vec<_>>().join(", "))
    };
    let short = "listeners: [{address: 1}]\nclusters: {c: {endpoints: 'h2c://z'}}\nroutes: [{match: {path: /x}, to: c, preflight: {}}, {match: {path: /r}, redirect: {to: /}}, {respond: {}}]\n";
    let long = format!(
        "listeners: [{{address: 1, limits: {}}}]\nclusters: {{c: {}}}\nroutes: [{{match: {{path: /x}}, to: c, grpc_web: pass, preflight: {}}}, {{match: {{path: /r}}, redirect: {}}}, {{respond: {}}}]\ntimeouts: {}\nadmin: {}\naccess_log: {}\nshutdown: {}\n",
        defaults("Limits"),
        defaults("Cluster").replacen('{', "{endpoints: 'h2c://z', ", 1),
        defaults("Preflight"),
        defaults("Redirect").replacen('{', "{to: /, ", 1),
        defaults("Respond"),
        defaults("Timeouts"),
        defaults("AdminForm"),
        defaults("AccessLog"),
        defaults("Shutdown"),
    );
    let explained = |text: &str| {
        let plan = config::load_str("t", text, &Overrides::default(), Files::Ignored).unwrap();
        explain::yaml(&plan)
    };
    assert_eq!(explained(short), explained(&long));
}

#[test]
fn wrong_usage_exits_with_64_and_help_with_0() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(ravelin(&["--bogus"], &[], folder.path()).status.code(), Some(64));
    assert_eq!(ravelin(&["completions", "tcsh"], &[], folder.path()).status.code(), Some(64));
    assert_eq!(ravelin(&["--help"], &[], folder.path()).status.code(), Some(0));
    assert_eq!(ravelin(&["--version"], &[], folder.path()).status.code(), Some(0));
    let missing = ravelin(&["check", "-c", "none.yaml"], &[], folder.path());
    assert_eq!(missing.status.code(), Some(64));
    assert_eq!(
        stderr(&missing),
        "none.yaml: found there is none, expected a readable YAML file in UTF-8\n"
    );
}

#[test]
fn every_shell_gets_completions() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = ravelin(&["completions", shell], &[], folder.path());
        assert!(output.status.success() && stdout(&output).contains("upstream"), "{shell}");
    }
}

#[test]
fn health_without_a_server_is_1() {
    let folder = tempfile::tempdir().unwrap();
    // Port 1 of loopback: nothing listens there without privileges.
    let output = ravelin(&["health", "--admin", "127.0.0.1:1"], &[], folder.path());
    assert_eq!(output.status.code(), Some(1));
    let output = ravelin(&["health", "--admin", "nowhere"], &[], folder.path());
    assert_eq!(output.status.code(), Some(64));
}
