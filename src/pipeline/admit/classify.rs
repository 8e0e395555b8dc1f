//! Decides what an exchange is, from its head alone. Of this [`Class`] follows how Ravelin's own
//! errors look, so a browser's fetch must never be taken for a page, nor a gRPC call for REST.

use http::{Method, Uri, Version};

use crate::exchange::Class;
use crate::message::name::{
    ACCEPT, CONNECT_PROTOCOL_VERSION, CONNECTION, CONTENT_TYPE, SEC_FETCH_DEST, UPGRADE,
};
use crate::message::{FieldName, Fields};

/// The class of a request. `extended` is the `:protocol` of an extended CONNECT (RFC 8441).
///
/// gRPC over HTTP/1.1 cannot be carried, and is class [`Class::Grpc`] all the same: the refusal has
/// to be one that a gRPC client reads.
pub fn classify(
    method: &Method,
    version: Version,
    uri: &Uri,
    headers: &Fields,
    extended: Option<&str>,
) -> Class {
    if is_websocket(method, version, headers, extended) {
        return Class::WebSocket;
    }
    rpc_class(method, uri, headers)
        .or_else(|| browser_class(method, uri, headers))
        .unwrap_or_default()
}

/// Service and method of an RPC's path: exactly two segments, a dot in the first.
pub fn rpc(path: &str) -> Option<(&str, &str)> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let shaped = service.contains('.') && !method.is_empty() && !method.contains('/');
    shaped.then_some((service, method))
}

/// RFC 6455 §4.1 and RFC 8441 §4.
fn is_websocket(
    method: &Method,
    version: Version,
    headers: &Fields,
    extended: Option<&str>,
) -> bool {
    if let Some(protocol) = extended {
        return protocol.eq_ignore_ascii_case("websocket");
    }
    version == Version::HTTP_11
        && *method == Method::GET
        && has_token(headers, &UPGRADE, "websocket")
        && has_token(headers, &CONNECTION, "upgrade")
}

fn has_token(headers: &Fields, name: &FieldName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|member| member.trim().eq_ignore_ascii_case(token))
}

/// gRPC, gRPC-Web and Connect, by content type: the wider of what ZITADEL's handlers take (parameters too).
fn rpc_class(method: &Method, uri: &Uri, headers: &Fields) -> Option<Class> {
    if *method == Method::GET {
        return is_connect_get(uri).then_some(Class::Connect);
    }
    if *method != Method::POST {
        return None;
    }
    let media = media_type(headers).unwrap_or_default();
    let subtype = strip_prefix_ignore_case(media, "application/").unwrap_or_default();
    let base = subtype.split_once('+').map_or(subtype, |(base, _)| base);
    let is = |name: &str| base.eq_ignore_ascii_case(name);
    if is("grpc") {
        Some(Class::Grpc)
    } else if is("grpc-web") {
        Some(Class::GrpcWeb)
    } else if is("grpc-web-text") {
        Some(Class::GrpcWebText)
    } else if is("connect") && base.len() < subtype.len() {
        Some(Class::ConnectStream)
    } else {
        let unary = headers.contains_key(&CONNECT_PROTOCOL_VERSION)
            || subtype.eq_ignore_ascii_case("proto")
            || subtype.eq_ignore_ascii_case("json") && rpc(uri.path()).is_some();
        unary.then_some(Class::Connect)
    }
}

/// Connect's GET for reads: `?connect=v1` among the parameters, on the path of an RPC.
fn is_connect_get(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "connect=v1"))
        && rpc(uri.path()).is_some()
}

/// Pages and their files. What the browser itself says (`Sec-Fetch-Dest`) comes before what the
/// path looks like, and that before `Accept`, which scripts fill with anything.
fn browser_class(method: &Method, uri: &Uri, headers: &Fields) -> Option<Class> {
    let reads = *method == Method::GET || *method == Method::HEAD;
    let destination = headers.get(&SEC_FETCH_DEST).map(|value| value.as_bytes());
    match destination {
        // Forms are posted by navigation: the answer to one is a page as well.
        Some(b"document" | b"iframe" | b"frame") => return Some(Class::Page),
        Some(b"empty") | None => {}
        Some(_) => return reads.then_some(Class::Asset),
    }
    if reads && has_asset_extension(uri.path()) {
        return Some(Class::Asset);
    }
    (destination.is_none() && (reads || is_form(headers)) && accepts_html(headers))
        .then_some(Class::Page)
}

fn is_form(headers: &Fields) -> bool {
    media_type(headers).is_some_and(|media| {
        media.eq_ignore_ascii_case("application/x-www-form-urlencoded")
            || media.eq_ignore_ascii_case("multipart/form-data")
    })
}

fn accepts_html(headers: &Fields) -> bool {
    const HTML: &[u8] = b"text/html";
    headers.get_all(ACCEPT).iter().any(|value| {
        value.as_bytes().windows(HTML.len()).any(|part| part.eq_ignore_ascii_case(HTML))
    })
}

/// Files that pages are made of. JSON is not among them: it is what APIs answer with.
fn has_asset_extension(path: &str) -> bool {
    const EXTENSIONS: &[&str] = &[
        "js",
        "mjs",
        "css",
        "map",
        "wasm",
        "webmanifest",
        "woff",
        "woff2",
        "ttf",
        "otf",
        "eot",
        "svg",
        "png",
        "jpg",
        "jpeg",
        "gif",
        "webp",
        "avif",
        "ico",
        "mp4",
        "webm",
    ];
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    file.rsplit_once('.').is_some_and(|(_, end)| {
        EXTENSIONS.iter().any(|extension| end.eq_ignore_ascii_case(extension))
    })
}

/// The media type without its parameters.
fn media_type(headers: &Fields) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split_once(';').map_or(value, |(media, _)| media).trim())
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn class(line: &str, fields: &[(&'static str, &str)]) -> Class {
        let mut words = line.split(' ');
        let method: Method = words.next().unwrap().parse().unwrap();
        let uri: Uri = words.next().unwrap().parse().unwrap();
        let version = if words.next() == Some("h1") { Version::HTTP_11 } else { Version::HTTP_2 };
        let mut headers = Fields::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        classify(&method, version, &uri, &headers, words.next())
    }

    #[test]
    fn remote_calls_are_told_by_their_content_type() {
        let path = "/zitadel.user.v2.UserService/GetUserByID";
        for (media, expected) in [
            ("application/grpc", Class::Grpc),
            ("Application/GRPC+proto", Class::Grpc),
            ("application/grpc+json; charset=utf-8", Class::Grpc),
            ("application/grpc-web", Class::GrpcWeb),
            ("application/grpc-web+proto", Class::GrpcWeb),
            ("application/grpc-web-text", Class::GrpcWebText),
            ("application/grpc-web-text+proto", Class::GrpcWebText),
            ("application/connect+proto", Class::ConnectStream),
            ("application/connect+json", Class::ConnectStream),
            ("application/connect", Class::Rest),
            ("application/proto", Class::Connect),
            ("application/json;charset=utf-8", Class::Connect),
            ("application/grpcx", Class::Rest),
            ("text/plain", Class::Rest),
        ] {
            assert_eq!(
                class(&format!("POST {path}"), &[("content-type", media)]),
                expected,
                "{media}"
            );
            assert_eq!(
                class(&format!("POST {path} h1"), &[("content-type", media)]),
                expected,
                "{media}"
            );
            assert_eq!(
                class(&format!("PUT {path}"), &[("content-type", media)]),
                Class::Rest,
                "{media}"
            );
        }
    }

    #[test]
    fn json_is_connect_only_where_an_rpc_lives_or_the_client_says_so() {
        let json = ("content-type", "application/json");
        assert_eq!(class("POST /v2/users", &[json]), Class::Rest);
        assert_eq!(class("POST /a.b/c/d", &[json]), Class::Rest);
        assert_eq!(class("POST /a.b/", &[json]), Class::Rest);
        assert_eq!(
            class("POST /v2/users", &[json, ("connect-protocol-version", "1")]),
            Class::Connect
        );
        assert_eq!(class("GET /a.b/C?encoding=json&connect=v1&message=x", &[]), Class::Connect);
        assert_eq!(class("GET /a.b/C?xconnect=v1", &[]), Class::Rest);
        assert_eq!(class("GET /ui?connect=v1", &[]), Class::Rest);
    }

    #[test]
    fn websockets_come_by_upgrade_or_extended_connect() {
        let fields = [("upgrade", "WebSocket"), ("connection", "keep-alive, Upgrade")];
        assert_eq!(class("GET /ws h1", &fields), Class::WebSocket);
        assert_eq!(class("GET /ws h2", &fields), Class::Rest);
        assert_eq!(class("GET /ws h1", &fields[..1]), Class::Rest);
        assert_eq!(class("CONNECT https://a.example/ws h2 websocket", &[]), Class::WebSocket);
        assert_eq!(class("CONNECT https://a.example/ws h2 connect-udp", &[]), Class::Rest);
    }

    #[test]
    fn browsers_get_pages_for_navigation_and_nothing_else() {
        let html = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        let dest = |name: &'static str| ("sec-fetch-dest", name);
        for (line, fields, expected) in [
            ("GET /ui/login", &[dest("document"), html][..], Class::Page),
            ("GET /ui/login", &[dest("iframe")], Class::Page),
            ("GET /ui/login", &[html], Class::Page),
            ("HEAD /ui/login", &[html], Class::Page),
            ("POST /ui/login", &[dest("document"), html], Class::Page),
            (
                "POST /ui/login",
                &[html, ("content-type", "application/x-www-form-urlencoded")],
                Class::Page,
            ),
            (
                "POST /oauth/v2/token",
                &[("content-type", "application/x-www-form-urlencoded")],
                Class::Rest,
            ),
            ("GET /ui/login", &[dest("empty"), html], Class::Rest),
            ("GET /ui/login", &[("accept", "*/*")], Class::Rest),
            ("DELETE /x", &[html], Class::Rest),
            ("GET /ui/console/main.js", &[dest("script")], Class::Asset),
            ("GET /img", &[dest("image"), html], Class::Asset),
            ("GET /ui/console/main.abc.JS?v=1", &[("accept", "*/*")], Class::Asset),
            ("GET /fonts/x.woff2", &[dest("empty")], Class::Asset),
            ("GET /ui.css/x", &[], Class::Rest),
            ("GET /environment.json", &[dest("empty")], Class::Rest),
            ("POST /x.js", &[dest("empty")], Class::Rest),
        ] {
            assert_eq!(class(line, fields), expected, "{line} {fields:?}");
        }
    }

    proptest! {
        #[test]
        fn any_head_has_a_class(path in "/[!-~]{0,30}", media in "\\PC{0,30}|application/[a-z+;-]{0,15}", accept in "\\PC{0,20}") {
            if let Ok(uri) = path.parse::<Uri>() {
                let mut headers = Fields::new();
                for (name, value) in [(CONTENT_TYPE, media), (ACCEPT, accept)] {
                    if let Ok(value) = HeaderValue::from_str(&value) {
                        headers.append(name, value);
                    }
                }
                for method in [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS] {
                    let class = classify(&method, Version::HTTP_2, &uri, &headers, None);
                    prop_assert!(class != Class::Grpc || method == Method::POST);
                    prop_assert_ne!(class, Class::WebSocket);
                }
            }
        }
    }
}
