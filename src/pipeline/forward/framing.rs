//! Decides whether a message's length is told in one way only (RFC 9112 §6.3, RFC 9113 §8.1.1).
//! A message whose end two peers see in different places is how requests are smuggled, so every
//! doubt ends it. What HTTP/2 itself forbids in fields the `h2` crate has refused before.

use http::Version;

use crate::error::{Error, Kind};
use crate::message::Fields;
use crate::message::name::{CONTENT_LENGTH, TRANSFER_ENCODING};

/// Checks a request's framing; the error is `BadRequest`, or `Unsupported` for transfer codings
/// other than chunked (RFC 9112 §6.1).
pub fn request_framing(version: Version, headers: &Fields) -> Result<(), Error> {
    match check(version, headers) {
        Ok(()) => Ok(()),
        Err(Fault::Doubtful) => Err(Kind::BadRequest.into()),
        Err(Fault::Coding) => Err(Kind::Unsupported.into()),
    }
}

/// Checks an answer's framing; the error is `Protocol`.
pub fn response_framing(version: Version, headers: &Fields) -> Result<(), Error> {
    check(version, headers).map_err(|_| Kind::Protocol.into())
}

/// What is wrong with a message's framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The length is told twice, or not in digits.
    Doubtful,
    /// A transfer coding that nobody here decodes.
    Coding,
}

fn check(version: Version, headers: &Fields) -> Result<(), Fault> {
    let length = headers.contains_key(CONTENT_LENGTH);
    if headers.contains_key(TRANSFER_ENCODING) {
        if length || version != Version::HTTP_11 {
            return Err(Fault::Doubtful);
        }
        return check_codings(headers);
    }
    if length { check_length(headers) } else { Ok(()) }
}

fn check_codings(headers: &Fields) -> Result<(), Fault> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(coding), None) if coding.as_bytes().to_ascii_lowercase().ends_with(b"chunked") => {
            Err(Fault::Coding)
        }
        _ => Err(Fault::Doubtful),
    }
}

fn check_length(headers: &Fields) -> Result<(), Fault> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (Some(length), None) = (lengths.next(), lengths.next()) else {
        return Err(Fault::Doubtful);
    };
    let digits = length.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Doubtful);
    }
    let fits = std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u64>().is_ok());
    if fits { Ok(()) } else { Err(Fault::Doubtful) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn judge(version: Version, fields: &[(&'static str, &'static str)]) -> Option<Kind> {
        let mut headers = Fields::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let request = request_framing(version, &headers).err().map(|error| error.kind());
        let response = response_framing(version, &headers).err().map(|error| error.kind());
        assert_eq!(response, request.map(|_| Kind::Protocol));
        request
    }

    #[test]
    fn a_length_is_told_once_and_in_digits() {
        let length = "content-length";
        let coding = "transfer-encoding";
        for (fields, expected) in [
            (&[][..], None),
            (&[(length, "0")], None),
            (&[(length, "18446744073709551615")], None),
            (&[(coding, "chunked")], None),
            (&[(coding, "Chunked")], None),
            (&[(length, "18446744073709551616")], Some(Kind::BadRequest)),
            (&[(length, "")], Some(Kind::BadRequest)),
            (&[(length, "+1")], Some(Kind::BadRequest)),
            (&[(length, "-1")], Some(Kind::BadRequest)),
            (&[(length, "0x1")], Some(Kind::BadRequest)),
            (&[(length, "1, 1")], Some(Kind::BadRequest)),
            (&[(length, "1"), (length, "1")], Some(Kind::BadRequest)),
            (&[(length, "1"), (length, "2")], Some(Kind::BadRequest)),
            (&[(length, "1"), (coding, "chunked")], Some(Kind::BadRequest)),
            (&[(coding, "gzip")], Some(Kind::BadRequest)),
            (&[(coding, "chunked, identity")], Some(Kind::BadRequest)),
            (&[(coding, "chunked"), (coding, "chunked")], Some(Kind::BadRequest)),
            (&[(coding, "gzip, chunked")], Some(Kind::Unsupported)),
        ] {
            assert_eq!(judge(Version::HTTP_11, fields), expected, "{fields:?}");
        }
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert_eq!(judge(version, &[(coding, "chunked")]), Some(Kind::BadRequest));
            assert_eq!(judge(version, &[(length, "1")]), None);
        }
    }
}
