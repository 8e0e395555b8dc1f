//! Decides whether a request is declared to be a read: whatever happens, asking twice does no more
//! than asking once.

use http::Method;

use crate::exchange::Class;
use crate::pipeline::path::decode::{Sight, sight};
use crate::pipeline::plan::{ReadPattern, RetryPlan};

/// Verbs with which names of reading methods begin.
const VERBS: [&str; 3] = ["Get", "List", "Search"];

/// Whether a request reads. `path` is the one that upstream sees, without query; the plan's `reads`
/// are what the route declares beyond names and methods that say it themselves, its `writes` what
/// those say wrongly: a GET that brings a one-time code may be asked once.
///
/// `reads` take paths as they are sent: an encoded letter makes a name that nobody has declared.
/// `writes` take them as upstream reads them: no spelling makes a read of what is none.
pub fn is_read(class: Class, method: &Method, path: &str, plan: &RetryPlan) -> bool {
    says_read(class, method, path, &plan.reads) && !is_write(class, method, path, &plan.writes)
}

fn says_read(class: Class, method: &Method, path: &str, also: &[ReadPattern]) -> bool {
    match class {
        Class::WebSocket => return false,
        // GET is safe by its definition (RFC 9110 §9.2.1), Connect's GET too.
        _ if matches!(*method, Method::GET | Method::HEAD) => return true,
        Class::Grpc | Class::GrpcWeb | Class::GrpcWebText | Class::Connect => {
            if let Some((_, name)) = rpc(path)
                && is_read_name(name)
            {
                return true;
            }
        }
        // A stream of requests is no question with one answer.
        Class::ConnectStream => return false,
        Class::Rest | Class::Asset | Class::Page => {}
    }
    also.iter().any(|pattern| matches(pattern, class, method, path))
}

fn is_write(class: Class, method: &Method, path: &str, writes: &[ReadPattern]) -> bool {
    if writes.is_empty() {
        return false;
    }
    match sight(path) {
        Ok(Sight::Clear(seen)) => {
            writes.iter().any(|pattern| matches(pattern, class, method, &seen))
        }
        // What upstream makes of it, nobody knows.
        _ => true,
    }
}

/// `/package.Service/Method`.
fn rpc(path: &str) -> Option<(&str, &str)> {
    let (service, name) = path.strip_prefix('/')?.split_once('/')?;
    let plain = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
    };
    (plain(service, b"._") && plain(name, b"_")).then_some((service, name))
}

/// `Healthz`, or a verb that a further word follows: `GetUserByID`, not `Getaway`.
fn is_read_name(name: &str) -> bool {
    let follows = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_lowercase());
    name == "Healthz" || VERBS.iter().any(|verb| name.strip_prefix(verb).is_some_and(follows))
}

fn matches(pattern: &ReadPattern, class: Class, method: &Method, path: &str) -> bool {
    match pattern {
        ReadPattern::Rpc { service, name } => {
            is_unary(class) && rpc(path).is_some_and(|(s, n)| s == &**service && n == &**name)
        }
        ReadPattern::Http { method: declared, path: pattern } => {
            // Where HEAD is served it is served as GET (RFC 9110 §9.3.2).
            let asked = if *method == Method::HEAD { &Method::GET } else { method };
            !is_rpc(class) && asked == declared && is_path(pattern, path)
        }
    }
}

const fn is_unary(class: Class) -> bool {
    matches!(class, Class::Grpc | Class::GrpcWeb | Class::GrpcWebText | Class::Connect)
}

const fn is_rpc(class: Class) -> bool {
    is_unary(class) || matches!(class, Class::ConnectStream)
}

/// `*` is one segment; `**`, which stands alone then, one or more.
fn is_path(pattern: &str, path: &str) -> bool {
    if let Some((before, after)) = pattern.split_once("**") {
        let between = path.len() > before.len() + after.len();
        return between && path.starts_with(before) && path.ends_with(after);
    }
    let mut found = path.split('/');
    let fits = pattern.split('/').all(|wanted| match found.next() {
        Some(segment) => wanted == segment || (wanted == "*" && !segment.is_empty()),
        None => false,
    });
    fits && found.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_read(class: Class, method: &Method, path: &str, also: &[ReadPattern]) -> bool {
        let plan = RetryPlan { reads: also.to_vec(), ..RetryPlan::default() };
        super::is_read(class, method, path, &plan)
    }

    #[test]
    fn what_is_declared_a_write_is_one_whatever_else_says_and_however_it_is_spelt() {
        let http = |method: Method, path: &str| ReadPattern::Http { method, path: path.into() };
        let plan = RetryPlan {
            reads: vec![http(Method::POST, "/shop/_find")],
            writes: vec![
                http(Method::GET, "/idps/callback"),
                http(Method::GET, "/login/**"),
                http(Method::POST, "/shop/_find"),
                ReadPattern::Rpc { service: "a.B".into(), name: "GetTicket".into() },
            ],
            ..RetryPlan::default()
        };
        for (class, method, path, expected) in [
            (Class::Page, Method::GET, "/idps/callback", false),
            (Class::Rest, Method::HEAD, "/idps/callback", false),
            (Class::Page, Method::GET, "/%69dps/call%62ack", false),
            (Class::Page, Method::GET, "/idps//callback", false),
            (Class::Page, Method::GET, "/idps/callback/x", true),
            (Class::Page, Method::GET, "/idps/other%20one", true),
            (Class::Page, Method::GET, "/login/a/b", false),
            (Class::Page, Method::GET, "/login", true),
            (Class::Rest, Method::POST, "/shop/_find", false),
            (Class::Grpc, Method::POST, "/a.B/GetTicket", false),
            (Class::Grpc, Method::POST, "/a.B/GetOther", true),
        ] {
            assert_eq!(super::is_read(class, &method, path, &plan), expected, "{method} {path}");
        }
    }

    #[test]
    fn names_of_methods_say_whether_they_read() {
        for (name, expected) in [
            ("GetUserByID", true),
            ("ListUsers", true),
            ("SearchUsers", true),
            ("Healthz", true),
            ("Get", true),
            ("List2", true),
            ("Getaway", false),
            ("Listen", false),
            ("CreateUser", false),
            ("AddHumanUser", false),
            ("HealthzX", false),
            ("getUser", false),
            ("RetrieveIdentityProviderIntent", false),
            ("Get%55ser", false),
            ("GetUser/CreateUser", false),
            ("", false),
        ] {
            let path = format!("/zitadel.user.v2.UserService/{name}");
            for class in [Class::Grpc, Class::GrpcWeb, Class::GrpcWebText, Class::Connect] {
                assert_eq!(is_read(class, &Method::POST, &path, &[]), expected, "{name} {class:?}");
            }
            assert!(!is_read(Class::ConnectStream, &Method::POST, &path, &[]), "{name}");
            assert!(!is_read(Class::Rest, &Method::POST, &path, &[]), "{name}");
        }
        assert!(!is_read(Class::Grpc, &Method::POST, "/ListUsers", &[]));
    }

    #[test]
    fn http_says_it_by_its_method_or_is_declared() {
        let http = |path: &str| ReadPattern::Http { method: Method::POST, path: path.into() };
        let also = [
            http("/v2/users"),
            http("/management/v1/**/_search"),
            http("/v2/users/*/links/_search"),
            ReadPattern::Rpc { service: "a.B".into(), name: "IsUnique".into() },
        ];
        for (method, path, expected) in [
            (Method::GET, "/anything", true),
            (Method::HEAD, "/anything", true),
            (Method::POST, "/v2/users", true),
            (Method::POST, "/v2/users/", false),
            (Method::POST, "/v2/users/human", false),
            (Method::PUT, "/v2/users", false),
            (Method::DELETE, "/v2/users", false),
            (Method::POST, "/management/v1/users/_search", true),
            (Method::POST, "/management/v1/users/1/grants/_search", true),
            (Method::POST, "/management/v1/_search", false),
            (Method::POST, "/management/v2/users/_search", false),
            (Method::POST, "/v2/users/1/links/_search", true),
            (Method::POST, "/v2/users/1/2/links/_search", false),
            (Method::POST, "/v2/users//links/_search", false),
            (Method::POST, "/a.B/IsUnique", false),
            (Method::OPTIONS, "/v2/users", false),
        ] {
            assert_eq!(is_read(Class::Rest, &method, path, &also), expected, "{method} {path}");
        }
        assert!(is_read(Class::Grpc, &Method::POST, "/a.B/IsUnique", &also));
        assert!(is_read(Class::Connect, &Method::POST, "/a.B/IsUnique", &also));
        assert!(!is_read(Class::Grpc, &Method::POST, "/a.C/IsUnique", &also));
        assert!(!is_read(Class::Grpc, &Method::POST, "/v2/users", &also));
        assert!(!is_read(Class::WebSocket, &Method::GET, "/anything", &also));
    }

    proptest! {
        #[test]
        fn no_path_makes_a_write_of_http_a_read_by_itself(path in "\\PC*") {
            prop_assert!(!is_read(Class::Rest, &Method::POST, &path, &[]));
            let also = [ReadPattern::Http { method: Method::POST, path: "/a/**/_search".into() }];
            let read = is_read(Class::Rest, &Method::POST, &path, &also);
            prop_assert!(!read || (path.starts_with("/a/") && path.ends_with("/_search")));
        }
    }
}
