use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::message::FieldName;

fn cost(load: u64, latency: f32) -> Cost {
    Cost { load, latency }
}

/// How often each of these is chosen in 10,000 draws.
fn spread(candidates: &[(f32, Cost)]) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut counts = vec![0; candidates.len()];
    for _ in 0..10_000 {
        let choice = two_choices(
            candidates.len(),
            |i| candidates[i].0,
            |i| candidates[i].1,
            || random.f32(),
        );
        counts[choice.chosen] += 1;
    }
    counts
}

#[test]
fn the_better_of_two_wins() {
    for (one, other, worse) in [
        (cost(1, 0.0), cost(0, 0.0), true),
        (cost(0, 0.0), cost(1, 0.0), false),
        (cost(5, 3.0), cost(4, 5.0), true),
        (cost(0, 500.0), cost(9, 2.0), true),
        (cost(0, 10.0), cost(9, 3.0), false),
        (cost(0, 500.0), cost(1, 0.0), false),
        (cost(3, 0.9), cost(3, 0.1), false),
    ] {
        assert_eq!(one.is_worse_than(other), worse, "{one:?} {other:?}");
    }
}

#[test]
fn alike_endpoints_share_alike() {
    let counts = spread(&[(1.0, cost(0, 1.0)), (1.0, cost(0, 1.5)), (1.0, cost(0, 1.9))]);
    assert!(counts.iter().all(|count| (3_000..3_700).contains(count)), "{counts:?}");
}

#[test]
fn a_slow_one_gets_nothing_and_a_new_one_little() {
    assert_eq!(spread(&[(1.0, cost(0, 500.0)), (1.0, cost(3, 2.0))]), [0, 10_000]);
    let counts = spread(&[(1.0, cost(2, 2.0)), (1.0, cost(2, 2.0)), (0.1, cost(0, 0.0))]);
    assert!((500..2_500).contains(&counts[2]), "{counts:?}");
    let counts = spread(&[(3.0, cost(0, 0.0)), (1.0, cost(0, 0.0))]);
    assert!((7_200..7_800).contains(&counts[0]), "{counts:?}");
}

#[test]
fn the_share_of_a_new_one_grows_until_it_is_full() {
    let share = |millis| ramp(Duration::from_millis(millis));
    assert_eq!(share(0), Some(0.1));
    assert_eq!(share(5_000), Some(0.5));
    assert_eq!(share(10_000), None);
}

#[tokio::test(start_paused = true)]
async fn a_peak_is_believed_at_once_and_forgotten_slowly() {
    let latency = Latency::default();
    let now = Instant::now();
    assert_eq!(latency.at(now), 0.0);
    latency.observe(Duration::from_millis(2), now);
    latency.observe(Duration::from_millis(500), now);
    assert_eq!(latency.at(now), 500.0);
    latency.observe(Duration::from_millis(2), now);
    assert!(latency.at(now) > 450.0, "one quick answer is no proof");
    let later = now + Duration::from_secs(30);
    assert!(latency.at(later) < 2.0, "it is asked again");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_was_idle_does_not_make_others_outliers() {
    use crate::upstream::eject::{Charge, Word, word};
    let (idle, now) = (Latency::default(), Instant::now());
    assert_eq!(idle.seen(now), 0.0);
    idle.observe(Duration::from_millis(300), now);
    let took = Some(Duration::from_millis(500));
    let judged = |later: u64| {
        let now = now + Duration::from_secs(later);
        word(Ok(http::StatusCode::OK), took, idle.seen(now))
    };
    for later in [0, 10, 29, 31, 3_600] {
        assert_eq!(judged(later), Word::Good, "after {later} s");
    }
    let faded = idle.at(now + Duration::from_secs(10));
    assert!(faded < 50.0, "it is asked again: {faded}");
    // One that was quick a moment ago is a measure.
    idle.observe(Duration::from_millis(20), now + Duration::from_secs(3_600));
    idle.observe(Duration::from_millis(20), now + Duration::from_secs(3_660));
    assert_eq!(judged(3_670), Word::Bad(Charge::Latency));
}

#[test]
fn what_an_exchange_is_hashed_by() {
    let mut headers = Fields::new();
    headers.append(COOKIE, HeaderValue::from_static("a=1; session=x"));
    headers.append(COOKIE, HeaderValue::from_static("session=y"));
    headers.insert("x-org", HeaderValue::from_static("42"));
    let client: IpAddr = "192.0.2.1".parse().unwrap();
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    let key = |by: HashBy, client| key(&by, &headers, client);
    assert_eq!(key(HashBy::Cookie("session".into()), None), Some(key_of("x")));
    assert_eq!(key(HashBy::Cookie("b".into()), None), None);
    assert_eq!(
        key(HashBy::Header(FieldName::from_static("x-org")), None),
        Some(key_of("42".as_bytes()))
    );
    assert_eq!(key(HashBy::Client, Some(client)), key(HashBy::Client, Some(mapped)));
    assert_eq!(key(HashBy::Client, None), None);
}

fn places(names: &[u64], loads: &[u64]) -> Vec<u64> {
    (0..1_000_u64)
        .map(|k| names[by_key(names.len(), key_of(k), |i| names[i], |_| 1, |i| loads[i])])
        .collect()
}

#[test]
fn a_key_moves_only_when_its_own_endpoint_goes() {
    let names: Vec<u64> = (0..5_u64).map(key_of).collect();
    let before = places(&names, &[0; 5]);
    let after = places(&names[..4], &[0; 4]);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || *before == names[4]);
    }
    let share = before.iter().filter(|place| **place == names[0]).count();
    assert!((130..270).contains(&share), "{share}");
}

#[test]
fn a_key_leaves_an_endpoint_that_has_far_more_than_the_others() {
    let names: Vec<u64> = (0..3_u64).map(key_of).collect();
    let places = places(&names, &[50, 1, 1]);
    assert!(!places.contains(&names[0]));
}

proptest! {
    #[test]
    fn whatever_is_drawn_is_among_them_and_is_not_the_worse(
        candidates in prop::collection::vec((0.01_f32..4.0, 0_u64..100, 0.0_f32..900.0), 1..12),
        seed in any::<u64>(),
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let of = |i: usize| cost(candidates[i].1, candidates[i].2);
        let choice = two_choices(candidates.len(), |i| candidates[i].0, of, || random.f32());
        prop_assert!(choice.chosen < candidates.len());
        prop_assert_eq!(choice.other.is_none(), candidates.len() == 1);
        if let Some(other) = choice.other {
            prop_assert!(other < candidates.len() && other != choice.chosen);
            prop_assert!(!of(choice.chosen).is_worse_than(of(other)));
        }
    }
}
