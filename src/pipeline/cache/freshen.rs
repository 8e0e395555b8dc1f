//! What a 304 changes of a kept head (RFC 9111 §3.2, §4.3.4).

use crate::message::{FieldName, Fields};

/// The fields of a 304 that take the place of kept ones (RFC 9111 §3.2): not those that describe the
/// body that stays.
pub fn freshened(mut kept: Fields, news: &Fields) -> Fields {
    for name in news.names().filter(|name| !describes_body(name)) {
        kept.remove(name);
        for value in news.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

fn describes_body(name: &FieldName) -> bool {
    ["content-encoding", "content-length", "content-md5", "content-range", "etag", "cache-status"]
        .contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> Fields {
        let mut map = Fields::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn what_a_304_says_anew_counts_but_for_the_body_that_stays() {
        let kept = [("etag", "\"a\""), ("content-length", "5"), ("x", "1"), ("x", "2"), ("y", "1")];
        let news = [("etag", "\"b\""), ("content-length", "0"), ("x", "3"), ("z", "1"), ("z", "2")];
        let expected = [
            ("etag", "\"a\""),
            ("content-length", "5"),
            ("x", "3"),
            ("y", "1"),
            ("z", "1"),
            ("z", "2"),
        ];
        assert_eq!(freshened(headers(&kept), &headers(&news)), headers(&expected));
    }
}
