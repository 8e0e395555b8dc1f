use super::*;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn life(fresh: u64, no_cache: bool) -> Life {
    Life {
        fresh: s(fresh),
        no_cache,
        strict: true,
        shared: true,
        while_revalidating: s(0),
        if_error: None,
    }
}

#[test]
fn what_an_upgrade_makes_untrue_is_asked_for_at_it_and_when_it_has_settled() {
    let changed = Instant::now() + s(1000);
    let at = |offset: i64| match u64::try_from(offset) {
        Ok(later) => changed + s(later),
        Err(_) => changed - s(offset.unsigned_abs()),
    };
    for (since, now, expected) in [
        (-1, 0, true),
        (0, 0, false),
        (10, 200, false),
        (10, 300, true),
        (-1, 10_000, true),
        (300, 300, false),
        (301, 10_000, false),
    ] {
        assert_eq!(outdated(changed, at(since), at(now)), expected, "{since} {now}");
    }
}

#[test]
fn only_files_that_are_there_last_for_ever() {
    for (status, kind, no_cache, expected) in [
        (200, "text/javascript", false, FOREVER),
        (200, "Text/HTML; charset=utf-8", false, s(60)),
        (404, "text/plain", false, s(60)),
        (200, "text/css", true, s(60)),
    ] {
        let mut headers = Fields::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
        headers.insert(EXPIRES, HeaderValue::from_static("0"));
        headers.insert("cdn-cache-control", HeaderValue::from_static("max-age=60"));
        let status = StatusCode::from_u16(status).unwrap();
        let (life, _) = lasting(status, &mut headers, (life(60, no_cache), s(7)));
        assert_eq!(life.fresh, expected, "{status} {kind}");
        let immutable = headers[CACHE_CONTROL].to_str().unwrap().ends_with(", immutable");
        assert_eq!((immutable, !headers.contains_key(EXPIRES)), (expected == FOREVER, immutable));
        assert_eq!(headers.contains_key("cdn-cache-control"), !immutable, "{status} {kind}");
    }
}

#[test]
fn a_path_is_a_piece_of_an_application_or_none() {
    let store = StorePlan::default();
    let plan = CachePlan { app: Some("/ui/console".into()), ..CachePlan::default() };
    for (path, expected) in [
        ("/ui/console", Some(Piece::Page)),
        ("/ui/console/", Some(Piece::Page)),
        ("/ui/console/users/1", Some(Piece::Page)),
        ("/ui/console/main.a7aea975099f25cf.js", Some(Piece::Hashed)),
        ("/ui/console/assets/i18n/en.json", Some(Piece::Plain)),
        ("/ui/consoles/", None),
        ("/assets/main.a7aea975099f25cf.js", None),
    ] {
        assert_eq!(piece(&store, &plan, path), expected, "{path}");
    }
    let off = StorePlan { generations: None, ..store.clone() };
    assert_eq!(piece(&off, &plan, "/ui/console/"), None);
    assert_eq!(piece(&store, &CachePlan::default(), "/ui/console/"), None);
}

#[test]
fn a_generation_begins_with_another_index_and_its_files_go_in_time() {
    let (app, plan, start) = (App::default(), StorePlan::default(), Instant::now());
    let html = "<script src=a.js type=module></script><script src=b.js></script><link rel=stylesheet href=c.css>";
    app.meet(&plan, &[1; 32], html, "/c/", start);
    let now = app.now();
    let hints: Vec<_> = now.links.iter().map(|link| link.to_str().unwrap()).collect();
    assert_eq!(
        hints,
        [
            "</c/a.js>; rel=modulepreload",
            "</c/b.js>; rel=preload; as=script",
            "</c/c.css>; rel=preload; as=style"
        ]
    );
    assert!(!app.outdates(start - s(1), start), "the first makes nothing untrue");
    let origin = Origin { host: HeaderValue::from_static("a"), authority: None, https: true };
    assert!(app.greet(&origin) && !app.greet(&origin));
    for path in ["/c/old.js", "/c/both.js"] {
        app.has(&[1; 32], path);
    }
    app.meet(&plan, &[1; 32], html, "/c/", start + s(5));
    assert!(app.earlier().is_empty(), "the same index is the same generation");
    app.meet(&plan, &[2; 32], html, "/c/", start + s(10));
    assert!(app.greet(&origin), "another generation");
    app.has(&[2; 32], "/c/both.js");
    app.has(&[1; 32], "/c/late.js");
    assert!(app.outdates(start, start + s(10)) && app.earlier().len() == 2);
    assert!(app.lapsed(start + s(86_409)).is_empty());
    assert_eq!(app.lapsed(start + s(86_410)), HashSet::from(["/c/old.js".to_owned()]));
    let quiet = StorePlan { early_hints: false, ..plan };
    app.meet(&quiet, &[3; 32], html, "/c/", start);
    assert!(app.now().links.is_empty());
}

#[test]
fn a_generation_that_is_retired_leaves_what_others_have() {
    let (app, plan, start) = (App::default(), StorePlan::default(), Instant::now());
    let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<HashSet<_>>();
    for (index, files) in
        [(1, ["/1.js", "/all.js"]), (2, ["/2.js", "/all.js"]), (3, ["/3.js", "/all.js"])]
    {
        app.meet(&plan, &[index; 32], "", "/", start);
        files.iter().for_each(|path| app.has(&[index; 32], path));
    }
    let name = |index: u8| format!("{index:02x}").repeat(6);
    let one = |index| Which::One(name(index));
    assert_eq!(app.ids(), [name(3), name(2), name(1)]);
    assert_eq!(app.retire(&one(9)), None);
    assert_eq!(app.retire(&one(1)), Some(set(&["/1.js"])));
    assert_eq!(app.retire(&one(1)), None, "once");
    assert_eq!(app.retire(&one(3)), Some(set(&["/3.js"])), "the one that is served stays known");
    assert_eq!(app.retire(&Which::Earlier), Some(set(&["/2.js"])));
    assert_eq!((app.ids(), app.retire(&Which::Earlier)), (vec![name(3)], Some(set(&[]))));
}
