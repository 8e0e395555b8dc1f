use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::*;
use crate::message::{FieldName, Fields};
use crate::pipeline::cache::content::{self, Coded};
use crate::pipeline::cache::directives::Answer;
use crate::pipeline::cache::entry::Source;
use crate::pipeline::cache::policy;
use crate::pipeline::cache::sites::CHOICES;
use crate::pipeline::coding::{Coding, Level};
use crate::pipeline::plan::CachePlan;

fn store(memory: u64) -> Arc<Store> {
    Store::new(StorePlan { memory, ..StorePlan::default() })
}

fn key(host: &str, path: &str) -> String {
    format!("https://{host}{path}")
}

fn headers(fields: &[(&'static str, &str)]) -> Fields {
    let field = |(name, value): &(&'static str, &str)| {
        (FieldName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    fields.iter().map(field).collect()
}

fn head(store: &Store, request: &[(&'static str, &str)], answer: &[(&'static str, &str)]) -> Head {
    let (request, answer) = (headers(request), headers(answer));
    let life =
        policy::life(&CachePlan::default(), &Answer::of(&answer), StatusCode::OK, &answer, 0);
    let source = Arc::new(Source { route: "r".into(), print: 0 });
    let came = (Instant::now(), 0);
    store.shared(Head::new(&source, &request, StatusCode::OK, answer, life, came))
}

fn keep(store: &Arc<Store>, host: &str, path: &str, body: &[u8], fields: &[(&'static str, &str)]) {
    let content = Content::new(content::hash(body), Bytes::copy_from_slice(body), Box::default());
    let content = store.put_content(content);
    let head = head(store, &[], fields);
    store.put(&key(host, path), Arc::new(Entry::new(head, &content)));
}

/// What ZITADEL says of a Console file, its policy in some order.
fn console(host: &str, turn: usize) -> Vec<(&'static str, String)> {
    let mut policy = [
        "default-src 'none'".to_owned(),
        format!("connect-src 'self' {host}"),
        format!("img-src 'self' {host} blob:"),
        "script-src 'self' 'unsafe-eval'".to_owned(),
        "style-src 'self' 'unsafe-inline'".to_owned(),
        "frame-ancestors 'none'".to_owned(),
    ];
    policy.rotate_left(turn % 6);
    let mut fields: Vec<(&'static str, String)> = [
        ("cache-control", "public, max-age=43200, s-maxage=604800"),
        ("content-type", "text/javascript; charset=utf-8"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("expires", "Sun, 06 Nov 1994 20:49:37 GMT"),
        ("strict-transport-security", "max-age=31536000; includeSubDomains"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    fields.push(("content-security-policy", policy.join("; ")));
    fields
}

fn borrowed<'a>(fields: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    fields.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[test]
fn a_thousand_hosts_of_one_console_cost_little_more_than_one() {
    let store = store(512 << 20);
    // The first screen of the real Console (zitadel.md §13.3): 10.1 MB in 8 files, main.js most of it.
    let files: Vec<Vec<u8>> =
        (0..8_u8).map(|i| vec![i; if i == 0 { 9_100_000 } else { 143_000 }]).collect();
    let serve = |host: &str, turn: usize| {
        for (i, file) in files.iter().enumerate() {
            let fields = console(host, turn + i);
            keep(&store, host, &format!("/ui/console/{i}.js"), file, &borrowed(&fields));
        }
    };
    serve("host-0.example.com", 0);
    let one = store.used();
    for i in 1..1_000 {
        serve(&format!("host-{i}.example.com"), i);
    }
    let all = store.used();
    assert_eq!(store.items(), 8 + 8);
    let heads = (all - one) / (999 * 8);
    assert!(heads < 280, "a head costs {heads} bytes");
    // Each host has its own policy all the same.
    for i in [0, 500, 999] {
        let host = format!("host-{i}.example.com");
        let entries = store.entries(&key(&host, "/ui/console/3.js")).unwrap();
        let policy = entries.as_slice()[0].head.headers()["content-security-policy"].clone();
        let policy = policy.to_str().unwrap();
        assert!(policy.contains(&format!("connect-src 'self' {host};")) || policy.ends_with(&host));
        assert_eq!(policy.matches("host-").count(), 2, "{policy}");
    }
}

#[test]
fn what_is_kept_again_weighs_what_it_weighed() {
    let store = store(1 << 20);
    let fields = console("a.test", 0);
    let fields = borrowed(&fields);
    keep(&store, "a.test", "/x", b"body", &fields);
    let before = store.used();
    for _ in 0..3 {
        keep(&store, "a.test", "/x", b"body", &fields);
        assert_eq!(store.used(), before);
    }
    let other: Vec<_> = fields.iter().filter(|(name, _)| *name != "expires").copied().collect();
    keep(&store, "a.test", "/x", b"body", &other);
    assert!(store.used() <= before, "what is shared no more weighs no more");
    // Another host brings nothing but what is new with every answer, once.
    let asked = |n: usize| {
        let id = n.to_string();
        keep(&store, "b.test", "/x", b"body", &[&other[..], &[("x-request-id", &id)]].concat());
        store.used()
    };
    let both = asked(11);
    assert!((12..20).all(|n| asked(n) == both));
}

#[test]
fn what_is_kept_comes_back_as_it_came() {
    let store = store(1 << 20);
    let fields = console("a.test", 2);
    let fields = borrowed(&fields);
    keep(&store, "a.test", "/x", b"body", &fields);
    let entries = store.entries(&key("a.test", "/x")).unwrap();
    let entry = &entries.as_slice()[0];
    assert_eq!(entry.head.headers(), headers(&fields));
    assert_eq!(store.content(&entry.body).unwrap().plain, "body");
}

#[test]
fn answers_of_one_address_are_told_apart_by_what_they_were_chosen_by() {
    let store = store(1 << 20);
    let content = store.put_content(Content::new(
        content::hash(b"x"),
        Bytes::from_static(b"x"),
        Box::default(),
    ));
    for (language, tag) in [("en", "\"1\""), ("de", "\"2\""), ("en", "\"3\"")] {
        let fields = [("vary", "Accept-Language"), ("etag", tag)];
        let head = head(&store, &[("accept-language", language)], &fields);
        store.put(&key("a", "/"), Arc::new(Entry::new(head, &content)));
    }
    let entries = store.entries(&key("a", "/")).unwrap();
    let tags: Vec<_> = entries.as_slice().iter().map(|e| e.head.tag.clone().unwrap()).collect();
    assert_eq!(tags, ["\"3\"", "\"2\""], "the newest first, and each once");
    for i in 0..40 {
        let head = head(&store, &[("x", &i.to_string())], &[("vary", "x")]);
        store.put(&key("a", "/"), Arc::new(Entry::new(head, &content)));
    }
    assert_eq!(store.entries(&key("a", "/")).unwrap().as_slice().len(), CHOICES);
}

#[test]
fn what_is_used_least_recently_goes_first() {
    let store = store(1 << 20);
    let body = |i: u8| vec![i; 200_000];
    for i in 0..4 {
        keep(&store, "a", &format!("/{i}"), &body(i), &[]);
    }
    store.used();
    let first = content::hash(&body(0));
    assert!(store.content(&first).is_some());
    for i in 4..8 {
        keep(&store, "a", &format!("/{i}"), &body(i), &[]);
        assert!(store.content(&first).is_some(), "in use");
        assert!(store.used() <= 1 << 20);
    }
    assert!(store.content(&content::hash(&body(1))).is_none());
    assert!(store.evicted() >= 3);
}

#[test]
fn variants_are_weighed_and_the_better_one_stays() {
    let store = store(1 << 20);
    let plain = vec![b'a'; 100_000];
    let hash = content::hash(&plain);
    store.put_content(Content::new(hash, plain.clone().into(), Box::default()));
    let before = store.used();
    let variant = |level, size| {
        let coded = Coded::new(&hash, Coding::Brotli, vec![0; size].into(), &[size as u8; 32]);
        Variant { coding: Coding::Brotli, level, coded: Some(coded) }
    };
    store.put_variant(&hash, &variant(Level::Fast, 50_000));
    assert_eq!(store.used() - before, 50_000);
    store.put_variant(&hash, &variant(Level::Best, 30_000));
    store.put_variant(&hash, &variant(Level::Fast, 50_000));
    assert_eq!(store.used() - before, 30_000);
    // The same body again, from another host or a new asking: nothing is made anew.
    let again = store.put_content(Content::new(hash, plain.into(), Box::default()));
    assert_eq!(again.variant(Coding::Brotli).unwrap().bytes.len(), 30_000);
    store.put_variant(&content::hash(b"gone"), &variant(Level::Best, 10));
    assert_eq!(store.items(), 1, "a body that is gone does not come back as a variant");
}

#[test]
fn purging_is_by_address_host_or_all() {
    let store = store(1 << 20);
    let fill = || {
        for (host, path) in [("a:1", "/x?y"), ("a:1", "/z"), ("a", "/x"), ("ab", "/x"), ("b", "/")]
        {
            keep(&store, host, path, host.as_bytes(), &[]);
        }
    };
    for (purge, gone) in [
        (Purge::Address("https://a:1/x?y".into()), 1),
        (Purge::Address("HTTPS://A:1/x?y".into()), 1),
        (Purge::Address("https://a:1/X?y".into()), 0),
        (Purge::Address("https://a/".into()), 0),
        (Purge::Host("A".into()), 3),
        (Purge::Host("a:1".into()), 2),
        (Purge::Host("c".into()), 0),
        (Purge::All, 5),
    ] {
        fill();
        assert_eq!(store.purge(&purge), gone, "{purge:?}");
    }
    assert_eq!(store.used(), 0, "bodies too");
    fill();
    // The scheme's own port is none, written or not.
    assert_eq!(store.purge(&Purge::Address("https://a:443/x".into())), 1);
    assert_eq!(store.purge(&Purge::Host("B:443".into())), 1);
}

#[test]
fn what_is_on_its_way_in_is_bounded() {
    let store = store(4 << 20);
    assert!(store.reserve((1 << 20) + 1).is_none(), "above its share");
    let held: Vec<_> = (0..4).map(|_| store.reserve(1 << 20).unwrap()).collect();
    assert!(store.reserve(1).is_none(), "too much is on its way");
    drop(held);
    let growing = store.reserve(0).unwrap();
    assert!(growing.grow(1 << 20) && !growing.grow(1));
}

#[test]
fn a_path_of_too_many_hosts_keeps_the_newest() {
    let store = store(1 << 20);
    for i in 0..2_000 {
        keep(&store, &format!("host-{i}.example.com"), "/", b"x", &[("x", "y")]);
    }
    let sites =
        (0..2_000).filter(|i| store.entries(&key(&format!("host-{i}.example.com"), "/")).is_some());
    let sites: Vec<_> = sites.collect();
    assert!(sites.len() > 500 && sites.len() < 1_500, "{}", sites.len());
    assert_eq!(sites.last(), Some(&1_999));
    assert!(store.used() <= (1 << 20) / 4 + 4_096, "{}", store.used());
}

#[test]
fn an_address_is_a_site_and_a_path() {
    for (address, expected) in [
        ("https://a:1/x?y/z", ("https://a:1", "/x?y/z")),
        ("https://a?x", ("https://a", "?x")),
        ("https://a", ("https://a", "")),
        ("a/x", ("a", "/x")),
    ] {
        assert_eq!(split(address), expected, "{address}");
    }
}
