//! The shared cache: what is kept, for whom, and how often upstream is asked.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use http::Request;

use crate::support::faults::{self, eventually, get, http1, soon, with, within};
use crate::support::h2::{Answer, Client};
use crate::support::origin::{Origin, answer};
use crate::support::raw::until;
use crate::support::{Ravelin, config_before, standin};

/// Before `origin`, with a cache on its route; two workers, so that the cache is one for both.
fn before(origin: &Origin, cache: &str) -> Ravelin {
    let config = config_before(&format!("http://{}", origin.address()));
    let config = config.replace("to: up", &format!("to: up, cache: {cache}"));
    Ravelin::start(&config.replace("workers: 1", "workers: 2"))
}

async fn ask(ravelin: &Ravelin, request: Request<Bytes>) -> Answer {
    // A 304 has no length for the client to go by.
    let request = with(request, "connection", "close");
    within(5.0, "an answer", http1(ravelin.plain(), request)).await.unwrap()
}

fn status(answer: &Answer) -> &str {
    answer.header("cache-status")
}

const FRESH: &str = "cache-control: max-age=60\r\ncontent-type: text/plain\r\n";

#[tokio::test]
async fn a_kept_answer_is_served_with_validators_ranges_and_its_age() {
    let origin = Origin::start(|_, _| answer(200, FRESH, "0123456789")).await;
    let ravelin = before(&origin, "true");
    let first = ask(&ravelin, get("a", "/x")).await;
    assert_eq!(status(&first), "Ravelin; fwd=uri-miss; ttl=60; stored");
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.len() > 20, "{tag}");
    let hit = ask(&ravelin, get("a", "/x")).await;
    assert!(status(&hit).starts_with("Ravelin; hit; ttl="), "{}", status(&hit));
    assert_eq!((hit.text(), hit.header("etag"), hit.header("age")), ("0123456789", &*tag, "0"));
    let known = ask(&ravelin, with(get("a", "/x"), "if-none-match", &tag)).await;
    assert_eq!((known.status(), known.text(), known.header("etag")), (304, "", &*tag));
    let part = ask(&ravelin, with(get("a", "/x"), "range", "bytes=2-4")).await;
    assert_eq!((part.status(), part.text()), (206, "234"));
    assert_eq!(part.header("content-range"), "bytes 2-4/10");
    let parts = ask(&ravelin, with(get("a", "/x"), "range", "bytes=0-0,-1")).await;
    assert!(parts.header("content-type").starts_with("multipart/byteranges; boundary="));
    assert!(parts.text().contains("content-range: bytes 9-9/10\r\n\r\n9\r\n"), "{parts:?}");
    let outside = ask(&ravelin, with(get("a", "/x"), "range", "bytes=10-")).await;
    assert_eq!((outside.status(), outside.header("content-range")), (416, "bytes */10"));
    let stale = with(with(get("a", "/x"), "range", "bytes=0-1"), "if-range", "\"other\"");
    assert_eq!(ask(&ravelin, stale).await.text(), "0123456789");
    assert_eq!(origin.asked().len(), 1);
    assert!(origin.asked()[0].contains("accept-encoding: identity"));
    assert!(ravelin.metric("ravelin_cache_requests_total{result=\"hit\"") >= 5.0);
}

#[tokio::test]
async fn what_is_about_somebody_goes_past_and_is_not_kept() {
    let origin = Origin::start(|_, n| answer(200, FRESH, n.to_string())).await;
    let ravelin = before(&origin, "true");
    for (name, value, detail) in
        [("authorization", "Bearer x", "authorization"), ("cookie", "a=b", "cookie")]
    {
        let asked = ask(&ravelin, with(get("a", "/x"), name, value)).await;
        assert_eq!(status(&asked), format!("Ravelin; fwd=bypass; detail={detail}"));
    }
    assert_eq!(ask(&ravelin, get("a", "/x")).await.text(), "3");
    assert_eq!(ask(&ravelin, with(get("a", "/x"), "cookie", "a=b")).await.text(), "4");
    assert_eq!(ask(&ravelin, get("a", "/x")).await.text(), "3", "that one is kept");
    assert_eq!(ask(&ravelin, get("b", "/x")).await.text(), "5", "of another host nothing is");
    for path in ["/v2/users", "/ui/console/assets/environment.json"] {
        let first = ask(&ravelin, get("a", path)).await;
        assert_ne!(first.text(), ask(&ravelin, get("a", path)).await.text(), "{path}");
    }
}

/// ZITADEL's keys may be kept by what they say, and set a cookie for a year (zitadel.md §13.2).
#[tokio::test]
async fn twelve_clients_of_the_keys_get_twelve_cookies() {
    let fields = "cache-control: max-age=300, must-revalidate\r\n";
    let origin = Origin::start(move |_, n| {
        answer(200, &format!("{fields}set-cookie: __Host-zitadel.useragent={n}\r\n"), "{}")
    })
    .await;
    let ravelin = Arc::new(before(&origin, "{api: true}"));
    let asking = (0..12).map(|_| {
        let ravelin = Arc::clone(&ravelin);
        tokio::spawn(async move { ask(&ravelin, get("a", "/oauth/v2/keys")).await })
    });
    let mut cookies = Vec::new();
    for answer in asking.collect::<Vec<_>>() {
        cookies.push(answer.await.unwrap().header("set-cookie").to_owned());
    }
    cookies.sort();
    cookies.dedup();
    assert_eq!(cookies.len(), 12, "{cookies:?}");
    assert_eq!(origin.asked().len(), 12);
}

/// As the others, with the shield: upstream's own answer for everybody while it answers, a copy without
/// a cookie when it does not.
#[tokio::test]
async fn the_shield_answers_for_keys_and_discovery_only_while_upstream_fails() {
    let down = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&down);
    let origin = Origin::start(move |head, n| {
        let cookie = format!("vary: Cookie\r\nset-cookie: __Host-zitadel.useragent={n}\r\n");
        match (flag.load(Relaxed), head.contains("/oauth/v2/keys")) {
            (true, true) => answer(503, "", "starting"),
            (true, false) => Vec::new(),
            (_, true) => answer(
                200,
                &format!("{cookie}cache-control: max-age=300, must-revalidate\r\n"),
                "keys",
            ),
            (_, false) => answer(200, &format!("{cookie}cache-control: no-store\r\n"), "discovery"),
        }
    })
    .await;
    let ravelin = before(&origin, "{shield: true, paths: /static}, retry: never");
    const PATHS: [(&str, &str); 2] =
        [("/oauth/v2/keys", "keys"), ("/.well-known/openid-configuration", "discovery")];
    let mut cookies = std::collections::HashSet::new();
    for _ in 0..12 {
        for (path, text) in PATHS {
            let answer = ask(&ravelin, get("a", path)).await;
            assert_eq!(
                (answer.text(), status(&answer)),
                (text, "Ravelin; fwd=bypass; detail=shield")
            );
            cookies.insert(answer.header("set-cookie").to_owned());
        }
    }
    assert_eq!((cookies.len(), origin.asked().len()), (24, 24));
    down.store(true, Relaxed);
    for (path, text) in PATHS {
        let answer = ask(&ravelin, with(get("a", path), "cookie", "a=b")).await;
        assert_eq!((answer.status(), answer.text(), answer.header("set-cookie")), (200, text, ""));
        // One member, whatever the copy's answer was told.
        let failed = if text == "keys" { "fwd=stale; fwd-status=503" } else { "fwd=stale" };
        let told = answer.head.headers().get_all("cache-status").iter().collect::<Vec<_>>();
        assert_eq!(told, [&format!("Ravelin; {failed}; detail=shield")]);
        assert!(!answer.header("age").is_empty());
        let bearer = with(get("a", path), "authorization", "Bearer x");
        assert!(ask(&ravelin, bearer).await.status() >= 500);
        assert!(ask(&ravelin, get("other", path)).await.status() >= 500);
    }
    let purge = Request::post("http://admin/purge?host=a").body(Bytes::new()).unwrap();
    assert_eq!(http1(ravelin.admin(), purge).await.unwrap().text(), "2 purged\n");
    assert_eq!(ask(&ravelin, get("a", PATHS[0].0)).await.status(), 503);
}

#[tokio::test]
async fn a_304_that_says_private_is_used_once_and_no_longer_kept() {
    let origin = Origin::start(|_, n| match n {
        2 => answer(304, "etag: \"v\"\r\ncache-control: private, max-age=600\r\n", ""),
        _ => answer(200, "etag: \"v\"\r\ncache-control: max-age=0\r\n", n.to_string()),
    })
    .await;
    let ravelin = before(&origin, "true");
    for (text, asked) in [("1", 1), ("1", 2), ("3", 3)] {
        assert_eq!(ask(&ravelin, get("a", "/x")).await.text(), text);
        assert_eq!(origin.asked().len(), asked);
    }
}

/// What is kept for its validator alone is not for those who happen to ask at the same time
/// (RFC 9111 §4).
#[tokio::test]
async fn who_waits_for_an_answer_that_may_not_be_reused_asks_for_itself() {
    let origin = Origin::start(|_, n| {
        let whole = answer(200, "etag: \"v\"\r\ncache-control: no-cache\r\n", n.to_string());
        let (head, last) = whole[0].split_at(whole[0].len() - 1);
        vec![head.to_vec(), last.to_vec()]
    })
    .await;
    let ravelin = before(&origin, "true");
    let asking = async || ask(&ravelin, get("a", "/x")).await.text().to_owned();
    let both = async { tokio::join!(asking(), asking()) };
    let held = async {
        eventually("both have asked", || origin.asked().len() == 2).await;
        origin.go(2);
    };
    let ((one, other), ()) = tokio::join!(both, held);
    assert_ne!(one, other);
}

#[tokio::test]
async fn what_is_not_in_the_key_does_not_reach_upstream() {
    let origin = Origin::start(|_, n| answer(200, FRESH, n.to_string())).await;
    let ravelin = before(&origin, "true");
    for name in ["x-original-url", "x-rewrite-url", "x-http-method-override", "x-host"] {
        let asked = with(get("a", &format!("/{name}")), name, "/poison");
        assert_eq!(ask(&ravelin, asked).await.status(), 200);
    }
    assert!(origin.asked().iter().all(|head| !head.contains("poison")), "{:?}", origin.asked());
}

#[tokio::test]
async fn many_who_want_the_same_ask_once_and_read_it_as_it_comes() {
    const SIZE: usize = 300_000;
    let origin = Origin::start(|_, _| {
        let whole = answer(200, FRESH, vec![b'x'; SIZE]).remove(0);
        let (first, rest) = whole.split_at(100_000);
        vec![first.to_vec(), rest.to_vec()]
    })
    .await;
    let ravelin = before(&origin, "true");
    let mut reading = Vec::new();
    for _ in 0..4 {
        let client = Client::plain(ravelin.plain()).await;
        for _ in 0..50 {
            let request = Request::get("http://a/big").body(()).unwrap();
            reading.push((client.open(request, true).await.unwrap().0, client.clone()));
        }
    }
    let began = Arc::new(AtomicUsize::new(0));
    let reading = reading.into_iter().map(|(answer, client)| {
        let began = Arc::clone(&began);
        tokio::spawn(async move {
            let answer = answer.await.unwrap();
            assert_eq!(answer.headers()["content-length"], SIZE.to_string());
            let (mut got, mut body) = (0, answer.into_body());
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                let _ = body.flow_control().release_capacity(data.len());
                began.fetch_add(usize::from(got == 0), Relaxed);
                got += data.len();
            }
            drop(client);
            got
        })
    });
    let reading: Vec<_> = reading.collect();
    // The first byte is there before the origin has sent the last.
    eventually("everybody reads", || began.load(Relaxed) == 200).await;
    origin.go(1);
    for got in reading {
        assert_eq!(soon("the rest", got).await.unwrap(), SIZE);
    }
    assert_eq!(origin.asked().len(), 1);
    let shared = ravelin.metric("ravelin_cache_requests_total{result=\"collapsed\"");
    assert_eq!(shared, 199.0);
}

/// Of an origin that is a cache itself: RFC 9111 §4.2.4 lets it answer who asked, and nobody who waited.
#[tokio::test]
async fn what_is_stale_when_it_comes_answers_nobody_else() {
    let origin = Origin::start(|_, n| {
        let old = "age: 100\r\ncache-control: max-age=60, must-revalidate\r\n";
        let mut pieces = vec![Vec::new()];
        pieces.extend(answer(200, old, n.to_string()));
        pieces
    })
    .await;
    let ravelin = Arc::new(before(&origin, "true"));
    let asking = (0..5).map(|_| {
        let ravelin = Arc::clone(&ravelin);
        tokio::spawn(async move { ask(&ravelin, get("a", "/x")).await.text().to_owned() })
    });
    let asking: Vec<_> = asking.collect();
    eventually("the first is asked for", || origin.asked().len() == 1).await;
    eventually("the others wait", || ravelin.metric("ravelin_requests_in_flight") == 5.0).await;
    origin.go(5);
    let mut texts = std::collections::BTreeSet::new();
    for text in asking {
        texts.insert(text.await.unwrap());
    }
    assert_eq!((texts.len(), origin.asked().len()), (5, 5), "{texts:?}");
}

/// A browser's hard reload asks again for what never changes.
#[tokio::test]
async fn a_hashed_file_that_upstream_confirms_lives_as_long_as_before() {
    const PATH: &str = "/app/main.aaaaaaaaaaaaaaaa.js";
    let origin = Origin::start(|head, _| {
        let fields = "etag: \"a\"\r\ncontent-type: text/javascript\r\n";
        match (head.contains(PATH), head.contains("if-none-match")) {
            (false, _) => answer(404, "", ""),
            (_, true) => answer(304, "etag: \"a\"\r\ncache-control: max-age=1\r\n", ""),
            _ => answer(200, &format!("{fields}cache-control: max-age=1\r\n"), "script"),
        }
    })
    .await;
    let ravelin = before(&origin, "{app: /app}");
    let first = ask(&ravelin, get("a", PATH)).await;
    assert!(first.header("cache-control").contains("immutable"), "{first:?}");
    let again = ask(&ravelin, with(get("a", PATH), "cache-control", "no-cache")).await;
    assert_eq!((again.status(), again.text()), (200, "script"));
    assert!(again.header("cache-control").contains("immutable"), "{again:?}");
    let hit = ask(&ravelin, get("a", PATH)).await;
    assert!(status(&hit).contains("hit") && hit.header("cache-control").contains("immutable"));
    let ttl = status(&hit).split("ttl=").nth(1).unwrap();
    let ttl = ttl.split(';').next().unwrap().trim().parse::<u64>().unwrap();
    assert!(ttl > 1_000_000, "{}", status(&hit));
}

#[tokio::test]
async fn when_the_one_who_asks_fails_another_tries() {
    let origin = Origin::start(|_, n| match n {
        1 => vec![
            b"HTTP/1.1 200 X\r\ncontent-length: 10\r\ncache-control: max-age=9\r\n\r\n01".to_vec(),
            Vec::new(),
        ],
        _ => answer(200, FRESH, "0123456789"),
    })
    .await;
    let ravelin = Arc::new(before(&origin, "true"));
    let own = Arc::clone(&ravelin);
    let first = tokio::spawn(async move { http1(own.plain(), get("a", "/x")).await });
    eventually("the first has asked", || origin.asked().len() == 1).await;
    let own = Arc::clone(&ravelin);
    let second = tokio::spawn(async move { ask(&own, get("a", "/x")).await });
    origin.go(1);
    assert_eq!(first.await.unwrap().unwrap().status(), 502, "it broke off before it was whole");
    assert_eq!(second.await.unwrap().text(), "0123456789");
}

/// Before `origin`, where every call of upstream counts.
fn counted(origin: &Origin) -> Ravelin {
    let config = config_before(&format!("http://{}", origin.address()));
    let config = config.replace("to: up", "to: up, retry: never, cache: true");
    let config = config
        .replace("workers: 1", "workers: 2")
        .replace("endpoints:", "health: \"off\", endpoints:");
    Ravelin::start(&config)
}

/// So many clients at once, all of whom have come before upstream answers the first.
async fn crowd(ravelin: &Arc<Ravelin>, origin: &Origin, size: usize, asked: usize) -> Vec<Answer> {
    let asking = (0..size).map(|_| {
        let ravelin = Arc::clone(ravelin);
        tokio::spawn(async move { ask(&ravelin, get("a", "/x")).await })
    });
    let asking: Vec<_> = asking.collect();
    let all = || ravelin.metric("ravelin_requests_in_flight") >= size as f64;
    eventually("all have come", || origin.asked().len() == asked && all()).await;
    origin.go(size);
    let mut answers = Vec::new();
    for one in asking {
        answers.push(within(10.0, "an answer", one).await.unwrap());
    }
    answers
}

fn held(whole: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let (head, rest) = whole[0].split_at(9);
    vec![head.to_vec(), rest.to_vec()]
}

#[tokio::test]
async fn a_failing_upstream_is_asked_twice_for_a_crowd() {
    let origin = Origin::start(|_, _| held(answer(500, "", "broken"))).await;
    let ravelin = Arc::new(counted(&origin));
    let answers = crowd(&ravelin, &origin, 60, 1).await;
    let asked = origin.asked().len();
    // One asks, and another once more; who comes behind all of that, on a busy machine, begins anew.
    assert!((2..=6).contains(&asked), "{asked} were asked for a crowd of 60");
    let own = answers.iter().filter(|answer| (answer.status(), answer.text()) == (500, "broken"));
    assert_eq!(own.count(), asked);
    let told = answers.iter().filter(|answer| answer.status() == 503);
    assert_eq!(told.count(), 60 - asked);
}

#[tokio::test]
async fn a_crowd_is_served_what_is_stale_when_the_one_who_asks_is_failed() {
    let origin = Origin::start(|_, n| match n {
        1 => answer(200, "cache-control: max-age=0, stale-if-error=60\r\netag: \"v\"\r\n", "old"),
        _ => held(answer(503, "", "broken")),
    })
    .await;
    let ravelin = Arc::new(counted(&origin));
    assert_eq!(ask(&ravelin, get("a", "/x")).await.text(), "old");
    let answers = crowd(&ravelin, &origin, 60, 2).await;
    assert!(answers.iter().all(|answer| (answer.status(), answer.text()) == (200, "old")));
    assert!(answers.iter().all(|answer| status(answer).ends_with("detail=stale-if-error")));
    assert_eq!(origin.asked().len(), 2, "one has asked for all");
}

#[tokio::test]
async fn what_is_too_large_or_of_unknown_length_comes_through_whole() {
    let size = 3 << 20;
    let origin = Origin::start(move |head, _| {
        if head.contains("/sized") {
            return answer(200, FRESH, vec![b'x'; size]);
        }
        // Until the end of the connection.
        let head = format!("HTTP/1.1 200 X\r\n{FRESH}connection: close\r\n\r\n");
        let length = if head.contains("/small") { 1_000 } else { size };
        vec![[head.as_bytes(), &vec![b'y'; length]].concat()]
    })
    .await;
    let config = config_before(&format!("http://{}", origin.address()));
    let config = config.replace("to: up", "to: up, cache: true");
    let ravelin = Ravelin::start(&format!("{config}cache: {{memory: 4MiB}}\n"));
    for (path, detail) in [("/sized", "detail=too-large"), ("/open", "stored")] {
        let answer = ask(&ravelin, get("a", path)).await;
        assert_eq!(answer.body.len(), size, "{path}");
        assert!(status(&answer).contains(detail), "{}", status(&answer));
        let again = ask(&ravelin, get("a", path)).await;
        assert_eq!(again.body.len(), size);
        assert!(!status(&again).contains("hit"), "{}", status(&again));
    }
}

/// An origin whose answers are stale at once, in three ways.
fn stale_at_once(head: &str, n: usize) -> Vec<Vec<u8>> {
    if head.contains("if-none-match: \"v\"") {
        return answer(304, "etag: \"v\"\r\ncache-control: max-age=60\r\nx-new: 1\r\n", "");
    }
    let how = match (head.contains("/etag"), head.contains("/error")) {
        (true, _) => "max-age=0\r\netag: \"v\"",
        (_, true) if n > 1 => return Vec::new(),
        (_, true) => "max-age=0, stale-if-error=60\r\netag: \"w\"",
        _ if n == 1 => "max-age=0, stale-while-revalidate=60\r\netag: \"x\"",
        _ => "max-age=60",
    };
    answer(200, &format!("cache-control: {how}\r\n"), n.to_string())
}

#[tokio::test]
async fn a_stale_answer_is_confirmed_covers_an_error_or_is_renewed_behind_the_client() {
    for (path, expected) in [
        ("/etag", "Ravelin; fwd=stale; fwd-status=304; ttl=60; stored"),
        ("/error", "Ravelin; fwd=stale; ttl=0; detail=stale-if-error"),
        ("/behind", "Ravelin; hit; ttl=0"),
    ] {
        let origin = Origin::start(stale_at_once).await;
        let ravelin = before(&origin, "true");
        ask(&ravelin, get("a", path)).await;
        let second = ask(&ravelin, get("a", path)).await;
        assert_eq!((status(&second), second.text()), (expected, "1"), "{path}");
        let ask_again = async || ask(&ravelin, get("a", path)).await;
        match path {
            "/etag" => {
                assert_eq!(second.header("x-new"), "1");
                assert!(status(&ask_again().await).contains("hit"));
            }
            "/behind" => {
                let renewed = until(ask_again, |answer| answer.text() == "2").await;
                assert!(status(&renewed).contains("hit"), "{}", status(&renewed));
                assert_eq!(origin.asked().len(), 2);
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_write_or_a_purge_makes_it_be_asked_for_again() {
    let origin = Origin::start(|_, n| answer(200, FRESH, n.to_string())).await;
    let ravelin = before(&origin, "true");
    assert_eq!(ask(&ravelin, get("a", "/x")).await.text(), "1");
    assert_eq!(ask(&ravelin, faults::post("a", "/x", "data")).await.text(), "2");
    assert_eq!(ask(&ravelin, get("a", "/x")).await.text(), "3");
    // A host has no case, and what is no address is told so.
    let purge = Request::post("http://admin/purge?url=nonsense").body(Bytes::new()).unwrap();
    assert_eq!(http1(ravelin.admin(), purge).await.unwrap().status(), 400);
    let purge = Request::post("http://admin/purge?url=HTTP://A:80/x").body(Bytes::new()).unwrap();
    let purged = http1(ravelin.admin(), purge).await.unwrap();
    assert_eq!(purged.text(), "1 purged\n");
    assert_eq!(ask(&ravelin, get("a", "/x")).await.text(), "4");
    let only = with(get("a", "/y"), "cache-control", "only-if-cached");
    assert_eq!(ask(&ravelin, only).await.status(), 504);
    let page = with(get("a", "/purge?all"), "origin", "https://evil.test");
    let (mut head, body) = page.into_parts();
    head.method = http::Method::POST;
    let refused = http1(ravelin.admin(), Request::from_parts(head, body)).await.unwrap();
    assert_eq!(refused.status(), 403);
}

/// A file server answers a POST with the file; whoever may send one must not be able to empty the
/// cache (RFC 9111 §4.4: only what was not refused invalidates at all).
#[tokio::test]
async fn files_outlive_unsafe_methods_and_nothing_is_forgotten_for_a_refused_one() {
    let origin = Origin::start(|head, n| {
        let refused = head.starts_with("post /refused");
        answer(if refused { 405 } else { 200 }, FRESH, n.to_string())
    })
    .await;
    for (cache, path, kept) in [
        ("true", "/refused", true),
        ("true", "/written", false),
        ("{app: /app}", "/app/main.js", true),
        ("{app: /app}", "/other", false),
    ] {
        let ravelin = before(&origin, cache);
        let first = ask(&ravelin, get("a", path)).await;
        let method = ask(&ravelin, faults::post("a", path, "data")).await;
        assert!(status(&method).starts_with("Ravelin; fwd=method"), "{}", status(&method));
        let again = ask(&ravelin, get("a", path)).await;
        assert_eq!(again.text() == first.text(), kept, "{cache} {path}");
    }
}

#[tokio::test]
async fn a_script_is_coded_at_its_first_asking_and_better_afterwards() {
    let script: String = (0..6_000).map(|i| format!("const value{i} = call({i});\n")).collect();
    let body = script.clone();
    let fields = "cache-control: max-age=60\r\ncontent-type: text/javascript\r\n";
    let origin = Origin::start(move |_, _| answer(200, fields, &body)).await;
    let ravelin = before(&origin, "true");
    let wants = || with(get("a", "/main.js"), "accept-encoding", "gzip, br");
    let first = ask(&ravelin, wants()).await;
    assert_eq!((first.header("content-encoding"), first.header("vary")), ("br", "Accept-Encoding"));
    assert_eq!(decoded(&first.body), script);
    assert!(first.body.len() < script.len() / 4);
    let made = async || {
        let made = ravelin.metric("ravelin_cache_variants_total");
        (made, ravelin.metric("ravelin_cache_variants_pending"))
    };
    until(made, |made| *made == (3.0, 0.0)).await;
    let best = ask(&ravelin, wants()).await;
    assert!(best.header("etag").contains("-br-"), "{}", best.header("etag"));
    assert_eq!(decoded(&best.body), script);
    assert!(best.body.len() <= first.body.len(), "{} {}", best.body.len(), first.body.len());
    assert_eq!(best.header("content-length"), best.body.len().to_string());
    let plain = ask(&ravelin, get("a", "/main.js")).await;
    assert_eq!((plain.text(), plain.header("content-encoding")), (&*script, ""));
    assert_ne!(plain.header("etag"), best.header("etag"));
    let known = with(wants(), "if-none-match", best.header("etag"));
    assert_eq!(ask(&ravelin, known).await.status(), 304);
    assert_eq!(origin.asked().len(), 1);
    assert_eq!(ravelin.metric("ravelin_cache_variants_pending"), 0.0);
    assert!(ravelin.metric("ravelin_cache_coding_saved_bytes_total") > script.len() as f64 / 2.0);
}

fn decoded(body: &[u8]) -> String {
    let mut text = String::new();
    brotli::Decompressor::new(body, 4096).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn zitadel_s_files_are_kept_and_its_pages_are_not() {
    let standin = standin().await;
    let ravelin = Ravelin::start(&format!(
        "workers: 1\nlisteners: [{{name: plain, address: \"127.0.0.1:0\"}}]\n\
         zitadel: {{upstream: \"h2c://{0}\", domain: [localhost, other.test], login: \"http://{0}\"}}\n\
         admin: {{address: \"127.0.0.1:0\"}}\naccess_log: {{format: \"off\"}}\n",
        standin.address()
    ));
    let twice = async |request: fn() -> Request<Bytes>| {
        let first = ask(&ravelin, request()).await;
        assert!(first.status() < 500, "{first:?}");
        ask(&ravelin, request()).await
    };
    let page = twice(|| with(get("localhost", "/ui/console/"), "cookie", "a=b")).await;
    assert!(status(&page).contains("hit"), "{page:?}");
    assert!(page.header("content-security-policy").contains("localhost"));
    let other = twice(|| get("other.test", "/ui/console/")).await;
    assert!(other.header("content-security-policy").contains("other.test"), "{other:?}");
    for request in [
        (|| get("localhost", "/ui/console/assets/environment.json")) as fn() -> Request<Bytes>,
        || get("localhost", "/ui/console/missing.js"),
        || get("localhost", "/ui/login/loginname"),
        || get("localhost", "/oauth/v2/keys"),
        || with(get("localhost", "/ui/console/"), "authorization", "Bearer x"),
        || faults::post("localhost", "/ui/console/", ""),
    ] {
        let answer = twice(request).await;
        assert!(!status(&answer).contains("hit"), "{answer:?}");
    }
    let page = ask(&ravelin, get("localhost", "/ui/console/")).await;
    assert!(
        status(&page).contains("hit"),
        "the POSTs, which were answered, have emptied it: {page:?}"
    );
}

/// What the cache does not keep is coded by the route's `compress`; what it keeps has its own codings.
#[tokio::test]
async fn what_only_passes_is_coded_on_its_way() {
    let text: String = (0..2_000).map(|i| format!("{{\"value\": {i}}},\n")).collect();
    let body = text.clone();
    let origin = Origin::start(move |head, _| {
        let life = if head.contains(" /kept ") { "max-age=60" } else { "no-store" };
        let kind = "application/json\r\netag: \"v\"";
        answer(200, &format!("cache-control: {life}\r\ncontent-type: {kind}\r\n"), &body)
    })
    .await;
    let ravelin = before(&origin, "true, compress: on");
    let wants = |path| with(get("a", path), "accept-encoding", "br");
    for request in [
        wants("/passes"),
        // The second time it is known not to be worth waiting for.
        wants("/passes"),
        with(wants("/kept"), "authorization", "Bearer x"),
        with(faults::post("a", "/kept", "data"), "accept-encoding", "br"),
    ] {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = ask(&ravelin, request).await;
        assert!(status(&answer).contains("fwd=") && !status(&answer).contains("stored"), "{what}");
        assert_eq!(answer.header("content-encoding"), "br", "{what}");
        assert_eq!((answer.header("vary"), answer.header("etag")), ("Accept-Encoding", "W/\"v\""));
        assert_eq!(decoded(&answer.body), text, "{what}");
    }
    ask(&ravelin, wants("/kept")).await;
    let hit = ask(&ravelin, wants("/kept")).await;
    assert!(status(&hit).contains("hit"), "{}", status(&hit));
    assert!(hit.header("etag").starts_with('"'), "coded by the cache: {}", hit.header("etag"));
    assert_eq!((hit.header("content-encoding"), &*decoded(&hit.body)), ("br", &*text));
}
