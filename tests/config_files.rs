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
fn the_readme_s_configurations_load() {
    let readme = read("README.md");
    let loaded = readme.split("```yaml\n").skip(1).map(|rest| {
        let (yaml, _) = rest.split_once("```").unwrap();
        let plan = config::load_str("README", yaml, &Overrides::default(), Files::Ignored);
        let plan = plan.unwrap_or_else(|faults| panic!("{faults}"));
        (plan.listeners.len(), plan.zitadel.len(), plan.clusters.len())
    });
    assert_eq!(loaded.collect::<Vec<_>>(), [(1, 1, 2), (2, 0, 2), (1, 1, 1)]);
}

/// A row of docs/zitadel.md that names a test that does not exist would cure nothing.
#[test]
fn the_tests_that_the_documentation_names_exist() {
    let tests: String = std::fs::read_dir(repository().join("tests/it"))
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
        .chain([read("tests/config_files.rs")])
        .collect();
    let docs = read("docs/zitadel.md");
    let (_, table) = docs.split_once("## Troubles").unwrap();
    let words = table.split('`').filter(|word| word.matches('_').count() > 3);
    let mut count = 0;
    for name in words.filter(|word| {
        word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    }) {
        count += 1;
        assert!(tests.contains(&format!("fn {name}()")), "{name}");
    }
    assert!(count > 10, "only {count}");
}

#[test]
fn what_is_explained_loads_to_the_same() {
    let ready = ["config/edge.yaml", "config/sidecar.yaml", "config/dev.yaml"];
    for path in
        ready.into_iter().chain(["tests/config/everything.yaml", "tests/config/zitadel.yaml"])
    {
        let load = |text: &str| {
            config::load_str(path, text, &Overrides::default(), Files::Ignored).unwrap()
        };
        let explained = explain::yaml(&load(&read(path)));
        assert_eq!(explain::yaml(&load(&explained)), explained);
        // What is left out comes again by itself.
        let concise = explain::concise(&load(&explained));
        assert_eq!(explain::yaml(&load(&concise)), explained, "{concise}");
        assert_eq!(explain::concise(&load(&concise)), concise);
        assert!(concise.lines().count() <= explained.lines().count(), "{concise}");
    }
}

#[test]
fn a_cluster_in_the_place_of_zitadels_has_from_it_what_it_does_not_say_itself() {
    let load = |clusters: &str| {
        let yaml = format!(
            "zitadel: {{upstream: \"h2c://a:1\", domain: id.test, tls_mode: disabled, hash: client, \
             max_in_flight: 7, max_pending: 9, resolver: \"192.0.2.1:53\"}}\nclusters: {{{clusters}}}\n"
        );
        let plan = config::load_str("test", &yaml, &Overrides::default(), Files::Ignored);
        let plan = plan.unwrap_or_else(|faults| panic!("{faults}"));
        let found = plan.clusters.iter().find(|cluster| &*cluster.name == "zitadel").cloned();
        (plan.clusters.len(), found.unwrap())
    };
    let (_, preset) = load("");
    assert!(preset.health.is_some() && preset.hash.is_some() && preset.resolver.is_some());
    assert_eq!((preset.caps.in_flight, preset.caps.pending), (Some(7), 9));
    let (count, own) = load("zitadel: {endpoints: [\"h2c://b:1\", \"h2c://c:1\"], idle: 5s}");
    assert_eq!((count, own.endpoints.len(), own.idle.as_secs()), (1, 2, 5));
    assert_eq!((&own.health, &own.hash), (&preset.health, &preset.hash));
    assert_eq!((own.resolver, own.caps), (preset.resolver, preset.caps));
    let (_, own) = load("zitadel: {endpoints: \"h2c://b:1\", health: \"off\", max_in_flight: 3}");
    assert_eq!((&own.health, own.caps.in_flight, own.caps.pending), (&None, Some(3), 9));
    let (count, _) = load("other: {endpoints: \"h2c://b:1\"}");
    assert_eq!(count, 2);
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

/// What `check --explain=full` says of a command line without a file.
fn explained(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [&["check", "--explain=full"], arguments].concat();
    let output = ravelin(&arguments, variables, folder.path());
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn a_zitadel_needs_no_file() {
    let flags = ["--zitadel", "h2c://z:8080", "--domain", "id.example.com:8443"];
    let text = explained(&flags, &[("RAVELIN_LOGIN", "http://login:3000")]);
    for line in [
        "      - \"id.example.com:8443\"\n    tls_mode: disabled\n    login:\n      - \"http://login:3000\"\n",
        "  # from zitadel:\n  #   - name: zitadel-login\n",
        "  # from zitadel:\n  #   zitadel-login:\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    // The same through variables alone.
    let variables = [
        ("RAVELIN_ZITADEL", "h2c://z:8080"),
        ("RAVELIN_DOMAIN", "id.example.com:8443"),
        ("RAVELIN_LOGIN", "http://login:3000"),
        ("RAVELIN_TLS_MODE", "disabled"),
    ];
    assert_eq!(explained(&[], &variables), text);
}

#[test]
fn what_is_explained_of_a_zitadel_is_a_screen_and_full_is_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--zitadel", "h2c://z:8080", "--domain", "id.example.com", "--workers", "2"];
    let explain = |how| {
        let output = ravelin(&[&["check", how][..], &flags].concat(), &[], folder.path());
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let concise = explain("--explain");
    assert!(concise.lines().count() <= 45, "{concise}");
    let squeezed: Vec<_> =
        concise.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "# zitadel-guard-debug /debug and below refused",
        "# zitadel-login /ui/v2/login and below answered with 503",
        "# zitadel-root GET, HEAD / 302 to /ui/console/",
        "# zitadel-device /device to zitadel",
        "# zitadel everything else to zitadel",
        "# zitadel h2c://z:8080",
    ] {
        assert!(squeezed.iter().any(|seen| seen == line), "{line} is not in\n{concise}");
    }
    // Whoever wonders about a default asks for it.
    for default in ["head_time:", "connect_timeout:", "grpc_message:", "access_log:"] {
        assert!(!concise.contains(default), "{default} is in\n{concise}");
        assert!(explain("--explain=full").contains(default), "{default}");
    }
    let output = ravelin(&["check", "--explain=more"], &[], folder.path());
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn a_domain_from_outside_is_the_zitadel_s_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let text = "zitadel: {upstream: h2c://z:1, domain: file.example}\n";
    std::fs::write(folder.path().join("ravelin.yaml"), text).unwrap();
    let output = ravelin(&["check", "--explain", "--domain", "flag.example"], &[], folder.path());
    let text = stdout(&output);
    assert!(text.contains("- flag.example\n") && !text.contains("file.example"), "{text}");
}

/// Every name of a route, in the order in which they are asked.
fn names(yaml: &str) -> Vec<String> {
    let plan = config::load_str("t", yaml, &Overrides::default(), Files::Ignored).unwrap();
    plan.routes.iter().map(|route| route.name.to_string()).collect()
}

#[test]
fn guards_come_before_routes_of_one_s_own_and_everything_else_behind() {
    let names = names(
        "zitadel: {upstream: h2c://z:1, domain: a.example, guards: {health: true, import_export: 10.0.0.0/8}}\nroutes: [{name: own, match: {path: /own}, respond: {}}]\n",
    );
    let own = names.iter().position(|name| name == "own").unwrap();
    let (before, behind) = names.split_at(own);
    assert!(before.iter().all(|name| {
        ["guard-", "health", "ready", "import", "export"]
            .iter()
            .any(|what| name.starts_with(&format!("zitadel-{what}")))
    }));
    // An exception counts before what it is one from.
    let at = |name: &str| before.iter().position(|known| known == name).unwrap();
    assert!(at("zitadel-ready") < at("zitadel-guard-debug"));
    assert!(at("zitadel-import-grpc") < at("zitadel-guard-import-grpc"));
    assert_eq!(behind.get(1).map(String::as_str), Some("zitadel-login"));
    assert_eq!(behind.last().map(String::as_str), Some("zitadel"));
}

#[test]
fn what_a_zitadel_needs_is_in_the_plan_of_each_of_its_routes() {
    use ravelin::pipeline::plan::{Action, RatePlan};
    let text = "zitadel: {upstream: h2c://z:1, domain: [a.example, 'b.example:8443'], login: http://l:1, login_domain: l.example, limits: {rate: cloud}}\ncertificate: {cert: c, key: k}\nroutes: [{name: own, match: {host: a.example, path: /own}, to: zitadel}]\ntimeouts: {first_byte: 5s}\n";
    let plan = config::load_str("t", text, &Overrides::default(), Files::Ignored).unwrap();
    let forward = |name: &str| {
        let route = plan.routes.iter().find(|route| &*route.name == name).unwrap();
        let Action::Forward(forward) = &route.action else { panic!("{name} does not forward") };
        forward
    };
    for name in ["zitadel", "own", "zitadel-login", "zitadel-assets", "zitadel-import"] {
        let (hosts, identity) = (&forward(name).hosts, &forward(name).identity);
        assert_eq!(
            hosts.iter().map(|h| (h.port, h.shows_port)).collect::<Vec<_>>(),
            [(443, false), (8443, true)]
        );
        assert!(identity.zitadel && identity.login == (name == "zitadel-login"), "{name}");
    }
    let elsewhere = forward("zitadel-login-domain");
    assert_eq!((elsewhere.hosts.len(), &*elsewhere.cluster), (1, "zitadel-login"));
    assert_eq!(elsewhere.identity.instance_host.as_ref().unwrap(), "a.example");
    let limits = |name: &str| &forward(name).limits;
    assert_eq!(
        (limits("zitadel-assets").body, limits("zitadel-scim").body),
        (Some(1 << 20), Some(1_000_000))
    );
    assert_eq!((limits("zitadel").body, limits("zitadel").grpc_message), (None, Some(4 << 20)));
    assert_eq!(limits("zitadel-import-grpc").grpc_message, None);
    for name in ["zitadel", "own", "zitadel-login", "zitadel-assets"] {
        assert_eq!(limits(name).rate, Some(RatePlan::ZitadelCloud), "{name}");
    }
    // Seconds that fit every other call would break these.
    let first_byte = |name: &str| forward(name).timeouts.first_byte.unwrap().as_secs();
    assert_eq!(
        (first_byte("zitadel"), first_byte("zitadel-saml"), first_byte("zitadel-export")),
        (5, 30, 1800)
    );
}

#[test]
fn a_relative_path_is_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("etc");
    std::fs::create_dir(&below).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pair = [made.cert.pem(), made.signing_key.serialize_pem()].concat();
    std::fs::write(below.join("tls.pem"), pair).unwrap();
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
    let short = "zitadel: {upstream: h2c://z, domain: d.example}\nlisteners: [{address: 1}]\nclusters: {c: {endpoints: 'h2c://z'}}\nroutes: [{match: {path: /x}, to: c, preflight: {}}, {match: {path: /r}, redirect: {to: /}}, {respond: {}}]\n";
    let long = format!(
        "zitadel: {{upstream: h2c://z, domain: d.example, guards: {}, limits: {}}}\nlisteners: [{{address: 1, limits: {}}}]\nclusters: {{c: {}}}\nroutes: [{{match: {{path: /x}}, to: c, grpc_web: pass, preflight: {}}}, {{match: {{path: /r}}, redirect: {}}}, {{respond: {}}}]\ntimeouts: {}\nadmin: {}\naccess_log: {}\nshutdown: {}\n",
        defaults("Guards"),
        defaults("SiteLimits"),
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
