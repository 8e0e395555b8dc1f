use std::cell::Cell;

use super::*;

fn state() -> Arc<EndpointState> {
    EndpointState::new("c".into(), "e".into())
}

#[test]
fn burdens_of_all_workers_add_up_and_outlive_their_worker() {
    let state = state();
    let (one, two) = (state.burden(), state.burden());
    one.more();
    two.more();
    two.more();
    assert_eq!(state.in_flight(), 3);
    drop(one);
    let three = state.burden();
    assert_eq!(state.in_flight(), 3, "what is still counted is not forgotten");
    two.less();
    two.less();
    drop((two, three));
    assert_eq!(state.in_flight(), 1);
}

#[test]
fn a_refused_connect_is_down_at_once_only_where_somebody_checks() {
    let state = state();
    state.refused("connection refused");
    assert_eq!(state.health(Need::Rpc), Health::Unknown);
    state.check_begins();
    state.set_health(Need::Rest, Health::Ready, None);
    state.refused("connection refused");
    assert_eq!(state.health(Need::Rpc), Health::Down);
    assert_eq!(state.health(Need::Rest), Health::Down);
    assert_eq!(state.why(Need::Rpc).as_deref(), Some("connection refused"));
    assert!(state.set_health(Need::Rpc, Health::Ready, None) && state.age().is_some());
    state.check_ends();
    assert_eq!(state.health(Need::Rest), Health::Unknown);
}

#[test]
fn what_is_told_of_a_drained_one_is_that_and_not_what_was_before() {
    let state = state();
    state.check_begins();
    state.set_health(Need::Rpc, Health::Down, Some("412"));
    assert_eq!(state.why(Need::Rpc).as_deref(), Some("412"));
    state.set_health(Need::Rpc, Health::Ready, None);
    assert_eq!(state.why(Need::Rpc), None, "what is over is no reason");
    state.set_health(Need::Rest, Health::Down, Some("no gateway"));
    assert_eq!(state.words(), "ready, but not for REST: no gateway");
    state.set_draining(true);
    assert_eq!(
        (state.why(Need::Rest).as_deref(), &*state.words()),
        (Some("it is drained"), "draining")
    );
}

#[test]
fn an_ejection_is_of_one_kind_grows_and_ends_when_it_answers_well() {
    let state = state();
    let pause = |times: u32| Duration::from_secs(60 << u64::from(times));
    assert!(state.eject(Need::Rest, Charge::Reset, pause));
    assert!(!state.eject(Need::Rest, Charge::Reset, pause), "it is ejected already");
    assert!(state.is_ejected(Need::Rest) && !state.is_ejected(Need::Rpc));
    state.redeem(Need::Rest);
    assert!(!state.is_ejected(Need::Rest) && !state.on_probation(Need::Rest));
    assert!(state.age().is_some(), "it begins slowly");
}

#[test]
fn a_restart_is_no_reason_to_leave_it_alone_for_longer_the_next_time() {
    let state = state();
    state.check_begins();
    for _ in 0..5 {
        let first = Cell::new(None);
        assert!(state.eject(Need::Rpc, Charge::Connect, |times| {
            first.set(Some(times));
            Duration::from_secs(1)
        }));
        assert_eq!(first.get(), Some(0), "each is the first");
        state.set_health(Need::Rpc, Health::Down, Some("restarting"));
        state.set_health(Need::Rpc, Health::Ready, None);
    }
}
