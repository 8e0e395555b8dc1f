//! What an answer to a check means. Pure.

use http::StatusCode;

use crate::upstream::state::Health;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It serves.
    Good,
    /// It does not, and says so itself, or nobody is there: believed at once.
    Bad(String),
    /// It did not answer as it should. Once may be chance.
    Doubtful(String),
    /// It could not be asked, for want of something of our own.
    Nothing(String),
}

impl Finding {
    /// What is wrong.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Good => None,
            Self::Bad(why) | Self::Doubtful(why) | Self::Nothing(why) => Some(why),
        }
    }
}

/// How many doubtful findings in a row are enough.
const ENOUGH: u32 = 2;

/// Makes findings into a verdict.
#[derive(Debug, Default)]
pub struct Judge {
    doubts: u32,
}

impl Judge {
    /// The verdict; `None`: what it was.
    pub const fn hear(&mut self, finding: &Finding) -> Option<Health> {
        match finding {
            Finding::Good => {
                self.doubts = 0;
                Some(Health::Ready)
            }
            Finding::Bad(_) => Some(Health::Down),
            Finding::Nothing(_) => None,
            Finding::Doubtful(_) => {
                self.doubts = self.doubts.saturating_add(1);
                if self.doubts >= ENOUGH { Some(Health::Down) } else { None }
            }
        }
    }
}

/// An answer of `/debug/ready`. Only 200 and 412 are ZITADEL's own words; what denies the path (a
/// proxy in between: Ravelin's own guards do) says nothing against ZITADEL, and it did answer.
pub fn ready(status: StatusCode) -> Finding {
    match status.as_u16() {
        412 => Finding::Bad("/debug/ready answers 412: not ready".into()),
        500.. => Finding::Doubtful(format!("/debug/ready answers {}", status.as_u16())),
        _ => Finding::Good,
    }
}

/// An answer of `/admin/v1/healthz`, which takes the way of all REST through ZITADEL's gateway back
/// to itself. Whatever came through it is proof that it works (`zitadel.md` §13.5).
pub fn rest(status: StatusCode, body: &[u8]) -> Finding {
    let contains = |text: &[u8]| body.windows(text.len()).any(|window| window == text);
    match status.as_u16() {
        503 if contains(b"Error while dialing") => {
            Finding::Bad("REST is not up: its gateway cannot dial ZITADEL itself".into())
        }
        502..=504 => Finding::Doubtful(format!("/admin/v1/healthz answers {}", status.as_u16())),
        _ => Finding::Good,
    }
}

/// An answer of a path that was configured.
pub fn http(status: StatusCode, expected: Option<u16>) -> Finding {
    let good = expected.map_or_else(|| status.is_success(), |expected| status.as_u16() == expected);
    if good { Finding::Good } else { Finding::Doubtful(format!("it answers {}", status.as_u16())) }
}

/// An answer of `grpc.health.v1.Health/Check`: the call's status, and the message in its frame.
pub fn grpc(status: Option<&str>, body: &[u8]) -> Finding {
    match (status, body.get(5..)) {
        // `status` is field 1: 1 SERVING, 2 NOT_SERVING, 3 SERVICE_UNKNOWN.
        (Some("0"), Some([0x08, 1, ..])) => Finding::Good,
        (Some("0"), Some([0x08, 2, ..])) => Finding::Bad("it answers NOT_SERVING".into()),
        (Some("0"), _) => Finding::Doubtful("it does not answer SERVING".into()),
        (Some(code), _) => Finding::Doubtful(format!("it answers gRPC status {code}")),
        (None, _) => Finding::Doubtful("it answers no gRPC".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Is {
        Good,
        Bad,
        Doubtful,
        Nothing,
    }

    fn is(finding: &Finding) -> Is {
        match finding {
            Finding::Good => Is::Good,
            Finding::Bad(_) => Is::Bad,
            Finding::Doubtful(_) => Is::Doubtful,
            Finding::Nothing(_) => Is::Nothing,
        }
    }

    fn status(code: u16) -> StatusCode {
        StatusCode::from_u16(code).unwrap()
    }

    #[test]
    fn once_may_be_chance_and_a_plain_no_is_believed() {
        let mut judge = Judge::default();
        let doubtful = Finding::Doubtful("late".into());
        for (finding, verdict) in [
            (&doubtful, None),
            (&Finding::Good, Some(Health::Ready)),
            (&doubtful, None),
            (&doubtful, Some(Health::Down)),
            (&Finding::Good, Some(Health::Ready)),
            (&Finding::Nothing("too many open files".into()), None),
            (&doubtful, None),
            (&Finding::Nothing("too many open files".into()), None),
            (&Finding::Bad("refused".into()), Some(Health::Down)),
        ] {
            assert_eq!(judge.hear(finding), verdict, "{finding:?}");
        }
    }

    #[test]
    fn what_zitadel_says_of_itself() {
        for (code, verdict) in
            [(200, Is::Good), (404, Is::Good), (412, Is::Bad), (500, Is::Doubtful)]
        {
            assert_eq!(is(&ready(status(code))), verdict, "{code}");
        }
        let dialing = br#"{"code":14, "message":"connection error: desc = \"transport: Error while dialing: dial tcp 127.0.0.1:8080: connect: connection refused\""}"#;
        for (code, body, verdict) in [
            (200, &b"{}"[..], Is::Good),
            (404, b"{\"code\":5}", Is::Good),
            (503, dialing, Is::Bad),
            (503, b"busy", Is::Doubtful),
            (502, b"", Is::Doubtful),
        ] {
            assert_eq!(is(&rest(status(code), body)), verdict, "{code}");
        }
    }

    #[test]
    fn what_a_path_and_grpc_health_say() {
        for (code, expected, verdict) in [
            (204, None, Is::Good),
            (302, None, Is::Doubtful),
            (302, Some(302), Is::Good),
            (200, Some(302), Is::Doubtful),
        ] {
            assert_eq!(is(&http(status(code), expected)), verdict, "{code} {expected:?}");
        }
        for (status, body, verdict) in [
            (Some("0"), &[0, 0, 0, 0, 2, 8, 1][..], Is::Good),
            (Some("0"), &[0, 0, 0, 0, 2, 8, 2], Is::Bad),
            (Some("0"), &[0, 0, 0, 0, 0], Is::Doubtful),
            (Some("5"), &[], Is::Doubtful),
            (None, &[], Is::Doubtful),
        ] {
            assert_eq!(is(&grpc(status, body)), verdict, "{status:?} {body:?}");
        }
    }
}
