//! The names that are known by a number.

use super::{FieldName, Repr};

macro_rules! known {
    ($($name:ident $text:literal)*) => {
        #[derive(Clone, Copy)]
        #[repr(u8)]
        #[allow(
            non_camel_case_types,
            clippy::upper_case_acronyms,
            reason = "they count the constants, and are named nowhere else"
        )]
        enum Number { $($name),* }

        /// The names that have a number, by it.
        pub const KNOWN: &[&str] = &[$($text),*];

        $(
            #[doc = concat!("`", $text, "`")]
            pub const $name: FieldName = FieldName(Repr::Known(Number::$name as u8));
        )*
    };
}

// At most 128, the bits of `Fields`. Those of HPACK's static table, those that the rooms ask for, and
// those that ZITADEL's clients and servers say with every message.
known! {
    ACCEPT "accept"
    ACCEPT_CHARSET "accept-charset"
    ACCEPT_ENCODING "accept-encoding"
    ACCEPT_LANGUAGE "accept-language"
    ACCEPT_RANGES "accept-ranges"
    ACCESS_CONTROL_ALLOW_CREDENTIALS "access-control-allow-credentials"
    ACCESS_CONTROL_ALLOW_HEADERS "access-control-allow-headers"
    ACCESS_CONTROL_ALLOW_METHODS "access-control-allow-methods"
    ACCESS_CONTROL_ALLOW_ORIGIN "access-control-allow-origin"
    ACCESS_CONTROL_EXPOSE_HEADERS "access-control-expose-headers"
    ACCESS_CONTROL_MAX_AGE "access-control-max-age"
    ACCESS_CONTROL_REQUEST_HEADERS "access-control-request-headers"
    ACCESS_CONTROL_REQUEST_METHOD "access-control-request-method"
    AGE "age"
    ALLOW "allow"
    ALT_SVC "alt-svc"
    AUTHORIZATION "authorization"
    CACHE_CONTROL "cache-control"
    CACHE_STATUS "cache-status"
    CDN_CACHE_CONTROL "cdn-cache-control"
    CONNECT_PROTOCOL_VERSION "connect-protocol-version"
    CONNECT_TIMEOUT_MS "connect-timeout-ms"
    CONNECTION "connection"
    CONTENT_DIGEST "content-digest"
    CONTENT_DISPOSITION "content-disposition"
    CONTENT_ENCODING "content-encoding"
    CONTENT_LANGUAGE "content-language"
    CONTENT_LENGTH "content-length"
    CONTENT_LOCATION "content-location"
    CONTENT_MD5 "content-md5"
    CONTENT_RANGE "content-range"
    CONTENT_SECURITY_POLICY "content-security-policy"
    CONTENT_SECURITY_POLICY_REPORT_ONLY "content-security-policy-report-only"
    CONTENT_TYPE "content-type"
    COOKIE "cookie"
    DATE "date"
    DIGEST "digest"
    ETAG "etag"
    EXPECT "expect"
    EXPIRES "expires"
    FORWARDED "forwarded"
    FROM "from"
    GRPC_ACCEPT_ENCODING "grpc-accept-encoding"
    GRPC_ENCODING "grpc-encoding"
    GRPC_MESSAGE "grpc-message"
    GRPC_RETRY_PUSHBACK_MS "grpc-retry-pushback-ms"
    GRPC_STATUS "grpc-status"
    GRPC_STATUS_DETAILS_BIN "grpc-status-details-bin"
    GRPC_TIMEOUT "grpc-timeout"
    HOST "host"
    HTTP2_SETTINGS "http2-settings"
    IF_MATCH "if-match"
    IF_MODIFIED_SINCE "if-modified-since"
    IF_NONE_MATCH "if-none-match"
    IF_RANGE "if-range"
    IF_UNMODIFIED_SINCE "if-unmodified-since"
    KEEP_ALIVE "keep-alive"
    LAST_MODIFIED "last-modified"
    LINK "link"
    LOCATION "location"
    MAX_FORWARDS "max-forwards"
    ORIGIN "origin"
    PERMISSIONS_POLICY "permissions-policy"
    PRAGMA "pragma"
    PRIORITY "priority"
    PROXY_AUTHENTICATE "proxy-authenticate"
    PROXY_AUTHORIZATION "proxy-authorization"
    PROXY_CONNECTION "proxy-connection"
    RANGE "range"
    REFERER "referer"
    REFERRER_POLICY "referrer-policy"
    REFRESH "refresh"
    REPR_DIGEST "repr-digest"
    RETRY_AFTER "retry-after"
    SEC_CH_UA "sec-ch-ua"
    SEC_CH_UA_MOBILE "sec-ch-ua-mobile"
    SEC_CH_UA_PLATFORM "sec-ch-ua-platform"
    SEC_FETCH_DEST "sec-fetch-dest"
    SEC_FETCH_MODE "sec-fetch-mode"
    SEC_FETCH_SITE "sec-fetch-site"
    SEC_FETCH_USER "sec-fetch-user"
    SEC_WEBSOCKET_ACCEPT "sec-websocket-accept"
    SEC_WEBSOCKET_EXTENSIONS "sec-websocket-extensions"
    SEC_WEBSOCKET_KEY "sec-websocket-key"
    SEC_WEBSOCKET_PROTOCOL "sec-websocket-protocol"
    SEC_WEBSOCKET_VERSION "sec-websocket-version"
    SERVER "server"
    SET_COOKIE "set-cookie"
    STRICT_TRANSPORT_SECURITY "strict-transport-security"
    TE "te"
    TRACEPARENT "traceparent"
    TRACESTATE "tracestate"
    TRAILER "trailer"
    TRANSFER_ENCODING "transfer-encoding"
    UPGRADE "upgrade"
    UPGRADE_INSECURE_REQUESTS "upgrade-insecure-requests"
    USER_AGENT "user-agent"
    VARY "vary"
    VIA "via"
    WWW_AUTHENTICATE "www-authenticate"
    X_CONTENT_TYPE_OPTIONS "x-content-type-options"
    X_FORWARDED_FOR "x-forwarded-for"
    X_FORWARDED_HOST "x-forwarded-host"
    X_FORWARDED_PORT "x-forwarded-port"
    X_FORWARDED_PROTO "x-forwarded-proto"
    X_FRAME_OPTIONS "x-frame-options"
    X_GRPC_WEB "x-grpc-web"
    X_REQUEST_ID "x-request-id"
    X_ROBOTS_TAG "x-robots-tag"
    X_USER_AGENT "x-user-agent"
    X_XSS_PROTECTION "x-xss-protection"
    X_ZITADEL_FORWARDED "x-zitadel-forwarded"
    X_ZITADEL_INSTANCE_HOST "x-zitadel-instance-host"
    X_ZITADEL_ORGID "x-zitadel-orgid"
    X_ZITADEL_PUBLIC_HOST "x-zitadel-public-host"
}
