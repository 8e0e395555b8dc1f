//! What a route says of the path, with what can be known before the first request.

use regex::Regex;
use regex_syntax::hir::{Hir, HirKind};

use crate::pipeline::plan::{GrpcPattern, PathPattern};

/// A [`PathPattern`], prepared.
#[derive(Debug)]
pub(super) enum Path {
    Any,
    Exact(Box<str>),
    /// Without a slash at its end; empty holds always.
    Prefix(Box<str>),
    Expression(Expression),
}

impl Path {
    pub(super) fn new(pattern: &PathPattern) -> Self {
        match pattern {
            PathPattern::Any => Self::Any,
            PathPattern::Exact(path) => Self::Exact(path.clone()),
            PathPattern::Prefix(path) => Self::Prefix(path.trim_end_matches('/').into()),
            PathPattern::Regex(regex) => Self::Expression(Expression::new(regex)),
        }
    }

    /// Whether the path may match: of an expression, whether it is worth asking.
    pub(super) fn may_hold(&self, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *path,
            Self::Prefix(prefix) => path
                .strip_prefix(&**prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Expression(expression) => expression.may_hold(path),
        }
    }

    /// Whether a path that may match does.
    pub(super) fn holds(&self, path: &str) -> bool {
        match self {
            Self::Any | Self::Exact(_) | Self::Prefix(_) => true,
            Self::Expression(expression) => expression.holds(path),
        }
    }
}

/// An expression that the whole path must match.
#[derive(Debug)]
pub(super) struct Expression {
    regex: Regex,
    /// Anchored on both sides; else its match is measured.
    anchored: bool,
    /// Texts that each match has in it, the last of the expression first: those that several
    /// expressions begin with tell paths apart the least.
    needed: Vec<Box<str>>,
}

impl Expression {
    fn new(regex: &Regex) -> Self {
        let mut needed = Vec::new();
        if let Ok(hir) = regex_syntax::parse(regex.as_str()) {
            collect(&hir, &mut needed);
        }
        needed.reverse();
        // An anchored search is also the faster one. Flags count only inside the pattern (`(?i)`).
        match Regex::new(&format!(r"\A(?:{})\z", regex.as_str())) {
            Ok(regex) => Self { regex, anchored: true, needed },
            // One that cannot be anchored by writing around it.
            Err(_) => Self { regex: regex.clone(), anchored: false, needed },
        }
    }

    fn may_hold(&self, path: &str) -> bool {
        self.needed.iter().all(|text| path.contains(&**text))
    }

    fn holds(&self, path: &str) -> bool {
        if self.anchored {
            return self.regex.is_match(path);
        }
        self.regex.find(path).is_some_and(|found| found.len() == path.len())
    }
}

/// The texts that stand in every match of `hir`.
fn collect(hir: &Hir, texts: &mut Vec<Box<str>>) {
    match hir.kind() {
        HirKind::Literal(literal) => {
            texts.extend(std::str::from_utf8(&literal.0).ok().map(Box::from));
        }
        HirKind::Capture(capture) => collect(&capture.sub, texts),
        HirKind::Concat(parts) => parts.iter().for_each(|part| collect(part, texts)),
        HirKind::Repetition(repeated) if repeated.min > 0 => collect(&repeated.sub, texts),
        HirKind::Empty
        | HirKind::Class(_)
        | HirKind::Look(_)
        | HirKind::Repetition(_)
        | HirKind::Alternation(_) => {}
    }
}

/// A [`GrpcPattern`], prepared: a path of exactly two segments.
#[derive(Debug)]
pub(super) struct Call {
    /// `/zitadel.user.v2.UserService/`
    service: Box<str>,
    method: Option<Box<str>>,
}

impl Call {
    pub(super) fn new(pattern: &GrpcPattern) -> Self {
        let service = format!("/{}/", pattern.service).into();
        Self { service, method: pattern.method.clone() }
    }

    pub(super) fn holds(&self, path: &str) -> bool {
        path.strip_prefix(&*self.service).is_some_and(|method| match &self.method {
            Some(name) => **name == *method,
            None => !method.is_empty() && !method.contains('/'),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn needed(pattern: &str) -> Vec<String> {
        let expression = Expression::new(&Regex::new(pattern).unwrap());
        expression.needed.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_every_match_has_in_it_is_known_beforehand() {
        for (pattern, expected) in [
            (r"/zitadel\.(?:[^/]*\.)?v3alpha\.[^/]*(?:/.*)?", &["v3alpha.", "/zitadel."][..]),
            ("/grpc[.]reflection[.].*", &["/grpc.reflection."]),
            ("/a(b)+c", &["c", "b", "/a"]),
            ("/a|/b", &[]),
            ("/[ab]|x", &[]),
            ("(?i)/api", &["/"]),
            (".*", &[]),
            ("^(?:/x)$", &["/x"]),
        ] {
            assert_eq!(needed(pattern), expected, "{pattern}");
        }
    }

    proptest! {
        /// What is asked beforehand never keeps an expression from a path that it holds for.
        #[test]
        fn whatever_matches_may_match(
            path in "/(zitadel\\.|grpc|v3alpha|[a-z./]){0,6}",
            pattern in prop::sample::select(vec![
                r"/zitadel\.(?:[^/]*\.)?v3alpha\.[^/]*(?:/.*)?",
                "/(?:grpc)+.*",
                "/(?i)GRPC.*",
                "/[a-z]*x?v3.*|/grpc",
                "(/|/a)v{0,2}.*",
            ]),
        ) {
            let expression = Expression::new(&Regex::new(pattern).unwrap());
            prop_assert!(expression.may_hold(&path) || !expression.holds(&path));
        }
    }
}
