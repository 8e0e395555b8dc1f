use super::*;
use crate::body::testing::whole;

const SITE: &str = "https://id.test";

fn name(path: &str, origin: Option<&'static str>) -> Name {
    let mut asked = Fields::new();
    asked.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))));
    Shield::name(&format!("{SITE}{path}"), &asked).unwrap()
}

async fn passes(shield: &Arc<Shield>, name: Name, says: &'static str, body: &str, at: Instant) {
    let mut response = Response::new(Body::from(Bytes::copy_from_slice(body.as_bytes())));
    for (name, value) in [("cache-control", says), ("set-cookie", "a=1"), ("x", "y")] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let answer = shield.copy(name, response, at);
    assert_eq!(answer.headers()["set-cookie"], "a=1", "who asks has it");
    assert_eq!(whole(answer.into_body()).await.unwrap().bytes, body);
}

#[tokio::test]
async fn copies_stand_in_for_as_long_as_the_keys_live_and_without_cookies() {
    let (shield, start) = (Arc::new(Shield::default()), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    let discovery = name(DISCOVERY, None);
    passes(&shield, discovery.clone(), "no-store", "discovery", start).await;
    assert!(shield.instead(&discovery, None, start).is_none(), "nothing is known of the keys");
    let keys = name(KEYS, None);
    passes(&shield, keys.clone(), "max-age=300, must-revalidate", "keys", at(10)).await;
    for (name, body, last) in [(&discovery, "discovery", 299), (&keys, "keys", 309)] {
        let answer = shield.instead(name, None, at(last)).unwrap();
        assert!(!answer.headers().contains_key(SET_COOKIE));
        assert_eq!(
            (&answer.headers()["age"], &answer.headers()["x"]),
            (&"299".parse().unwrap(), &"y".parse().unwrap())
        );
        assert_eq!(answer.headers()[CONTENT_LENGTH], body.len().to_string());
        assert_eq!(whole(answer.into_body()).await.unwrap().bytes, body);
        assert!(shield.instead(name, None, at(last + 1)).is_none());
    }
    assert!(shield.instead(&name(KEYS, Some("https://app.test")), None, start).is_none());
    assert_eq!(shield.purge(&Purge::Host("other.test".into())), 0);
    assert_eq!(shield.purge(&Purge::Host("id.test".into())), 2);
    assert!(shield.instead(&keys, None, at(10)).is_none());
}

#[tokio::test]
async fn what_is_private_personal_or_large_is_not_copied() {
    let (shield, now) = (Arc::new(Shield::default()), Instant::now());
    let keys = name(KEYS, None);
    let large = "x".repeat(LARGEST + 1);
    for (says, body) in [
        ("private, max-age=9", "a"),
        ("no-store", "a"),
        ("no-store, max-age=9", "a"),
        ("max-age=9", &large),
    ] {
        passes(&shield, keys.clone(), says, body, now).await;
        assert!(shield.instead(&keys, None, now).is_none(), "{says}");
    }
    let mut asked = Fields::new();
    asked.insert(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    assert_eq!(Shield::name(SITE, &asked), Err("authorization"));
}

#[tokio::test]
async fn no_client_can_make_more_of_an_address_than_two_copies() {
    let (shield, now) = (Arc::new(Shield::default()), Instant::now());
    let query = format!("{SITE}{KEYS}?a=1");
    assert_eq!(Shield::name(&query, &Fields::new()), Err("query"));
    let one = HeaderValue::from_static("https://one.test");
    let other = HeaderValue::from_static("https://other.test");
    let asked = name(KEYS, Some("https://one.test"));
    let mut response = Response::new(Body::from(Bytes::from_static(b"keys")));
    response.headers_mut().insert("cache-control", HeaderValue::from_static("max-age=9"));
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, one);
    whole(shield.copy(asked, response, now).into_body()).await.unwrap();
    // Another origin reads the same copy, by its own name.
    let answer = shield.instead(&name(KEYS, Some("https://other.test")), Some(other.clone()), now);
    assert_eq!(answer.unwrap().headers()[ACCESS_CONTROL_ALLOW_ORIGIN], other);
}
