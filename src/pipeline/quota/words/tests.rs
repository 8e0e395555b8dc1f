use std::io::Write;

use super::*;

const QUOTA: &str = "Quota.Access.Exhausted (QUOTA-vjAy8)";
const BLOCKED: &str = "Errors.Limits.Instance.Blocked (LIMITS-molsj)";

fn told(class: Class, status: u16, fields: &[(&'static str, &str)]) -> Told {
    let mut headers = Fields::new();
    for (name, value) in fields {
        headers.append(*name, value.parse().unwrap());
    }
    head(class, StatusCode::from_u16(status).unwrap(), &headers)
}

#[test]
fn heads() {
    let spent = ("set-cookie", "zitadel.quota.exhausted=true; Path=/; Max-Age=300");
    let gone = ("set-cookie", "zitadel.quota.exhausted=; Path=/; Max-Age=0");
    let other = ("set-cookie", "a=zitadel.quota.exhausted=true");
    let json = ("content-type", "application/json");
    let (quota, blocked) = (("grpc-message", QUOTA), ("grpc-message", BLOCKED));
    let eight = ("grpc-status", "8");
    let now = Told::Now;
    for (class, status, fields, expected) in [
        (Class::Page, 302, vec![other, spent], now(Said::Refused(None))),
        (Class::Page, 429, vec![("content-type", "text/plain"), spent], now(Said::Refused(None))),
        (Class::Page, 302, vec![other, gone], now(Said::Served)),
        (Class::Page, 429, vec![], now(Said::Nothing)),
        // A file of the Console is served, and says what is the matter.
        (Class::Asset, 200, vec![spent], now(Said::Refused(None))),
        // REST sets the cookie with each 429, whatever it is about.
        (Class::Rest, 429, vec![json, spent], Told::Within(Place::Json)),
        (Class::Connect, 429, vec![json, ("content-encoding", "gzip")], Told::Within(Place::Gzip)),
        (Class::Connect, 429, vec![json, ("content-encoding", "br")], now(Said::Nothing)),
        (Class::Rest, 200, vec![json, gone], now(Said::Served)),
        (Class::Rest, 401, vec![json], now(Said::Nothing)),
        (Class::Rest, 503, vec![json], now(Said::Nothing)),
        (Class::Grpc, 200, vec![], Told::Within(Place::Trailers)),
        (Class::Grpc, 200, vec![eight, quota], now(Said::Refused(Some(Why::Quota)))),
        (Class::GrpcWeb, 200, vec![eight, blocked], now(Said::Refused(Some(Why::Blocked)))),
        (Class::Grpc, 200, vec![eight], now(Said::Nothing)),
        (Class::Grpc, 200, vec![("grpc-status", "16"), quota], now(Said::Nothing)),
        (Class::GrpcWeb, 200, vec![], Told::Within(Place::Web)),
        (Class::GrpcWebText, 200, vec![], Told::Within(Place::WebText)),
    ] {
        assert_eq!(told(class, status, &fields), expected, "{class:?} {status} {fields:?}");
    }
}

fn trailer(text: &str) -> Vec<u8> {
    let mut frame = vec![0x80];
    frame.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
    frame.extend(text.as_bytes());
    frame
}

#[test]
fn bodies() {
    use base64::Engine as _;
    let json = format!("{{\"code\":8, \"message\":\"{QUOTA}\"}}");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(format!("{{\"message\":\"{BLOCKED}\"}}").as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let web = trailer(&format!("grpc-status: 8\r\ngrpc-message: {QUOTA}\r\n"));
    let text = base64::engine::general_purpose::STANDARD.encode(&web);
    let quota = Said::Refused(Some(Why::Quota));
    for (place, sample, expected) in [
        (Place::Json, json.as_bytes(), quota),
        (
            Place::Json,
            b"{\"code\":8,\"message\":\"received message larger than max\"}",
            Said::Nothing,
        ),
        (Place::Gzip, &gzip, Said::Refused(Some(Why::Blocked))),
        (Place::Gzip, b"{\"message\":\"QUOTA-1\"}", Said::Nothing),
        (Place::Web, &web, quota),
        (Place::WebText, text.as_bytes(), quota),
        (Place::Web, &trailer("Grpc-Status:8\r\n"), Said::Nothing),
        (Place::Web, &trailer("grpc-status:5\r\ngrpc-message:QUOTA-1\r\n"), Said::Nothing),
        (Place::Web, &trailer("grpc-status:0\r\n"), Said::Served),
        (Place::Web, b"\0\0\0\0\0", Said::Served),
        (Place::Web, b"\x80\0\0", Said::Nothing),
        (Place::Web, b"", Said::Nothing),
        (Place::WebText, b"!!!!", Said::Nothing),
        (Place::Trailers, b"QUOTA-1", Said::Nothing),
    ] {
        assert_eq!(
            body(place, sample),
            expected,
            "{place:?} {:?}",
            String::from_utf8_lossy(sample)
        );
    }
}
