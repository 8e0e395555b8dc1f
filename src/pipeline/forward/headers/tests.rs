use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn map(fields: &[(&str, &str)]) -> Fields {
    let mut headers = Fields::new();
    for (name, value) in fields {
        headers.append(FieldName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn listed(headers: &Fields, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// The request's fields after they passed from `received` to an upstream of HTTP/2 or HTTP/1.1.
fn passed(
    class: Class,
    received: Version,
    upstream_h2: bool,
    fields: &[(&str, &str)],
) -> Result<Fields, Kind> {
    let mut headers = map(fields);
    let identity = Identity::new(Some(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()), true);
    let passage = Passage {
        received,
        upstream_h2,
        class,
        identity: &identity,
        asked: &HeaderValue::from_static("id.example:8443"),
        asked_port: Some(8443),
        authority: &HeaderValue::from_static("zitadel:8080"),
        request_id: Some("r-1"),
    };
    request(&mut headers, &passage).map_err(|error| error.kind())?;
    Ok(headers)
}

fn rest(fields: &[(&str, &str)]) -> Fields {
    passed(Class::Rest, Version::HTTP_11, true, fields).unwrap()
}

#[test]
fn what_the_client_says_about_itself_is_replaced() {
    let headers = rest(&[
        ("x-forwarded-for", "host=evil"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-port", "1"),
        ("forwarded", "host=evil.example"),
        ("x-request-id", "theirs"),
    ]);
    for (name, expected) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "id.example:8443"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "8443"),
        ("x-request-id", "r-1"),
    ] {
        assert_eq!(listed(&headers, name), [expected]);
    }
    assert!(!headers.contains_key("forwarded"));
}

#[test]
fn a_client_without_address_and_port_is_not_invented() {
    let mut headers = map(&[("x-forwarded-for", "10.0.0.1"), ("x-request-id", "theirs")]);
    let asked = HeaderValue::from_static("id.example");
    let identity = Identity::new(None, false);
    let passage = Passage {
        received: Version::HTTP_2,
        upstream_h2: true,
        class: Class::Rest,
        identity: &identity,
        asked: &asked,
        asked_port: None,
        authority: &asked,
        request_id: None,
    };
    request(&mut headers, &passage).unwrap();
    assert!(!headers.contains_key("x-forwarded-for") && !headers.contains_key("x-request-id"));
    assert_eq!(listed(&headers, "x-forwarded-port"), ["80"]);
    assert_eq!(listed(&headers, "x-forwarded-proto"), ["http"]);
}

#[test]
fn one_request_id_goes_on() {
    for ids in [&[][..], &["r-1"], &["r-1", "r-1"], &["r-1", "r-2"], &["r-2"]] {
        let fields: Vec<_> = ids.iter().map(|id| ("x-request-id", *id)).collect();
        assert_eq!(listed(&rest(&fields), "x-request-id"), ["r-1"], "{ids:?}");
    }
}

#[test]
fn what_belongs_to_the_connection_stays_on_it() {
    let headers = rest(&[
        ("connection", "keep-alive, X-Private"),
        ("connection", "upgrade,x-other,@"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABk"),
        ("x-private", "1"),
        ("x-other", "2"),
        ("trailer", "x-sum"),
        ("x_under_score", "3"),
    ]);
    for name in headers.names() {
        assert!(!is_hop_by_hop(name), "{name}");
    }
    assert!(!headers.contains_key("x-private") && !headers.contains_key("x-other"));
    assert!(headers.contains_key("trailer") && headers.contains_key("x_under_score"));
}

#[test]
fn what_upstream_relies_on_cannot_be_nominated_away() {
    let essentials =
        ["content-length", "content-type", "authorization", "cookie", "origin", "x-zitadel-orgid"];
    let mut fields: Vec<_> = essentials.iter().map(|name| (*name, "1")).collect();
    let nominations =
        format!("{}, x-forwarded-for, via, host, x-request-id", essentials.join(", "));
    fields.push(("connection", &nominations));
    let headers = passed(Class::Rest, Version::HTTP_11, false, &fields).unwrap();
    for name in essentials.iter().chain(&["x-forwarded-for", "via", "host", "x-request-id"]) {
        assert!(headers.contains_key(*name), "{name}");
    }
}

#[test]
fn te_goes_on_for_grpc_alone_and_only_when_asked_for() {
    for (kind, goes_on) in [
        ("application/grpc", true),
        ("Application/gRPC+proto", true),
        ("application/grpc;charset=utf-8", true),
        ("application/grpc-web", false),
        ("application/grpc-web-text+proto", false),
        ("application/grpcx", false),
        ("application/json", false),
        ("", false),
    ] {
        let fields = [("te", "gzip;q=1, Trailers"), ("content-type", kind)];
        let headers = passed(Class::Rest, Version::HTTP_2, true, &fields).unwrap();
        let expected: &[&str] = if goes_on { &["trailers"] } else { &[] };
        assert_eq!(listed(&headers, "te"), expected, "{kind}");
    }
    let silent = [("content-type", "application/grpc")];
    assert!(!passed(Class::Grpc, Version::HTTP_2, true, &silent).unwrap().contains_key("te"));
}

#[test]
fn via_grows_and_a_circle_ends() {
    let received = [
        (Version::HTTP_2, "2.0 ravelin"),
        (Version::HTTP_11, "1.1 ravelin"),
        (Version::HTTP_10, "1.0 ravelin"),
    ];
    for (version, expected) in received {
        let headers = passed(Class::Rest, version, true, &[("via", "1.1 other")]).unwrap();
        assert_eq!(listed(&headers, "via"), ["1.1 other", expected]);
    }
    let often = ["2.0 ravelin"; 10].join(", ");
    assert!(
        passed(Class::Rest, Version::HTTP_2, true, &[("via", &often), ("via", "1.1 ravelin2")])
            .is_ok()
    );
    let more =
        passed(Class::Rest, Version::HTTP_2, true, &[("via", &often), ("via", "1.1 ravelin (x)")]);
    assert_eq!(more.unwrap_err(), Kind::Loop);
}

#[test]
fn the_authority_is_a_field_over_http1_only() {
    let host = [("host", "id.example:8443")];
    assert!(!passed(Class::Rest, Version::HTTP_11, true, &host).unwrap().contains_key("host"));
    for fields in [&host[..], &[]] {
        let headers = passed(Class::Rest, Version::HTTP_2, false, fields).unwrap();
        assert_eq!(listed(&headers, "host"), ["zitadel:8080"]);
    }
}

#[test]
fn cookie_crumbs_are_joined_when_they_leave_http2() {
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
    let over_h1 = passed(Class::Rest, Version::HTTP_2, false, &crumbs).unwrap();
    assert_eq!(listed(&over_h1, "cookie"), ["a=1; b=2; c=3"]);
    let over_h2 = passed(Class::Rest, Version::HTTP_2, true, &crumbs).unwrap();
    assert_eq!(listed(&over_h2, "cookie"), ["a=1", "b=2", "c=3"]);
}

#[test]
fn answers_lose_what_was_meant_for_our_connection() {
    let mut headers = map(&[
        ("connection", "close, x-private"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("alt-svc", "h3=\":443\""),
        ("x-private", "1"),
        ("content-length", "5"),
        ("trailer", "grpc-status"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ]);
    response(&mut headers, Version::HTTP_11);
    let expected = map(&[
        ("content-length", "5"),
        ("trailer", "grpc-status"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("via", "1.1 ravelin"),
    ]);
    assert_eq!(headers, expected);
}

#[test]
fn edits_remove_then_set_then_add_and_leave_framing_alone() {
    let field = |name: &'static str, value: &'static str| {
        (FieldName::from_static(name), HeaderValue::from_static(value))
    };
    let mut headers =
        map(&[("a", "1"), ("b", "1"), ("b", "2"), ("c", "1"), ("content-length", "3")]);
    let edits = HeaderEdits {
        remove: vec![FieldName::from_static("a"), CONTENT_LENGTH],
        set: vec![field("b", "3"), field("transfer-encoding", "chunked"), field("host", "x")],
        add: vec![field("c", "2"), field("a", "4"), field("connection", "close")],
    };
    edit(&mut headers, &edits);
    let expected = map(&[("a", "4"), ("b", "3"), ("c", "1"), ("c", "2"), ("content-length", "3")]);
    assert_eq!(headers, expected);
}

proptest! {
    #[test]
    fn nothing_hop_by_hop_passes_in_either_direction(
        fields in proptest::collection::vec((
            prop_oneof![
                Just("connection"), Just("te"), Just("transfer-encoding"), Just("upgrade"), Just("keep-alive"),
                Just("proxy-connection"), Just("http2-settings"), Just("via"), Just("x-a"), Just("cookie"), Just("host"),
            ],
            "[ -~]{0,20}|x-a|close, x-a",
        ), 0..12),
        h2 in any::<bool>(),
    ) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.trim())).collect();
        if let Ok(headers) = passed(Class::Rest, Version::HTTP_11, h2, &fields) {
            prop_assert!(headers.names().all(|name| !is_hop_by_hop(name)));
            prop_assert_eq!(headers.contains_key(HOST), !h2);
        }
        let mut headers = map(&fields);
        response(&mut headers, Version::HTTP_11);
        prop_assert!(headers.names().all(|name| !is_hop_by_hop(name)));
    }
}
