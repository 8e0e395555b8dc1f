use proptest::prelude::*;

use super::*;

const fn failed(cause: Kind, policy: RetryPolicy) -> Failed {
    Failed {
        cause,
        policy,
        read: false,
        replayable: true,
        sent: 1,
        asked: 1,
        another: true,
        pauses: 0,
        hold: Duration::ZERO,
        left: None,
    }
}

const fn read(cause: Kind) -> Failed {
    Failed { read: true, ..failed(cause, RetryPolicy::Reads) }
}

#[test]
fn the_policy_decides_which_causes_count() {
    use RetryPolicy::{Never, Reads, Unsent};
    let (again, give) = (Next::Again, Next::Give);
    for (cause, policy, is_read, expected) in [
        (Kind::Connect, Never, true, give),
        (Kind::Connect, Unsent, false, again),
        (Kind::Connect, Reads, false, again),
        (Kind::ConnectTimeout, Unsent, false, again),
        (Kind::NoSocket, Unsent, false, again),
        (Kind::Refused, Never, true, give),
        (Kind::Refused, Unsent, false, again),
        (Kind::Refused, Reads, false, again),
        (Kind::Starting, Unsent, false, again),
        (Kind::Starting, Never, false, give),
        (Kind::Reset, Never, true, give),
        (Kind::Reset, Unsent, true, give),
        (Kind::Reset, Reads, false, give),
        (Kind::Reset, Reads, true, again),
        (Kind::Gateway, Unsent, true, give),
        (Kind::Gateway, Reads, false, give),
        (Kind::Gateway, Reads, true, again),
        (Kind::Missing, Unsent, false, again),
        (Kind::Deadline, Reads, true, give),
        (Kind::Incomplete, Reads, true, give),
        (Kind::BodyTooLarge, Reads, true, give),
        (Kind::NotHttp2, Reads, true, give),
    ] {
        let failed = Failed { read: is_read, ..failed(cause, policy) };
        assert_eq!(next(&failed), expected, "{cause:?} {policy:?} read: {is_read}");
    }
}

#[test]
fn attempts_that_were_seen_are_counted_and_apart() {
    let alone = |cause, sent, pauses| Failed { another: false, sent, pauses, ..read(cause) };
    assert_eq!(next(&Failed { sent: 2, ..read(Kind::Reset) }), Next::Again);
    assert_eq!(next(&Failed { sent: SENT, ..read(Kind::Reset) }), Next::Give);
    assert_eq!(next(&alone(Kind::Reset, 1, 0)), Next::Later(PAUSE));
    assert_eq!(next(&alone(Kind::Reset, 2, 1)), Next::Later(2 * PAUSE));
    // A connection's age is nobody's failure.
    assert_eq!(next(&alone(Kind::Refused, 1, 0)), Next::Again);
    assert_eq!(next(&alone(Kind::Refused, 2, 0)), Next::Later(PAUSE));
    assert_eq!(next(&alone(Kind::Gateway, 1, 0)), Next::Give);
    assert_eq!(next(&Failed { sent: 2, ..read(Kind::Gateway) }), Next::Give);
}

#[test]
fn nobody_there_is_waited_for_as_long_as_the_route_holds() {
    let hold = Duration::from_secs(5);
    let down = Failed { another: false, ..failed(Kind::Connect, RetryPolicy::Unsent) };
    assert_eq!(next(&down), Next::Give);
    assert_eq!(next(&Failed { hold, ..down }), Next::Later(PAUSE));
    assert_eq!(next(&Failed { hold, pauses: 3, sent: 40, ..down }), Next::Later(8 * PAUSE));
    assert_eq!(next(&Failed { hold, pauses: 30, ..down }), Next::Later(LONGEST));
    assert_eq!(next(&Failed { hold: PAUSE / 2, ..down }), Next::Later(PAUSE / 2));
    assert_eq!(next(&Failed { hold: SHORTEST / 2, ..down }), Next::Give);
    assert_eq!(next(&Failed { hold, another: true, ..down }), Next::Again);
    // Without a hold as many are asked as a request is sent at most.
    assert_eq!(next(&Failed { another: true, asked: 3, ..down }), Next::Give);
}

#[test]
fn what_upstream_had_work_with_costs() {
    for (cause, sent, expected) in [
        (Kind::Connect, 1, false),
        (Kind::Starting, 5, false),
        (Kind::Refused, 1, false),
        (Kind::Refused, 2, true),
        (Kind::Reset, 1, true),
        (Kind::Gateway, 1, true),
        (Kind::Missing, 1, false),
    ] {
        assert_eq!(costs(&Failed { sent, ..read(cause) }), expected, "{cause:?} {sent}");
    }
}

#[test]
fn nothing_is_begun_that_cannot_end_in_time() {
    let left = |left| Failed { left: Some(left), another: false, ..read(Kind::Reset) };
    assert_eq!(next(&left(Duration::ZERO)), Next::Give);
    assert_eq!(next(&left(PAUSE)), Next::Give);
    assert_eq!(next(&left(2 * PAUSE)), Next::Later(PAUSE));
    assert_eq!(next(&Failed { another: true, ..left(Duration::ZERO) }), Next::Give);
}

fn any_kind() -> impl Strategy<Value = Kind> {
    (0..Kind::ALL.len()).prop_map(|i| Kind::ALL[i])
}

proptest! {
    #[test]
    fn what_may_have_been_seen_is_sent_again_only_if_it_is_a_read(
        cause in any_kind(), sent in 0..5_u32, another: bool, pauses in 0..9_u32, hold in 0..9_000_u64,
        policy in prop_oneof![Just(RetryPolicy::Unsent), Just(RetryPolicy::Reads)],
    ) {
        let hold = Duration::from_millis(hold);
        let failed = Failed { sent, another, pauses, hold, ..failed(cause, policy) };
        if cause.retry() != Retry::Unsent {
            prop_assert_eq!(next(&failed), Next::Give);
        }
        prop_assert_eq!(next(&Failed { replayable: false, ..failed }), Next::Give);
        prop_assert_eq!(next(&Failed { policy: RetryPolicy::Never, ..failed }), Next::Give);
    }
}
