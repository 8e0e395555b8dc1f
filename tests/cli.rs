//! The program as its user meets it: started, told wrong things, asked, and stopped by signals.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ravelin::standin::{Options, Standin};

#[path = "support/program.rs"]
mod program;
#[path = "cli/check.rs"]
mod check;
#[path = "cli/warm.rs"]
mod warm;

use program::{PATIENCE, Running, command};

fn run(arguments: &[&str], folder: &Path) -> Output {
    command(folder).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn standin() -> Standin {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Standin::start(Options::default())).unwrap()
}

/// The first line of the answer.
fn get(address: SocketAddr, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

const ANYWHERE: [&str; 6] = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1"];

#[test]
fn flags_alone_make_a_sidecar() {
    let (standin, folder) = (standin(), tempfile::tempdir().unwrap());
    let upstream = format!("h2c://{}", standin.address());
    let mut command = command(folder.path());
    command.args(["--upstream", &upstream, "--domain", "localhost"]).args(ANYWHERE);
    let mut ravelin = Running::start(&mut command);
    let address = ravelin.address("127.0.0.1:0");
    assert_eq!(get(address, "localhost", "/healthz"), "HTTP/1.1 200 OK");
    assert_eq!(get(address, "other.test", "/healthz"), "HTTP/1.1 404 Not Found");
    let record = ravelin.says("\"path\":\"/healthz\"");
    assert!(record.contains("\"status\":200"), "{record}");
    ravelin.signal("-TERM");
    assert_eq!(ravelin.ended().code(), Some(0));
    let said = ravelin.said.concat();
    assert!(!said.contains('\x1b'), "no colours outside of a terminal");
}

#[test]
fn variables_alone_make_one_too() {
    let (standin, folder) = (standin(), tempfile::tempdir().unwrap());
    let mut command = command(folder.path());
    command.args(["run"]).envs([
        ("RAVELIN_UPSTREAM", format!("h2c://{}", standin.address()).as_str()),
        ("RAVELIN_LISTEN", "127.0.0.1:0"),
        ("RAVELIN_ADMIN", "off"),
        ("RAVELIN_WORKERS", "1"),
        ("RAVELIN_ACCESS_LOG", "text"),
        ("RAVELIN_DOMAIN", ""),
    ]);
    let mut ravelin = Running::start(&mut command);
    let address = ravelin.address("127.0.0.1:0");
    assert_eq!(get(address, "localhost", "/healthz"), "HTTP/1.1 200 OK");
    ravelin.says("\"GET localhost/healthz\" 200 ");
}

#[test]
fn a_file_is_found_by_its_flag_or_in_the_folder() {
    let (standin, folder) = (standin(), tempfile::tempdir().unwrap());
    let yaml = format!(
        "listeners: [{{name: main, address: \"127.0.0.1:0\"}}]\nupstream: h2c://{}\nadmin: \"off\"\nworkers: 1\n",
        standin.address()
    );
    std::fs::write(folder.path().join("ravelin.yaml"), &yaml).unwrap();
    std::fs::write(folder.path().join("other.yaml"), yaml.replace("main", "other")).unwrap();
    for (arguments, name) in [(&[][..], "main"), (&["-c", "other.yaml"], "other")] {
        let mut ravelin = Running::start(command(folder.path()).args(arguments));
        let address = ravelin.address(name);
        assert_eq!(get(address, "localhost", "/healthz"), "HTTP/1.1 200 OK");
    }
}

#[test]
fn three_faults_are_told_at_once_and_nothing_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let yaml =
        "upstream: h2c://127.0.0.1:8080\nlistners: []\ntimeouts:\n  first_byte: 10 parsecs\n";
    std::fs::write(folder.path().join("r.yaml"), yaml).unwrap();
    for arguments in [&["check"][..], &["run"], &[]] {
        let arguments = [arguments, &["-c", "r.yaml", "--workers", "many"]].concat();
        let output = run(&arguments, folder.path());
        assert_eq!(output.status.code(), Some(64));
        assert_eq!(text(&output.stdout), "");
        assert_eq!(
            text(&output.stderr),
            "--workers: workers: found \"many\", expected a whole number from 1 to 1024\n\
             r.yaml:2:1: listners: found an unknown key, expected one of zitadel, upstream, domain, listen, certificate, workers, listeners, routes, trusted_proxies, timeouts, limits, rate_limit, retry, clusters, cache, admin, access_log, shutdown, upgrade (did you mean \"listeners\"?)\n\
             r.yaml:4:15: timeouts.first_byte: found \"10 parsecs\", expected a duration such as 10s, 5m or \"off\"\n"
        );
    }
}

#[test]
fn a_taken_port_is_named_with_its_listener_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let yaml = format!(
        "listeners: [{{name: public, address: \"{address}\"}}]\nupstream: h2c://127.0.0.1:1\nadmin: \"off\"\n"
    );
    std::fs::write(folder.path().join("r.yaml"), yaml).unwrap();
    let output = run(&["-c", "r.yaml"], folder.path());
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    let expected = format!("ravelin: cannot start: listener public cannot listen on {address}: ");
    assert!(said.starts_with(&expected) && said.contains("in use"), "{said}");
    assert_eq!(said.lines().count(), 1);
    let flags = ["--upstream", "h2c://127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin", &address];
    let output = run(&flags, folder.path());
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&format!("admin listener {address}: ")) && said.contains("in use"));
}

#[test]
fn schema_and_completions_are_printed_whole_or_as_far_as_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let schema = run(&["schema"], folder.path()).stdout;
    let schema: serde_json::Value = serde_json::from_slice(&schema).unwrap();
    assert!(schema.pointer("/properties/listeners").is_some());
    assert!(text(&run(&["completions", "bash"], folder.path()).stdout).contains("--drain-delay"));
    // `ravelin schema | head -1`: no panic, no fault.
    let mut child = command(folder.path())
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn health_is_0_while_it_serves_and_1_once_it_drains() {
    let (standin, folder) = (standin(), tempfile::tempdir().unwrap());
    let upstream = format!("h2c://{}", standin.address());
    let mut command = command(folder.path());
    command.args(["--upstream", &upstream, "--drain-delay", "1m"]).args(ANYWHERE);
    let mut ravelin = Running::start(&mut command);
    let listener = ravelin.address("127.0.0.1:0");
    let admin = ravelin.address("\"admin\"").to_string();
    let health = || run(&["health", "--admin", &admin], folder.path());
    assert_eq!(health().status.code(), Some(0));
    let by_variable =
        self::command(folder.path()).arg("health").env("RAVELIN_ADMIN", &admin).status().unwrap();
    assert_eq!(by_variable.code(), Some(0));
    ravelin.signal("-TERM");
    ravelin.says("draining");
    let deadline = Instant::now() + PATIENCE;
    while health().status.code() != Some(1) {
        assert!(Instant::now() < deadline, "it stays ready");
    }
    assert!(text(&health().stderr).contains("503"));
    // Until load balancers have noticed it still serves.
    assert_eq!(get(listener, "localhost", "/healthz"), "HTTP/1.1 200 OK");
    // At once it would be the same signal, delivered twice.
    thread::sleep(Duration::from_millis(250));
    ravelin.signal("-TERM");
    assert_eq!(ravelin.ended().code(), Some(1), "a second signal does not wait");
    assert_eq!(health().status.code(), Some(1));
}

#[test]
fn what_is_no_address_cannot_be_purged_and_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    for (flag, value) in [
        ("--url", "nonsense"),
        ("--url", "/ui/console/"),
        ("--url", "ftp://id.example.com/x"),
        ("--host", "https://id.example.com/"),
    ] {
        // Before anybody is asked: there is nobody.
        let output = run(&["purge", flag, value, "--admin", "127.0.0.1:1"], folder.path());
        assert_eq!(output.status.code(), Some(64), "{value}");
        let said = text(&output.stderr);
        assert!(said.contains(value) && said.contains("id.example.com"), "{said}");
    }
}

#[test]
fn a_command_whose_file_names_another_admin_address_says_what_that_may_mean() {
    let (folder, free) = (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let yaml = format!("upstream: \"h2c://127.0.0.1:1\"\nadmin: \"{address}\"\n");
    std::fs::write(folder.path().join("r.yaml"), yaml).unwrap();
    for name in ["health", "reload", "undrain"] {
        let output = run(&[name, "-c", "r.yaml"], folder.path());
        assert_eq!(output.status.code(), Some(1), "{name}");
        let said = text(&output.stderr);
        for part in [&*address, "r.yaml says now", "--admin"] {
            assert!(said.contains(part), "{name}: {part} is not in {said}");
        }
        let output = run(&[name, "-c", "r.yaml", "--admin", &address], folder.path());
        let said = text(&output.stderr);
        assert!(said.contains(&address) && !said.contains("says now"), "{name}: {said}");
    }
}

#[test]
fn a_file_that_variables_make_whole_is_whole_for_who_asks_too() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let yaml = format!("access_log: {{format: text}}\nadmin: \"{nobody}\"\n");
    std::fs::write(folder.path().join("ravelin.yaml"), yaml).unwrap();
    for asks in
        [&["health"][..], &["reload"], &["drain", "--all"], &["undrain"], &["purge", "--all"]]
    {
        let output = command(folder.path())
            .args(asks)
            .env("RAVELIN_UPSTREAM", "h2c://127.0.0.1:1")
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(&nobody.to_string()), "{said}");
    }
}

#[test]
fn a_record_that_nobody_reads_holds_nobody_up_at_the_end() {
    let (standin, folder) = (standin(), tempfile::tempdir().unwrap());
    let upstream = format!("h2c://{}", standin.address());
    let (unread, stdout) = std::io::pipe().unwrap();
    let mut command = command(folder.path());
    command.args(["--upstream", &upstream]).args(ANYWHERE);
    let mut child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    // The command holds the pipe's other end.
    drop(command);
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let (mut line, mut all) = (String::new(), String::new());
    while !line.contains("listening name=127.0.0.1:0") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "{all}");
        all += &line;
    }
    let address = line.rsplit_once("address=").unwrap().1.trim().parse().unwrap();
    // A pipe holds 64 KiB: these are more.
    for n in 0..300 {
        get(address, "localhost", &format!("/healthz?{n}-{}", "x".repeat(500)));
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() >= deadline {
            child.kill().unwrap();
            panic!("it does not end");
        }
        thread::sleep(Duration::from_millis(20));
    }
    said.read_to_string(&mut all).unwrap();
    assert!(all.contains("the last access records are lost"), "{all}");
    drop(unread);
}

#[test]
fn a_worker_that_cannot_begin_keeps_the_rest_from_starting() {
    let (standin, folder) = (standin(), tempfile::tempdir().unwrap());
    let upstream = format!("h2c://{}", standin.address());
    let program = env!("CARGO_BIN_EXE_ravelin");
    let few = format!("ulimit -n 44; exec timeout 20 {program} \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &few, "sh", "--upstream", &upstream, "--listen", "127.0.0.1:0"])
        .args(["--admin", "127.0.0.1:0", "--workers", "8"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("Too many open files"), "{said}");
}

#[test]
fn the_record_goes_on_in_a_new_file_after_sighup() {
    let (standin, folder) = (standin(), tempfile::tempdir().unwrap());
    let yaml = format!(
        "listen: \"127.0.0.1:0\"\nupstream: h2c://{}\nadmin: \"off\"\nworkers: 1\naccess_log: {{output: access.log}}\n",
        standin.address()
    );
    std::fs::write(folder.path().join("r.yaml"), yaml).unwrap();
    let mut ravelin = Running::start(command(folder.path()).args(["-c", "r.yaml"]));
    let address = ravelin.address("127.0.0.1:0");
    let (log, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let holds = |file: &Path, part: &str| {
        let deadline = Instant::now() + PATIENCE;
        while !std::fs::read_to_string(file).is_ok_and(|text| text.contains(part)) {
            assert!(Instant::now() < deadline, "{part} is not in {}", file.display());
            thread::sleep(Duration::from_millis(10));
        }
    };
    get(address, "localhost", "/healthz?one");
    holds(&log, "one");
    std::fs::rename(&log, &old).unwrap();
    ravelin.signal("-HUP");
    // The new file is made when it is opened.
    holds(&log, "");
    get(address, "localhost", "/healthz?two");
    holds(&log, "two");
    assert!(!std::fs::read_to_string(&old).unwrap().contains("two"));
}

#[test]
fn help_names_every_default() {
    let folder = tempfile::tempdir().unwrap();
    let help = run(&["--help"], folder.path());
    assert_eq!(help.status.code(), Some(0));
    let help = text(&help.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "[default: ravelin.yaml, /etc/ravelin/ravelin.yaml]",
        "[default: every host]",
        "[default: [::]:8443 with --cert, else [::]:8000]",
        "[default: 127.0.0.1:9901]",
        "[default: one for each processor]",
        "[default: json]",
        "[default: 0s]",
        "[default: 30s]",
        "[env: RAVELIN_UPSTREAM]",
        "[env: RAVELIN_ZITADEL]",
        "ravelin demo",
        "Exit codes:",
    ] {
        assert!(help.contains(part), "{part} is missing in\n{help}");
    }
    let demo = text(&run(&["demo", "--help"], folder.path()).stdout);
    assert!(demo.contains("[default: 8443]"), "{demo}");
}

/// The lines of the demo that are to be pasted into a terminal.
fn demo(folder: &Path) -> (Running, Vec<String>) {
    let temporary = folder.to_str().unwrap();
    let mut command = command(folder);
    command.args(["demo", "--port", "0"]).env("TMPDIR", temporary);
    let mut demo = Running::start(&mut command);
    demo.says("Below is one line");
    assert!(!demo.said.iter().any(|line| line.contains("is taken")), "nobody asked for a port");
    let pasted = demo.said.iter().filter_map(|line| line.strip_prefix("  "));
    let lines = pasted.filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    (demo, lines)
}

fn curl_is_there() -> bool {
    let there = Command::new("curl")
        .arg("--version")
        .output()
        .is_ok_and(|output| text(&output.stdout).contains("HTTP2"));
    if !there {
        eprintln!("SKIPPED: there is no curl with HTTP/2 on this machine");
    }
    there
}

#[test]
fn every_line_that_the_demo_prints_works_when_pasted() {
    if !curl_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut demo, lines) = demo(folder.path());
    let expected: [(&str, &[&str]); 10] = [
        ("/ui/console/", &["HTTP/2 200", "text/html", "<html"]),
        ("/admin/v1/healthz", &["HTTP/2 200", "application/json", "{}"]),
        ("/v2/users/", &["HTTP/2 401", "\"code\":16"]),
        ("/.well-known/openid-configuration", &["\"issuer\":\"https://localhost:"]),
        ("'content-type: application/grpc'", &["HTTP/2 200", "grpc-status: 0"]),
        ("application/grpc-web+proto", &["HTTP/2 200", "grpc-status:"]),
        ("connect-protocol-version", &["HTTP/2 ", "application/json", "\"code\":"]),
        ("/early-hints", &["HTTP/2 103", "link: ", "HTTP/2 200"]),
        ("/ws", &["HTTP/1.1 101", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]),
        ("/sse", &["data:"]),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, (part, answers)) in lines.iter().zip(expected) {
        assert!(line.contains(part), "{line}");
        let answer = pasted(line, answers.last().unwrap());
        for expected in answers {
            assert!(answer.contains(expected), "{line}\n{answer}\nhas no {expected}");
        }
    }
    demo.says("openid-configuration");
    demo.signal("-INT");
    assert_eq!(demo.ended().code(), Some(0));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

/// What the line prints, until it ends or `last` has come.
fn pasted(line: &str, last: &str) -> String {
    // One process to end, whatever shell this is.
    let line = line
        .strip_prefix("curl")
        .map_or_else(|| line.to_owned(), |rest| format!("exec curl{rest}"));
    let mut shell = Command::new("sh")
        .args(["-c", &line])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = shell.stdout.take().unwrap();
    let (mut answer, mut some) = (Vec::new(), [0; 4096]);
    // Only the endless one is cut short.
    while !(line.ends_with("/sse") && text(&answer).contains(last)) {
        match out.read(&mut some).unwrap() {
            0 => break,
            read => answer.extend_from_slice(&some[..read]),
        }
    }
    let _ = shell.kill();
    let errors = text(&shell.wait_with_output().unwrap().stderr);
    text(&answer) + if answer.is_empty() { &errors } else { "" }
}

#[test]
fn ctrl_c_twice_ends_the_demo_whatever_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let (mut demo, _) = demo(folder.path());
    // A connection that is in the middle of its handshake, and one that says nothing.
    let line = demo.said.iter().find(|line| line.starts_with("Ravelin is on https://")).unwrap();
    let port = line.split(':').nth(2).unwrap().split(',').next().unwrap();
    let mut held = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    held.write_all(b"\x16\x03\x01\x02\x00").unwrap();
    demo.signal("-INT");
    demo.says("draining");
    thread::sleep(Duration::from_millis(250));
    demo.signal("-INT");
    assert_eq!(demo.ended().code(), Some(1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_taken_port_sends_the_demo_to_another_and_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut demo = Running::start(
        command(folder.path()).args(["demo", "--port", &port]).env("TMPDIR", folder.path()),
    );
    demo.says(&format!("Port {port} is taken, so this is on "));
    demo.says("Below is one line");
}

/// Names of metrics that the README tells its reader about, and those that are there.
#[test]
fn the_readme_names_every_metric() {
    let (folder, readme) = (tempfile::tempdir().unwrap(), include_str!("../README.md"));
    let mut command = command(folder.path());
    command.args(["--upstream", "h2c://127.0.0.1:1"]).args(ANYWHERE);
    let mut ravelin = Running::start(&mut command);
    let admin = ravelin.address("\"admin\"");
    let mut stream = TcpStream::connect(admin).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n").unwrap();
    let mut exposed = String::new();
    stream.read_to_string(&mut exposed).unwrap();
    let named: Vec<_> = exposed
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ravelin_")?.split(' ').next())
        .collect();
    assert!(named.len() >= 20, "{exposed}");
    for name in named {
        assert!(readme.contains(&format!("`{name}`")), "{name} is not in README.md");
    }
}
