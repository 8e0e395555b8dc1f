use http::HeaderValue;
use proptest::prelude::*;

use super::super::decode::{Decoder, Field};
use super::*;
use crate::message::Request;

fn fields(decoder: &mut Decoder, block: &[u8]) -> Vec<Field> {
    let mut fields = Vec::new();
    decoder.decode(block, |field, _| fields.push(field.into_owned())).unwrap();
    fields
}

fn trailers(encoder: &mut Encoder, pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut map = Fields::new();
    for (name, value) in pairs {
        let name = FieldName::try_from(*name).unwrap();
        map.append(name, HeaderValue::try_from(*value).unwrap());
    }
    let mut out = Vec::new();
    encoder.trailers(&map, &mut out);
    out
}

#[test]
fn what_is_said_for_the_third_time_is_one_byte() {
    let mut encoder = Encoder::new(false);
    let say = |encoder: &mut Encoder| trailers(encoder, &[("x-a", "b")]);
    assert_eq!(say(&mut encoder), [0, 3, b'x', b'-', b'a', 1, b'b']);
    assert_eq!(say(&mut encoder), [0x40, 3, b'x', b'-', b'a', 1, b'b']);
    assert_eq!(say(&mut encoder), [0xbe]);
}

#[test]
fn what_is_said_once_drives_nothing_out() {
    let mut encoder = Encoder::new(true);
    for _ in 0..2 {
        trailers(&mut encoder, &[("x-a", "b")]);
    }
    for id in 0..1000 {
        trailers(&mut encoder, &[("x-id", &id.to_string())]);
    }
    assert_eq!(trailers(&mut encoder, &[("x-a", "b")]).len(), 1);
}

#[test]
fn a_field_that_stands_elsewhere_than_before_is_found_as_well() {
    let mut encoder = Encoder::new(false);
    let usual = [("x-a", "b"), ("x-c", "d"), ("x-e", "f")];
    for _ in 0..2 {
        trailers(&mut encoder, &usual);
    }
    assert_eq!(trailers(&mut encoder, &usual), [0xc0, 0xbf, 0xbe]);
    assert_eq!(encoder.usual.trailers.len(), 3, "where they stood is known");
    assert_eq!(trailers(&mut encoder, &[usual[2], usual[0]]), [0xbe, 0xc0]);
    assert_eq!(trailers(&mut encoder, &[usual[2], usual[0], usual[1]]), [0xbe, 0xc0, 0xbf]);
    // The same name with another value is none of them.
    assert_eq!(trailers(&mut encoder, &[("x-e", "g")])[0], 0);
    // Nor is what has left the table since.
    encoder.resize(0);
    assert_eq!(trailers(&mut encoder, &usual)[..2], [0x20, 0x40]);
}

#[test]
fn secrets_enter_no_table() {
    let mut encoder = Encoder::new(false);
    for name in ["authorization", "cookie", "set-cookie", "proxy-authorization"] {
        for _ in 0..3 {
            let block = trailers(&mut encoder, &[(name, "secret")]);
            assert_eq!(block[0] & 0xf0, 0x10, "{name}");
        }
    }
    let mut map = Fields::new();
    let mut value = HeaderValue::from_static("secret");
    value.set_sensitive(true);
    map.insert("x-key", value);
    for _ in 0..3 {
        let mut out = Vec::new();
        encoder.trailers(&map, &mut out);
        assert_eq!(out[0], 0x10);
    }
    assert!(encoder.entries.is_empty());
}

#[test]
fn requests_and_answers_are_what_they_were() {
    let (mut encoder, mut decoder) = (Encoder::new(true), Decoder::default());
    for _ in 0..3 {
        let request =
            http::Request::put("https://id.example.com/a?b=c").header("x-a", "b").body(()).unwrap();
        let request = Request::from(request);
        let mut out = Vec::new();
        encoder.request(request.method(), request.uri(), None, request.headers(), &mut out);
        assert_eq!(
            fields(&mut decoder, &out),
            [
                Field::Method(Method::PUT),
                Field::Scheme(http::uri::Scheme::HTTPS),
                Field::Authority("id.example.com".parse().unwrap()),
                Field::Path("/a?b=c".parse().unwrap()),
                Field::Regular(FieldName::from_static("x-a"), HeaderValue::from_static("b")),
            ]
        );
        let answer = http::Response::builder().status(418).body(()).unwrap().into();
        let mut out = Vec::new();
        encoder.response(&answer, &mut out);
        assert_eq!(fields(&mut decoder, &out), [Field::Status(StatusCode::IM_A_TEAPOT)]);
        let mut out = Vec::new();
        let socket = http::Request::connect("http://id.example.com/ws").body(()).unwrap();
        let socket = Request::from(socket);
        let protocol = Some("websocket");
        encoder.request(socket.method(), socket.uri(), protocol, socket.headers(), &mut out);
        assert_eq!(fields(&mut decoder, &out)[4], Field::Protocol("websocket".into()));
    }
}

#[test]
fn a_smaller_table_is_announced_and_kept_to() {
    let (mut encoder, mut decoder) = (Encoder::new(false), Decoder::default());
    let mut say = |encoder: &mut Encoder, value: &str| {
        let block = trailers(encoder, &[("x-a", value)]);
        fields(&mut decoder, &block);
        block
    };
    for _ in 0..3 {
        say(&mut encoder, "b");
    }
    encoder.resize(0);
    assert_eq!(say(&mut encoder, "b")[0], 0x20);
    assert_eq!(say(&mut encoder, "b").len(), 7, "nothing is remembered");
    // First to nothing, then to all: what was there is gone.
    encoder.resize(10);
    encoder.resize(100_000);
    assert_eq!(say(&mut encoder, "b")[..4], [0x2a, 0x3f, 0xe1, 0x1f]);
}

proptest! {
    /// Whatever is said, in whatever tables, comes out as it was, and both tables stay alike.
    #[test]
    fn every_list_comes_back(
        lists in prop::collection::vec(
            prop::collection::vec((0..12_usize, 0..40_usize), 0..12), 1..40),
        sizes in prop::collection::vec(0..5000_usize, 40),
        huffman: bool,
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(huffman), Decoder::default());
        let names = ["date", "x-a", "grpc-status", "content-type", "x-trace", "etag", "te2", "vary",
            "x-zitadel-orgid", "accept", "authorization", "x-long"];
        for (list, size) in lists.iter().zip(sizes) {
            if size % 7 == 0 {
                encoder.resize(size);
            }
            let mut map = Fields::new();
            for (name, value) in list {
                let value = format!("{value}").repeat(value * 4);
                map.append(FieldName::from_static(names[*name]), value.try_into().unwrap());
            }
            let mut out = Vec::new();
            encoder.trailers(&map, &mut out);
            let got: Vec<(FieldName, HeaderValue)> = fields(&mut decoder, &out)
                .into_iter()
                .map(|field| match field {
                    Field::Regular(name, value) => (name, value),
                    other => panic!("{other:?}"),
                })
                .collect();
            let said: Vec<_> = map.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            prop_assert_eq!(got, said);
        }
    }
}
