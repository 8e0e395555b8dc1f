//! When a route applies, as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::text::{
    GrpcText, HeaderText, HostText, MethodText, NameText, OneOrMany, PathText, RangeText, RegexText,
};

/// When a route applies.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// Names of listeners on which the request may have come.
    pub listeners: Option<OneOrMany<NameText>>,
    /// Hosts, without port; `*.example.com` holds for one or more labels before it.
    pub host: Option<OneOrMany<HostText>>,
    /// The path, without query. A text is a prefix by segments: `/ui` holds for `/ui` and `/ui/x`,
    /// not for `/uix`. Matched is the path percent-decoded once, so `/%75i` is `/ui`; what goes
    /// upstream stays as it was sent. Faulty encodings, encoded slashes and control characters are a
    /// 400; `//`, `/./` and `/../`, encoded or not, are a 308 to the path that they mean, and a 400
    /// for RPC and for methods other than GET and HEAD.
    pub path: Option<PathMatch>,
    /// Request methods.
    pub methods: Option<OneOrMany<MethodText>>,
    /// Headers: `true` wants the header to be there, a text wants it to hold this value.
    pub headers: Option<BTreeMap<String, HeaderMatch>>,
    /// Addresses or ranges of clients.
    pub clients: Option<OneOrMany<RangeText>>,
    /// gRPC, gRPC-Web or Connect service, or one of its methods. Not together with `path`.
    pub grpc: Option<GrpcText>,
}

/// A path: a prefix, or one of the forms.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum PathMatch {
    /// A prefix.
    Prefix(PathText),
    /// One of the forms.
    Form(PathForm),
}

/// Exactly one of the three.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PathForm {
    /// This path alone.
    pub exact: Option<PathText>,
    /// This path and everything below it.
    pub prefix: Option<PathText>,
    /// The whole path matches this expression.
    pub regex: Option<RegexText>,
}

/// `true`, or a value.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum HeaderMatch {
    /// Present (only `true` makes sense).
    Present(bool),
    /// With this value.
    Value(HeaderText),
}
