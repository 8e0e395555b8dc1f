use proptest::prelude::*;

use super::*;
use crate::message::name;

/// Names with and without a number.
const NAMES: [&str; 6] =
    ["content-type", "set-cookie", "te", "x-own", "x-other", "www-authenticate"];

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, u8),
    Append(usize, u8),
    Remove(usize),
    /// All but those with a dash.
    Retain,
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        (name.clone(), any::<u8>()).prop_map(|(name, value)| Step::Insert(name, value)),
        (name.clone(), any::<u8>()).prop_map(|(name, value)| Step::Append(name, value)),
        name.prop_map(Step::Remove),
        Just(Step::Retain),
    ]
}

fn value(value: u8) -> HeaderValue {
    HeaderValue::from(u16::from(value))
}

proptest! {
    /// Whatever is done to both, they say the same as the `http` crate's map.
    #[test]
    fn fields_hold_what_a_map_would(steps in prop::collection::vec(step(), 0..40)) {
        let (mut fields, mut map) = (Fields::new(), http::HeaderMap::new());
        for step in steps {
            match step {
                Step::Insert(name, v) => {
                    let name = NAMES[name];
                    prop_assert_eq!(fields.insert(name, value(v)), map.insert(name, value(v)));
                }
                Step::Append(name, v) => {
                    fields.append(NAMES[name], value(v));
                    map.append(NAMES[name], value(v));
                }
                Step::Remove(name) => {
                    prop_assert_eq!(fields.remove(NAMES[name]), map.remove(NAMES[name]));
                }
                Step::Retain => {
                    fields.retain(|name| !name.as_str().contains('-'));
                    for name in NAMES.iter().filter(|name| name.contains('-')) {
                        map.remove(*name);
                    }
                }
            }
            prop_assert_eq!(fields.len(), map.len());
            for name in NAMES {
                prop_assert_eq!(fields.contains_key(name), map.contains_key(name));
                prop_assert_eq!(fields.get(name), map.get(name));
                prop_assert!(fields.get_all(name).eq(map.get_all(name)));
                prop_assert!(fields.get_all(name).rev().eq(map.get_all(name).iter().rev()));
            }
            prop_assert_eq!(&fields, &Fields::from(&map));
            prop_assert_eq!(&fields, &Fields::from(map.clone()));
            prop_assert_eq!(http::HeaderMap::from(fields.clone()), map.clone());
        }
    }
}

#[test]
fn the_order_of_names_means_nothing_and_that_of_values_something() {
    let fields = |lines: &[(&'static str, u8)]| -> Fields {
        lines.iter().map(|(name, v)| (FieldName::from_static(name), value(*v))).collect()
    };
    let one = fields(&[("te", 1), ("x-own", 2), ("te", 3)]);
    assert_eq!(one, fields(&[("x-own", 2), ("te", 1), ("te", 3)]));
    assert_ne!(one, fields(&[("te", 3), ("x-own", 2), ("te", 1)]));
    assert_ne!(one, fields(&[("te", 1), ("x-own", 2)]));
    assert_ne!(one, fields(&[("te", 1), ("x-other", 2), ("te", 3)]));
    assert_eq!(format!("{one:?}"), r#"{"te": "1", "x-own": "2", "te": "3"}"#);
}

#[test]
fn a_field_that_is_said_once_stands_for_all_that_were_there() {
    let mut fields = Fields::new();
    fields.append(name::SET_COOKIE, value(1));
    fields.append(name::TE, value(2));
    fields.append(name::SET_COOKIE, value(3));
    assert_eq!(fields.insert(name::SET_COOKIE, value(4)), Some(value(1)));
    let lines: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(lines, [("set-cookie", value(4)), ("te", value(2))]);
}

#[test]
fn what_a_secret_says_is_not_shown() {
    let mut secret = HeaderValue::from_static("token");
    secret.set_sensitive(true);
    let fields = Fields::from_iter([(name::AUTHORIZATION, secret)]);
    assert!(!format!("{fields:?}").contains("token"));
}
