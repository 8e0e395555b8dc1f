//! Texts with a meaning of their own: their JSON types and what is expected of them, said once
//! for schema, reference and faults. What they mean is decided in `parse`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident: [$($kind:literal),+], $expected:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub String);

        impl $name {
            /// What is expected of it, as a fault says it.
            pub const EXPECTED: &str = $expected;
        }

        impl std::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema = json_schema!({"title": $expected});
                let kinds = [$($kind),+];
                let value = match kinds.as_slice() {
                    [one] => (*one).into(),
                    _ => kinds.as_slice().into(),
                };
                schema.insert("type".to_owned(), value);
                schema
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self(match serde_json::Value::deserialize(deserializer)? {
                    serde_json::Value::String(text) => text,
                    serde_json::Value::Number(number) => number.to_string(),
                    // The unions around a text choose by this.
                    _ => return Err(serde::de::Error::custom(concat!("expected ", $expected))),
                }))
            }
        }
    )*};
}

texts! {
    /// A duration.
    DurationText: ["string"], "a duration such as 10s, 5m or 1h30m";
    /// A clock, which can be switched off.
    ClockText: ["string"], "a duration such as 10s, 5m or \"off\"";
    /// A number of bytes.
    SizeText: ["string", "integer"], "a size such as 64KiB, 1MiB or 65536";
    /// A number of bytes, or no such limit.
    CapText: ["string", "integer"], "a size such as 64KiB, 1MiB or 65536, or \"off\"";
    /// A rate limit by name.
    RateText: ["string"], "zitadel-cloud, \"off\", or per_minute and burst";
    /// Where a listener listens.
    ListenText: ["string", "integer"], "an address such as \"[::]:8443\", :8443, 8443 or unix:/run/ravelin.sock";
    /// Where the admin listener listens.
    AdminText: ["string"], "an address such as 127.0.0.1:9901 or \"off\"";
    /// Where an endpoint is.
    EndpointText: ["string"], "an address such as h2c://127.0.0.1:8080, h2://host:443, http://host:3000, https://host or h2c+unix:/run/app.sock";
    /// A host, exact or with a wildcard.
    HostText: ["string"], "a host such as id.example.com or *.example.com, without scheme, port or path";
    /// A public host, with the port that clients use.
    SiteText: ["string"], "a host such as id.example.com, id.example.com:8443 or *.example.com, without scheme or path";
    /// A number of bytes, or no limit.
    LimitText: ["string", "integer"], "a size such as 64KiB, 1MiB or \"off\"";
    /// An address range.
    RangeText: ["string"], "an address or a range such as 10.0.0.0/8 or fd00::/8";
    /// Where proxies in front come from.
    ProxyText: ["string"], "an address, a range such as 10.0.0.0/8, or one of the sets cloudflare, private";
    /// A public host, exact or with a wildcard, and its port.
    /// The value of a header.
    HeaderText: ["string", "integer", "number"], "a text of visible characters";
    /// Whether answers are coded, and how.
    CompressText: ["string"], "\"on\", \"off\", or codings: br, zstd, gzip";
    /// A service, and perhaps a method of it.
    GrpcText: ["string"], "a gRPC service such as zitadel.user.v2.UserService, or one of its methods, zitadel.user.v2.UserService/GetUserByID";
    /// A request that reads.
    ReadText: ["string"], "a gRPC method such as acme.v1.Shop/Lookup, or a method and a path such as POST /shop/*/_find";
    /// A request method.
    MethodText: ["string"], "a request method such as GET";
    /// A key pin.
    PinText: ["string"], "the base64 of a SHA-256 (44 characters)";
    /// Where records go.
    OutputText: ["string"], "stdout or the path of a file";
    /// Where a redirect leads.
    TargetText: ["string"], "an address such as https://id.example.com/ui or a path such as /ui/console";
    /// A path on the server.
    PathText: ["string"], "a path that begins with a slash, without query";
    /// A regular expression.
    RegexText: ["string"], "a regular expression (syntax of the regex crate: no look-around, no back-references)";
    /// A file's path.
    FileText: ["string"], "the path of a file";
    /// A body.
    BodyText: ["string", "integer", "number"], "text";
    /// An authority.
    AuthorityText: ["string"], "a host, or host:port";
    /// What leads an exchange to its endpoint.
    HashText: ["string"], "client, header:NAME or cookie:NAME";
    /// A name server.
    ResolverText: ["string"], "the address and port of a name server such as 10.0.0.2:53";
    /// A name.
    NameText: ["string", "integer"], "a name";
}

/// One value, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum OneOrMany<T: JsonSchema> {
    /// One value.
    One(T),
    /// Several; `None` where a faulty one stood, so that the others keep their index.
    Many(#[schemars(with = "Vec<T>")] Vec<Option<T>>),
}

impl<T: JsonSchema> OneOrMany<T> {
    /// The values, each with its index if they were written as a list.
    pub fn iter(&self) -> impl Iterator<Item = (Option<usize>, &T)> {
        let (one, many) = match self {
            Self::One(value) => (Some(value), None),
            Self::Many(values) => (None, Some(values)),
        };
        let many = many.into_iter().flatten().enumerate();
        let many = many.filter_map(|(i, value)| value.as_ref().map(|value| (Some(i), value)));
        one.into_iter().map(|value| (None, value)).chain(many)
    }
}
