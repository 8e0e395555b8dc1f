use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::message::FieldName;

fn caller(class: Class, method: &Method, fields: &[(FieldName, &'static str)]) -> Caller {
    let headers = fields
        .iter()
        .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
        .collect();
    Caller::new(class, method, &headers)
}

fn get(class: Class) -> Caller {
    caller(class, &Method::GET, &[])
}

fn text<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// Takes a frame apart and checks its length.
fn payload(frame: &[u8], flags: u8) -> &str {
    assert_eq!(frame[0], flags);
    assert_eq!(u32::from_be_bytes(frame[1..5].try_into().unwrap()) as usize, frame.len() - 5);
    std::str::from_utf8(&frame[5..]).unwrap()
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

/// Checks that the body of an answer says what the table says, in the class's own words.
fn check_body(kind: Kind, class: Class, response: &Response<Bytes>) {
    let body = response.body();
    let status_line = format!("grpc-status: {}\r\n", kind.grpc_code());
    match class {
        Class::Grpc => {
            assert!(body.is_empty());
            assert_eq!(text(response, "grpc-status"), kind.grpc_code().to_string());
            assert!(!text(response, "grpc-message").is_empty());
        }
        Class::GrpcWeb => assert!(payload(body, 0x80).contains(&status_line)),
        Class::GrpcWebText => {
            assert!(payload(&STANDARD.decode(body).unwrap(), 0x80).contains(&status_line))
        }
        Class::Connect => {
            assert_ne!(json(body)["code"], "unknown");
            assert_eq!(json(body)["message"], kind.message());
        }
        Class::ConnectStream => {
            let end = json(payload(body, 0x02).as_bytes());
            assert_ne!(end["error"]["code"], "unknown");
            assert_eq!(end["error"]["message"], kind.message());
        }
        Class::Rest => {
            assert_eq!(json(body)["status"], kind.status().as_u16());
            assert_eq!(json(body)["detail"], kind.message());
            assert_eq!(json(body)["request_id"], "r-1");
        }
        Class::Page => {
            let page = std::str::from_utf8(body).unwrap();
            assert!(page.contains("r-1") && !page.contains("{{") && page.ends_with("</html>\n"));
            assert!(page.contains(&kind.message().replace('\'', "&#39;")));
            assert!(
                !page.contains("http://") && !page.contains("https://") && !page.contains("src=")
            );
        }
        Class::Asset | Class::WebSocket => assert_eq!(body, &format!("{}\n", kind.message())),
    }
}

#[test]
fn every_failure_has_a_sound_answer_in_every_class() {
    for kind in Kind::ALL {
        for class in Class::ALL {
            let response = rescue(&Error::new(*kind), &get(*class), Some("r-1"));
            let always_ok = matches!(
                class,
                Class::Grpc | Class::GrpcWeb | Class::GrpcWebText | Class::ConnectStream
            );
            if always_ok {
                assert_eq!(response.status(), 200);
            } else if *class != Class::Connect {
                assert_eq!(response.status(), kind.status());
            }
            assert_eq!(text(&response, "cache-control"), "no-store");
            assert_eq!(text(&response, "x-request-id"), "r-1");
            let seconds = kind.retry_after().map(|seconds| seconds.to_string()).unwrap_or_default();
            assert_eq!(text(&response, "retry-after"), seconds);
            let length = if *class == Class::Grpc {
                String::new()
            } else {
                response.body().len().to_string()
            };
            assert_eq!(text(&response, "content-length"), length);
            check_body(*kind, *class, &response);
        }
    }
}

#[test]
fn media_types_are_those_of_the_class() {
    for (class, asked, expected) in [
        (Class::Grpc, "application/grpc+json", "application/grpc+json"),
        (Class::Grpc, "", "application/grpc"),
        (Class::GrpcWeb, "application/grpc-web", "application/grpc-web"),
        (Class::GrpcWeb, "application/grpc-web+json; x=y", "application/grpc-web+json"),
        (Class::GrpcWeb, "text/html", "application/grpc-web+proto"),
        (Class::GrpcWebText, "application/grpc-web-text", "application/grpc-web-text"),
        (Class::GrpcWebText, "application/grpc-web", "application/grpc-web-text+proto"),
        (Class::Connect, "application/proto", "application/json"),
        (Class::ConnectStream, "application/connect+json", "application/connect+json"),
        (Class::ConnectStream, "", "application/connect+proto"),
        (Class::Rest, "application/json", "application/problem+json"),
        (Class::Page, "application/x-www-form-urlencoded", "text/html; charset=utf-8"),
        (Class::Asset, "", "text/plain; charset=utf-8"),
        (Class::WebSocket, "", "text/plain; charset=utf-8"),
    ] {
        let caller = caller(class, &Method::POST, &[(CONTENT_TYPE, asked)]);
        let response = rescue(&Kind::NoRoute.into(), &caller, None);
        assert_eq!(text(&response, "content-type"), expected, "{asked}");
        assert!(!response.headers().contains_key("x-request-id"));
    }
}

#[test]
fn connect_statuses_follow_from_the_code() {
    for (kind, status, code) in [
        (Kind::BadRequest, 400, "invalid_argument"),
        (Kind::UnknownHost, 404, "not_found"),
        (Kind::NoRoute, 501, "unimplemented"),
        (Kind::Unauthorized, 403, "permission_denied"),
        (Kind::BodyTooLarge, 429, "resource_exhausted"),
        (Kind::ClientGone, 499, "canceled"),
        (Kind::Connect, 503, "unavailable"),
        (Kind::Reset, 503, "unavailable"),
        (Kind::Deadline, 504, "deadline_exceeded"),
        (Kind::Internal, 500, "internal"),
    ] {
        let response = rescue(&kind.into(), &get(Class::Connect), None);
        assert_eq!(
            (response.status().as_u16(), &json(response.body())["code"]),
            (status, &Value::from(code))
        );
    }
}

#[test]
fn scripts_of_other_origins_may_read_what_they_asked_for() {
    for class in Class::ALL {
        let asked = caller(*class, &Method::POST, &[(ORIGIN, "https://app.example")]);
        let response = rescue(&Kind::Connect.into(), &asked, None);
        let expected = if is_scripted(*class) { "https://app.example" } else { "" };
        assert_eq!(text(&response, "access-control-allow-origin"), expected, "{class:?}");
        assert_eq!(text(&response, "vary"), if is_scripted(*class) { "Origin" } else { "" });
        let silent = rescue(&Kind::Connect.into(), &get(*class), None);
        assert!(
            !silent.headers().contains_key("access-control-allow-origin")
                && !silent.headers().contains_key("vary")
        );
    }
}

#[test]
fn a_head_request_gets_the_length_without_the_body() {
    for class in [Class::Rest, Class::Page, Class::Asset] {
        let whole = rescue(&Kind::NoRoute.into(), &get(class), None);
        let head = rescue(&Kind::NoRoute.into(), &caller(class, &Method::HEAD, &[]), None);
        assert!(head.body().is_empty());
        assert_eq!(whole.headers(), head.headers());
    }
}

#[test]
fn clients_are_told_to_wait_where_waiting_helps() {
    let busy = rescue(&Kind::RateLimited.into(), &get(Class::Grpc), None);
    assert_eq!((text(&busy, "retry-after"), text(&busy, "grpc-retry-pushback-ms")), ("1", "1000"));
    let absent = rescue(&Kind::NoRoute.into(), &get(Class::Grpc), None);
    assert!(!absent.headers().contains_key("grpc-retry-pushback-ms"));
}

#[test]
fn an_answer_that_has_begun_ends_in_its_own_way() {
    let error = Error::new(Kind::Incomplete);
    for class in Class::ALL {
        match (class, trailers(&error, &get(*class))) {
            (Class::Grpc, Ending::Trailers(map)) => assert_eq!(map["grpc-status"], "14"),
            (Class::GrpcWeb, Ending::WebFrame(frame)) => {
                assert!(payload(&frame, 0x80).starts_with("grpc-status: 14\r\ngrpc-message: "));
            }
            (Class::GrpcWebText, Ending::WebFrame(frame)) => {
                assert!(payload(&STANDARD.decode(frame).unwrap(), 0x80).ends_with("\r\n"));
            }
            (Class::ConnectStream, Ending::ConnectEnd(frame)) => {
                assert_eq!(json(payload(&frame, 0x02).as_bytes())["error"]["code"], "unavailable");
            }
            (
                Class::Connect | Class::Rest | Class::Asset | Class::Page | Class::WebSocket,
                Ending::Reset,
            ) => {}
            (class, ending) => panic!("{class:?} ends with {ending:?}"),
        }
    }
}

#[test]
fn the_cause_is_never_told() {
    for class in Class::ALL {
        let error = Error::with(Kind::Connect, std::io::Error::other("10.1.2.3:8080 refused"));
        let response = rescue(&error, &get(*class), Some("r-1"));
        assert!(!format!("{response:?}").contains("10.1.2.3"), "{class:?}");
    }
}

proptest! {
    #[test]
    fn whatever_the_client_sends_along_the_answer_stays_sound(
        kind in proptest::sample::select(Kind::ALL),
        class in proptest::sample::select(Class::ALL),
        origin in "[ -~]{0,20}",
        media in "[ -~]{0,20}|application/(grpc-web|grpc-web-text|connect\\+)[ -~]{0,8}",
        id in "\\PC{0,20}|<script>&\"'|\\{\\{status\\}\\}",
    ) {
        let headers = [(ORIGIN, &origin), (CONTENT_TYPE, &media)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, HeaderValue::from_str(value.trim()).ok()?)))
            .collect();
        let response = rescue(&kind.into(), &Caller::new(class, &Method::POST, &headers), Some(&id));
        prop_assert!(response.headers().contains_key(CONTENT_TYPE));
        let body = response.body();
        match class {
            Class::Rest => prop_assert!(json(body)["request_id"] == id.as_str()),
            Class::Page => prop_assert!(!std::str::from_utf8(body).unwrap().contains("<script")),
            Class::GrpcWeb => { payload(body, 0x80); }
            Class::GrpcWebText => { payload(&STANDARD.decode(body).unwrap(), 0x80); }
            _ => {}
        }
    }
}
