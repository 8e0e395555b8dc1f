//! Generations of a single-page application: asked for ahead, kept after an upgrade, and told apart
//! from what an upgrade makes untrue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use http::Request;
use ravelin::standin::{Options, Standin};

use crate::support::faults::{eventually, http1, soon};
use crate::support::h2::{Answer, Client};
use crate::support::origin::{Origin, answer};
use crate::support::{Ravelin, config_before};

const SHORT: &str = "cache-control: public, max-age=0, s-maxage=300\r\n";
const LONG: &str = "cache-control: public, max-age=43200, s-maxage=604800\r\n";
const MAIN_A: &str = "/app/main.aaaaaaaaaaaaaaaa.js";
const MAIN_B: &str = "/app/main.bbbbbbbbbbbbbbbb.js";
const LAZY_A: &str = "/app/622.a1a1a1a1a1a1a1a1.js";
const LAZY_B: &str = "/app/622.b1b1b1b1b1b1b1b1.js";

/// What a server of an application says, before an upgrade or after it.
fn says(head: &str, upgraded: bool) -> Vec<Vec<u8>> {
    let path = head.split(' ').nth(1).unwrap();
    let (main, lazy, hash) = if upgraded {
        (MAIN_B, LAZY_B, "b1b1b1b1b1b1b1b1")
    } else {
        (MAIN_A, LAZY_A, "a1a1a1a1a1a1a1a1")
    };
    let script = format!("content-type: text/javascript\r\n{LONG}");
    let name = main.strip_prefix("/app/").unwrap();
    match path {
        "/app/" | "/app/users" => {
            let html = format!(
                "<base href=\"/app/\"><link rel=stylesheet href=styles.css><script src=\"{name}\" type=\"module\"></script>"
            );
            answer(200, &format!("content-type: text/html; charset=utf-8\r\n{SHORT}"), html)
        }
        "/app/styles.css" => answer(200, &format!("content-type: text/css\r\n{LONG}"), "a{}"),
        "/app/i18n/en.json" => answer(200, LONG, format!("{{\"upgraded\":{upgraded}}}")),
        _ if path == main => {
            let table = format!("l.u=e=>e+\".\"+{{622:\"{hash}\"}}[e]+\".js\"");
            answer(200, &script, table)
        }
        _ if path == lazy => answer(200, &script, format!("lazy of {main}")),
        _ => answer(404, "cache-control: no-store\r\n", "404 page not found"),
    }
}

/// A server that is upgraded when the flag is set.
async fn upgradable() -> (Origin, Arc<AtomicBool>) {
    let upgraded = Arc::<AtomicBool>::default();
    let flag = Arc::clone(&upgraded);
    (Origin::start(move |head, _| says(head, flag.load(Relaxed))).await, upgraded)
}

fn before(origins: &[&Origin]) -> Ravelin {
    let names: Vec<_> = origins.iter().map(|one| format!("http://{}", one.address())).collect();
    let cache = "to: up, public_hosts: \"localhost:443\", cache: {app: /app}";
    Ravelin::start(&config_before(&names.join("\", \"")).replace("to: up", cache))
}

fn asked(origin: &Origin, path: &str) -> usize {
    let line = format!("get {path} ");
    origin.asked().iter().filter(|head| head.starts_with(&line)).count()
}

async fn warmed(origin: &Origin, paths: &[&str]) {
    eventually("asked ahead", || paths.iter().all(|path| asked(origin, path) > 0)).await;
}

async fn get(client: &Client, path: &str) -> Answer {
    soon(path, client.get(path)).await.unwrap()
}

/// As a browser reloads.
fn anew(path: &str) -> Request<()> {
    let request = Request::get(format!("https://localhost{path}")).header("accept", "text/html");
    request.header("cache-control", "no-cache").body(()).unwrap()
}

#[tokio::test]
async fn an_application_is_there_before_anybody_asks() {
    let (origin, _) = upgradable().await;
    let ravelin = before(&[&origin]);
    warmed(&origin, &["/app/", "/app/styles.css", MAIN_A, LAZY_A]).await;
    let client = Client::tls(ravelin.https()).await;
    for path in ["/app/", "/app/styles.css", MAIN_A, LAZY_A] {
        let mut last = get(&client, path).await;
        if path == LAZY_A {
            // It may still have been on its way in.
            last = get(&client, path).await;
        }
        assert!(last.header("cache-status").starts_with("Ravelin; hit"), "{path}: {last:?}");
        assert_eq!(asked(&origin, path), 1, "{path}");
    }
    let immutable = "public, max-age=31536000, immutable";
    assert_eq!(get(&client, MAIN_A).await.header("cache-control"), immutable);
    let style = get(&client, "/app/styles.css").await;
    assert_eq!(style.header("cache-control"), "public, max-age=43200, s-maxage=604800");
    let index = get(&client, "/app/").await;
    let links = index.head.headers().get_all("link").iter();
    let links: Vec<_> = links.map(|link| link.to_str().unwrap().to_owned()).collect();
    assert_eq!(
        links,
        [
            "</app/styles.css>; rel=preload; as=style".to_owned(),
            format!("<{MAIN_A}>; rel=modulepreload")
        ]
    );
}

#[tokio::test]
async fn an_upgrade_keeps_old_chunks_and_asks_for_translations_anew() {
    let (origin, upgraded) = upgradable().await;
    let ravelin = before(&[&origin]);
    warmed(&origin, &[LAZY_A]).await;
    let client = Client::tls(ravelin.https()).await;
    let en = "/app/i18n/en.json";
    assert_eq!(get(&client, en).await.text(), "{\"upgraded\":false}");
    assert!(get(&client, "/app/users").await.text().contains("main.aaaa"));
    upgraded.store(true, Relaxed);
    assert_eq!(get(&client, en).await.text(), "{\"upgraded\":false}", "nobody has seen it yet");
    let (answer, _) = client.open(anew("/app/"), true).await.unwrap();
    assert_eq!(soon("the index", answer).await.unwrap().status(), 200);
    warmed(&origin, &[MAIN_B, LAZY_B]).await;
    assert_eq!(get(&client, en).await.text(), "{\"upgraded\":true}");
    assert!(get(&client, "/app/users").await.text().contains("main.bbbb"));
    let old = get(&client, LAZY_A).await;
    assert_eq!((old.status(), old.text()), (200, format!("lazy of {MAIN_A}").as_str()));
    assert_eq!(asked(&origin, LAZY_A), 1, "it would be a 404 now");
    assert_eq!(get(&client, LAZY_B).await.text(), format!("lazy of {MAIN_B}"));
    let purge = async |id: &str| {
        let purge = Request::post(format!("http://admin/purge?generation={id}")).body(Bytes::new());
        let answer = soon("purge", http1(ravelin.admin(), purge.unwrap())).await.unwrap();
        (answer.status(), answer.text().to_owned())
    };
    let (status, known) = purge("nonsense").await;
    assert!(status == 404 && known.matches(", ").count() == 1, "two are known: {known}");
    assert_eq!(purge("old").await, (200, "2 purged\n".to_owned()), "main and lazy of the first");
    assert_eq!(purge("old").await, (200, "0 purged\n".to_owned()));
    assert_eq!(get(&client, LAZY_A).await.status(), 404);
    assert_eq!(get(&client, LAZY_B).await.status(), 200);
    assert_eq!(asked(&origin, LAZY_B), 1, "what is served stays");
}

/// A rollout: one replica has the new files, the other has not.
#[tokio::test]
async fn a_file_that_one_replica_lacks_is_asked_of_another() {
    const MISSING: &str = "/app/9.cccccccccccccccc.js";
    let old = Origin::start(|head, _| says(head, false)).await;
    let new = Origin::start(|head, _| says(head, true)).await;
    let ravelin = before(&[&old, &new]);
    let client = Client::tls(ravelin.https()).await;
    for path in [LAZY_A, LAZY_B, MAIN_A, MAIN_B] {
        assert_eq!(get(&client, path).await.status(), 200, "{path}");
    }
    for times in 1..3 {
        assert_eq!(get(&client, MISSING).await.status(), 404);
        assert_eq!((asked(&old, MISSING), asked(&new, MISSING)), (times, times), "never kept");
    }
    let before = asked(&old, "/app/x.svg") + asked(&new, "/app/x.svg");
    assert_eq!(get(&client, "/app/x.svg").await.status(), 404);
    let after = asked(&old, "/app/x.svg") + asked(&new, "/app/x.svg");
    assert_eq!(after - before, 1, "of other files a 404 is believed");
}

#[tokio::test]
async fn a_browser_is_told_what_a_page_loads_while_upstream_is_asked() {
    for (setting, expected) in [("", true), ("cache: {early_hints: false}\n", false)] {
        let (origin, _) = upgradable().await;
        let names = format!("http://{}", origin.address());
        let cache = "to: up, public_hosts: \"localhost:443\", cache: {app: /app}";
        let config = config_before(&names).replace("to: up", cache);
        let ravelin = Ravelin::start(&format!("{config}{setting}"));
        warmed(&origin, &[LAZY_A]).await;
        let client = Client::tls(ravelin.https()).await;
        let (mut answer, _) = client.open(anew("/app/"), true).await.unwrap();
        let hint = soon("a hint", std::future::poll_fn(|cx| answer.poll_informational(cx))).await;
        let hint = hint.map(Result::unwrap);
        let answer = soon("the index", answer).await.unwrap();
        assert_eq!(answer.headers().contains_key("link"), expected);
        let links = hint
            .map(|hint| (hint.status().as_u16(), hint.headers().get_all("link").iter().count()));
        assert_eq!(links, expected.then_some((103, 2)));
    }
}

#[tokio::test]
async fn the_console_of_zitadel_is_asked_for_ahead_and_its_settings_are_not() {
    let zitadel =
        Standin::start(Options { external_secure: true, ..Options::default() }).await.unwrap();
    let yaml = format!(
        "zitadel: {{upstream: \"h2c://{}\", domain: localhost, health: \"off\"}}\n\
         listeners: [{{name: https, address: \"127.0.0.1:0\", tls: {{certificates: [{{cert: \"{{cert}}\", key: \"{{key}}\"}}]}}}}]\n\
         workers: 2\nadmin: {{address: \"127.0.0.1:0\"}}\naccess_log: {{format: \"off\"}}\n",
        zitadel.address()
    );
    let ravelin = Ravelin::start(&yaml);
    let count =
        |part: &str| zitadel.requests().iter().filter(|seen| seen.target.contains(part)).count();
    eventually("asked ahead", || count("/main.") == 1 && count("/manifest.") == 1).await;
    assert_eq!(count("environment.json"), 0);
    assert!(zitadel.requests().iter().all(|seen| seen.authority == "localhost"));
    let client = Client::tls(ravelin.https()).await;
    let main = zitadel
        .requests()
        .iter()
        .find(|seen| seen.target.contains("/main."))
        .unwrap()
        .target
        .clone();
    let request = Request::get(format!("https://localhost{main}")).header("accept-encoding", "br");
    let answer = soon("main", client.send(request.body(Bytes::new()).unwrap())).await.unwrap();
    assert_eq!((answer.status(), answer.header("content-encoding")), (200, "br"));
    assert!(answer.header("content-security-policy").contains("localhost"), "{answer:?}");
    assert_eq!(count("/main."), 1);
}
