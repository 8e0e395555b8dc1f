//! One process after the other on the same sockets: no connection is refused, none is reset.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use ravelin::standin::Standin;

use crate::support::faults::{config, eventually, get, http1, post, within};
use crate::support::load::Load;
use crate::support::process::Process;
use crate::support::standin;

fn before(standin: &Standin, more: &str) -> String {
    let more = format!("upgrade: {{socket: \"{{folder}}/next\"}}\n{more}");
    config(&[format!("h2c://{}", standin.address())], "", &more)
}

async fn serves(process: &Process) -> u16 {
    http1(process.address("plain"), get("localhost", "/admin/v1/healthz")).await.unwrap().status()
}

#[tokio::test]
async fn ten_upgrades_under_load_refuse_reset_and_fail_nothing() {
    let standin = standin().await;
    let yaml = before(&standin, "");
    let mut process = Process::start(&yaml).await;
    let address = process.address("plain");
    let load = Load::start(address);
    load.more(20).await;
    // Every step from fewer sockets to more workers, and back.
    for workers in [1, 2, 3, 1, 2, 2, 3, 3, 1, 1] {
        process.configure(&yaml.replace("workers: 1", &format!("workers: {workers}")));
        let next = process.again();
        eventually("it takes over", || next.heard("took over") > 0).await;
        assert_eq!(within(10.0, "the old one leaves", process.exit()).await, Some(0));
        eventually("it listens", || next.heard("name=\"admin\"") > 0).await;
        assert_eq!(next.address("plain"), address, "the same port, which the system once chose");
        process = next;
        load.more(20).await;
    }
    let (good, bad) = load.stop().await;
    assert!(good > 200 && bad.is_empty(), "{good} good, and {bad:?}");
    assert!(process.folder.path().join("next").exists(), "the door is still there");
}

#[tokio::test]
async fn what_is_drained_stays_so_in_the_next_process_and_can_be_taken_back_there() {
    let (first, second) = (standin().await, standin().await);
    let endpoints = [&first, &second].map(|one| format!("h2c://{}", one.address()));
    let yaml = config(&endpoints, "", "upgrade: {socket: \"{folder}/next\"}\n");
    let mut process = Process::start(&yaml).await;
    let call = async |process: &Process, call: &str| {
        let path = format!("/{call}?endpoint={}", endpoints[0]);
        let asked = http1(process.address("\"admin\""), post("localhost", &path, ""));
        assert_eq!(within(5.0, call, asked).await.unwrap().status(), 200);
    };
    call(&process, "drain").await;
    let next = process.again();
    assert_eq!(within(10.0, "the old one leaves", process.exit()).await, Some(0));
    eventually("it listens", || next.heard("name=\"admin\"") > 0).await;
    let asked = first.count("/admin");
    for _ in 0..20 {
        assert_eq!(serves(&next).await, 200);
    }
    assert_eq!(first.count("/admin"), asked, "nothing new for the drained one");
    call(&next, "undrain").await;
    let taken_back = async {
        while first.count("/admin") == asked {
            assert_eq!(serves(&next).await, 200);
        }
    };
    within(10.0, "it is asked again", taken_back).await;
}

#[tokio::test]
async fn a_next_process_that_cannot_start_changes_nothing() {
    let standin = standin().await;
    let yaml = before(&standin, "");
    let mut process = Process::start(&yaml).await;
    let load = Load::start(process.address("plain"));
    // The running one reads the same file: it must not take up what the next one fails on.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap();
    let more = format!("listeners:\n  - {{name: more, address: \"{port}\"}}\n");
    for (bad, code) in
        [("nonsense: 1\n".to_owned() + &yaml, 64), (yaml.replace("listeners:\n", &more), 1)]
    {
        process.configure(&bad);
        let mut next = process.again();
        assert_eq!(within(10.0, "it fails", next.exit()).await, Some(code));
        load.more(20).await;
    }
    eventually("it is told of", || process.heard("the next process did not take over") == 1).await;
    drop(taken);
    let (_, bad) = load.stop().await;
    assert!(bad.is_empty(), "{bad:?}");
    // And the next good one takes over.
    process.configure(&yaml);
    let next = process.again();
    assert_eq!(within(10.0, "the old one leaves", process.exit()).await, Some(0));
    eventually("it listens", || next.heard("name=\"admin\"") > 0).await;
    assert_eq!(serves(&next).await, 200);
}

#[tokio::test]
async fn the_file_of_a_unix_socket_outlives_a_next_process_that_cannot_start() {
    let standin = standin().await;
    let unix = "listeners:\n  - {name: local, address: \"unix:{folder}/local\"}\n";
    let yaml = before(&standin, "").replace("listeners:\n", unix);
    let mut process = Process::start(&yaml).await;
    let file = process.folder.path().join("local");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let more =
        format!("listeners:\n  - {{name: more, address: \"{}\"}}\n", taken.local_addr().unwrap());
    process.configure(&yaml.replace("listeners:\n", &more));
    let mut next = process.again();
    assert_eq!(within(10.0, "it fails", next.exit()).await, Some(1));
    eventually("it is told of", || process.heard("the next process did not take over") == 1).await;
    assert!(std::os::unix::net::UnixStream::connect(&file).is_ok());
    // One that can start has it, and takes it away at its end.
    process.configure(&yaml);
    let mut next = process.again();
    assert_eq!(within(10.0, "the old one leaves", process.exit()).await, Some(0));
    eventually("it listens", || next.heard("name=\"admin\"") > 0).await;
    assert!(std::os::unix::net::UnixStream::connect(&file).is_ok());
    // One that does not listen there takes it away at once.
    process.configure(&before(&standin, ""));
    let mut last = process.again();
    assert_eq!(within(10.0, "the old one leaves", next.exit()).await, Some(0));
    eventually("it is gone", || !file.exists()).await;
    last.signal("TERM");
    assert_eq!(within(10.0, "it ends", last.exit()).await, Some(0));
    assert!(!process.folder.path().join("next").exists());
}

/// Ends a process that is nobody's child any more.
struct Orphan(String);

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ = Command::new("sh").args(["-c", &format!("kill -KILL {}", self.0)]).status();
    }
}

#[tokio::test]
async fn sigusr2_starts_the_next_one_and_systemd_is_told_which() {
    let standin = standin().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let told = move || {
        let mut message = [0; 256];
        let length = systemd.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).trim().to_owned()
    };
    let environment = |command: &mut Command| {
        command.env("NOTIFY_SOCKET", &path);
    };
    let mut process = Process::start_with(&before(&standin, ""), environment).await;
    assert_eq!(told(), "READY=1");
    process.signal("USR2");
    eventually("it starts", || process.heard("started the next process") > 0).await;
    let line = process.line("started the next process").unwrap();
    let pid = line.split("pid=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let _orphan = Orphan(pid.clone());
    assert_eq!(within(10.0, "the old one leaves", process.exit()).await, Some(0));
    let (main, ready) = tokio::task::spawn_blocking(move || (told(), told())).await.unwrap();
    assert_eq!(main, format!("MAINPID={pid}"));
    assert_eq!(ready, "READY=1");
    assert_eq!(serves(&process).await, 200);
}

#[tokio::test]
async fn without_an_upgrade_socket_sigusr2_does_nothing() {
    let standin = standin().await;
    let yaml = config(&[format!("h2c://{}", standin.address())], "", "");
    let process = Process::start(&yaml).await;
    process.signal("USR2");
    eventually("it says so", || process.heard("there is no upgrade.socket") == 1).await;
    assert_eq!(serves(&process).await, 200);
}

#[tokio::test]
async fn sockets_that_systemd_has_opened_are_taken_by_name_or_by_address() {
    let standin = standin().await;
    let open = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (by_name, by_address) = (open(), open());
    let (named, addressed) = (by_name.local_addr().unwrap(), by_address.local_addr().unwrap());
    let yaml = config(&[format!("h2c://{}", standin.address())], "", "");
    let yaml = yaml.replacen(
        "{name: plain, address: \"127.0.0.1:0\"}",
        &format!("{{name: plain, address: \"127.0.0.1:1\"}}\n  - {{name: other, address: \"{addressed}\"}}"),
        1,
    );
    // What waits in the queue before the process is there is served.
    let early = tokio::spawn(http1(named, get("localhost", "/admin/v1/healthz")));
    let mut process = Process::start_with(&yaml, |command| {
        // Its first descriptors are ours: no other is left open for it.
        command.stdin(Stdio::from(OwnedFd::from(by_name)));
        command.stdout(Stdio::from(OwnedFd::from(by_address)));
        command.env("LISTEN_FDS", "2").env("LISTEN_FDS_FIRST_FD", "0");
        command.env("LISTEN_FDNAMES", "plain:ravelin.socket");
    })
    .await;
    assert_eq!(early.await.unwrap().unwrap().status(), 200);
    assert_eq!(process.address("plain"), named);
    let answer = http1(addressed, get("localhost", "/admin/v1/healthz")).await.unwrap();
    assert_eq!(answer.status(), 200);
    process.signal("TERM");
    assert_eq!(within(5.0, "SIGTERM", process.exit()).await, Some(0));
}
