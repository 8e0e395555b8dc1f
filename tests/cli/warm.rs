//! `ravelin warm`: what it finds, writes and says, and that a Ravelin makes nothing of it anew.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use ravelin::standin::{Options, Standin};

use crate::program::{PATIENCE, Running, command};
use crate::{run, text};

/// A console as webpack writes it: its runtime names a chunk, its style sheet a picture.
fn console(folder: &Path) -> Standin {
    let lines = |name: &str, n: usize| -> String {
        (0..n).map(|i| format!("const {name}{i} = call({i});\n")).collect()
    };
    let index = "<base href=\"/ui/console/\"><link rel=\"stylesheet\" href=\"styles.css\">\
                 <script src=\"runtime.js\"></script><script src=\"main.js\"></script>";
    let table = "r.u=e=>(76===e?\"common\":e)+\".\"+{76:\"0a1b\",90:\"gone\"}[e]+\".js\";\n";
    for (name, content) in [
        ("index.html", format!("<!doctype html><title>Console</title>{index}")),
        ("runtime.js", format!("{table}{}", lines("runtime", 100))),
        ("main.js", lines("main", 1_000)),
        ("common.0a1b.js", lines("common", 500)),
        ("styles.css", format!("a{{background:url(logo.svg)}}{}", "b{color:red}\n".repeat(200))),
        ("logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_owned()),
    ] {
        fs::write(folder.join(name), content).unwrap();
    }
    let options = Options { console: Some(folder.to_owned()), ..Options::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Standin::start(options)).unwrap()
}

/// The head, and the body as text.
fn ask(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let fields = "host: localhost\r\naccept-encoding: br\r\nconnection: close\r\n";
    write!(stream, "GET {path} HTTP/1.1\r\n{fields}\r\n").unwrap();
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while stream.read_line(&mut head).unwrap() > 2 {}
    let mut body = Vec::new();
    stream.read_to_end(&mut body).unwrap();
    (head, text(&body))
}

#[test]
fn what_it_makes_a_server_does_not_make_again() {
    let (files, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let standin = console(files.path());
    let upstream = format!("h2c://{}", standin.address());
    let warm = ["warm", "--upstream", &upstream, "--domain", "localhost", "--into", "variants"];
    let output = run(&warm, folder.path());
    let (table, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    for name in ["main.js", "common.0a1b.js", "runtime.js", "styles.css"] {
        assert!(table.contains(name), "{name} is missing:\n{table}");
        assert!(said.contains(&format!("{name} br: ")), "{name} is not told of:\n{said}");
    }
    let all = table.lines().last().unwrap();
    assert!(all.contains(" files") && all.matches('%').count() == 3, "{table}");
    assert!(!said.contains('\x1b'), "no bar outside of a terminal");
    let made = fs::read_dir(folder.path().join("variants")).unwrap().count();
    assert!(made >= 12, "{made} files");
    let again = run(&warm, folder.path());
    assert_eq!((again.status.code(), text(&again.stdout)), (Some(0), table));

    let yaml = format!(
        "workers: 1\nlisteners: [{{name: main, address: \"127.0.0.1:0\"}}]\n\
         zitadel: {{upstream: \"{upstream}\", domain: localhost}}\n\
         cache: {{directory: variants}}\nadmin: {{address: \"127.0.0.1:0\"}}\n"
    );
    fs::write(folder.path().join("ravelin.yaml"), yaml).unwrap();
    let mut ravelin = Running::start(&mut command(folder.path()));
    let address = ravelin.address("main");
    let admin = ravelin.address("\"admin\"");
    let deadline = Instant::now() + PATIENCE;
    for path in ["/ui/console/main.js", "/ui/console/common.0a1b.js"] {
        assert!(ask(address, path).0.contains("200 OK"));
    }
    // Two files in three codings, and what was asked for ahead by now.
    loop {
        let metrics = ask(admin, "/metrics").1;
        assert!(!metrics.contains("ravelin_cache_variants_total{source=\"made\"}"), "{metrics}");
        let read = metrics.lines().find_map(|line| {
            line.strip_prefix("ravelin_cache_variants_total{source=\"read\"} ")?.parse::<u64>().ok()
        });
        if read.is_some_and(|read| read >= 6) {
            break;
        }
        assert!(Instant::now() < deadline, "{metrics}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_keeps_it_from_its_work_is_told() {
    let (files, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let standin = console(files.path());
    let there = format!("h2c://{}", standin.address());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("h2c://{nobody}");
    fs::write(folder.path().join("file"), "").unwrap();
    let fine =
        [("--upstream", &*there), ("--domain", "localhost"), ("--into", "v"), ("--path", "/")];
    for (flag, value, code, why) in [
        ("--upstream", &*nobody, 1, "cannot be reached: "),
        ("--path", "/ui/console/missing.js", 1, "/ui/console/missing.js is answered with 404"),
        ("--into", "file", 1, "warm: file: "),
        ("--upstream", "localhost", 64, "--upstream: found \"localhost\", expected an address"),
        ("--domain", "a b", 64, "--domain: found \"a b\", expected a host"),
        ("--path", "ui", 64, "--path: found \"ui\", expected a path"),
    ] {
        let others = fine.iter().filter(|(known, _)| *known != flag);
        let all = others.flat_map(|(flag, value)| [*flag, *value]);
        let arguments: Vec<_> = ["warm", flag, value].into_iter().chain(all).collect();
        let output = run(&arguments, folder.path());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(why) && said.lines().count() == 1, "{said}");
        assert_eq!(text(&output.stdout), "");
    }
}
