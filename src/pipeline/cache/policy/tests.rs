use http::HeaderValue;

use super::*;
use crate::message::FieldName;

/// 6 Nov 1994 08:49:37.
const NOW: Seconds = 784_111_777;

fn headers(fields: &[(&'static str, &str)]) -> Fields {
    let mut map = Fields::new();
    for (name, value) in fields {
        map.append(FieldName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn kept(status: u16, fields: &[(&'static str, &str)]) -> Result<(u64, u64), Why> {
    let status = StatusCode::from_u16(status).unwrap();
    keep(&CachePlan::default(), "/x", status, &headers(fields), NOW)
        .map(|(life, age)| (life.fresh.as_secs(), age.as_secs()))
}

#[test]
fn a_lifetime_comes_from_the_first_that_says_one() {
    let date =
        |offset: i64| date::value(NOW.saturating_add_signed(offset)).to_str().unwrap().to_owned();
    let (past, soon, made) = (date(-7200), date(3600), date(0));
    for (fields, expected) in [
        (&[("cache-control", "max-age=60")][..], Ok((60, 0))),
        (&[("cache-control", "max-age=60, s-maxage=5")][..], Ok((5, 0))),
        (&[("cache-control", "max-age=0, s-maxage=300"), ("expires", &past)], Ok((300, 0))),
        (&[("cache-control", "max-age=60"), ("expires", "0")], Ok((60, 0))),
        (&[("expires", &soon)], Ok((3600, 0))),
        (&[("expires", &soon), ("date", &past)], Ok((10_800, 7200))),
        (&[("expires", &soon), ("date", "foo")], Ok((3600, 0))),
        (&[("expires", &past), ("date", &made)], Err("stale")),
        (&[("expires", "0")], Err("stale")),
        (&[("expires", "Sun, 06 Nov 1994 10:49:37 GMT")], Ok((7200, 0))),
        (&[("expires", "Sun, 06 Nov 1994 10:49:37 UTC")], Err("stale")),
        (&[("cdn-cache-control", "max-age=60"), ("expires", "0")], Ok((60, 0))),
        (&[("cdn-cache-control", "max-age=60"), ("cache-control", "no-store")], Ok((60, 0))),
        (&[("cdn-cache-control", "no-store"), ("cache-control", "max-age=60")], Err("no-store")),
        (&[("cdn-cache-control", "foo"), ("expires", &soon)], Err("silent")),
        (&[("cdn-cache-control", "max-age=60,"), ("cache-control", "no-store")], Err("no-store")),
        (&[("cache-control", "max-age=60, no-store, must-understand")], Ok((60, 0))),
        (&[("cache-control", "max-age=0"), ("expires", &soon)], Err("stale")),
        (&[("cache-control", "max-age=-1")], Err("stale")),
        (&[], Err("silent")),
        (&[("last-modified", &past)], Ok((0, 0))),
    ] {
        assert_eq!(kept(200, fields), expected, "{fields:?}");
    }
}

#[test]
fn an_age_is_what_upstream_says_or_the_clocks_say() {
    let long_ago = date::value(NOW - 7200);
    for (fields, age) in [
        (&[("age", "30")][..], 30),
        (&[("date", long_ago.to_str().unwrap())], 7200),
        (&[("date", long_ago.to_str().unwrap()), ("age", "9000")], 9000),
        (&[("age", "abc")], 1 << 31),
        (&[("age", "-1")], 1 << 31),
        (&[("age", "7200, 0")], 1 << 31),
        (&[("age", "0"), ("age", "0")], 1 << 31),
    ] {
        let fields = [fields, &[("cache-control", "max-age=99999999")]].concat();
        assert_eq!(kept(200, &fields).unwrap().1, age, "{fields:?}");
    }
}

#[test]
fn what_says_no_is_not_kept() {
    let fresh = ("cache-control", "max-age=60");
    for (status, field, expected) in [
        (200, ("cache-control", "no-store"), Err("no-store")),
        (200, ("cache-control", "private"), Err("private")),
        (200, ("cache-control", "private=\"a\""), Err("private")),
        (200, ("cache-control", "no-cache"), Err("stale")),
        (200, ("vary", "*"), Err("vary")),
        (200, ("set-cookie", "a=b"), Err("set-cookie")),
        (206, ("content-range", "bytes 0-1/2"), Err("partial")),
        (304, ("etag", "\"a\""), Err("status")),
        (599, ("cache-control", "must-understand"), Err("status")),
        (200, ("cache-control", "must-understand"), Ok((60, 0))),
        (299, ("x", "y"), Ok((60, 0))),
        (404, ("x", "y"), Ok((60, 0))),
        (503, ("x", "y"), Ok((60, 0))),
    ] {
        assert_eq!(kept(status, &[fresh, field]), expected, "{status} {field:?}");
    }
}

#[test]
fn what_has_a_validator_is_kept_to_be_asked_about() {
    let etag = ("etag", "\"a\"");
    assert_eq!(kept(200, &[etag]), Ok((0, 0)));
    assert_eq!(kept(404, &[etag]), Err("silent"));
    let all = [etag, ("cache-control", "no-cache, max-age=60")];
    let (life, _) = keep(&CachePlan::default(), "/x", StatusCode::OK, &headers(&all), NOW).unwrap();
    assert!(life.no_cache);
}

#[test]
fn errors_are_kept_only_where_they_say_so_and_the_route_lets_them() {
    assert_eq!(kept(404, &[]), Err("silent"));
    let plan = CachePlan { errors: false, ..CachePlan::default() };
    let says = headers(&[("cache-control", "public, max-age=60")]);
    assert_eq!(keep(&plan, "/x", StatusCode::NOT_FOUND, &says, NOW), Err("status"));
}

#[test]
fn a_guess_is_made_only_where_it_is_asked_for() {
    let plan = CachePlan { heuristic: true, ..CachePlan::default() };
    let changed = date::value(NOW - 1000);
    for (status, fields, fresh) in [
        (200, &[][..], 100),
        (404, &[], 100),
        (403, &[], 0),
        (599, &[], 0),
        (599, &[("cache-control", "public")], 100),
        (200, &[("cache-control", "no-cache")], 0),
    ] {
        let fields = headers(&[fields, &[("last-modified", changed.to_str().unwrap())]].concat());
        let status = StatusCode::from_u16(status).unwrap();
        let (life, _) = life(&plan, &Answer::of(&fields), status, &fields, NOW);
        assert_eq!(life.fresh.as_secs(), fresh, "{status} {fields:?}");
    }
}
