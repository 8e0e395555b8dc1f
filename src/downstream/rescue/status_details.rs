//! The rich form of a gRPC status (`google/rpc/status.proto`, `google/rpc/error_details.proto`), as far
//! as Ravelin has details to tell: after which time the call may be made again. Two messages of three
//! fields are written by hand here: a generator would need protoc.

/// The type of the detail that says when to come again.
pub(super) const RETRY_INFO: &str = "google.rpc.RetryInfo";

/// The wire types in use (Protocol Buffers, "Encoding").
const VARINT: u8 = 0;
const LENGTH: u8 = 2;

/// `google.rpc.Status` with one `google.rpc.RetryInfo`.
pub(super) fn status(code: u8, message: &str, seconds: u32) -> Vec<u8> {
    let mut any = Vec::new();
    field(1, format!("type.googleapis.com/{RETRY_INFO}").as_bytes(), &mut any);
    field(2, &retry_info(seconds), &mut any);
    let mut status = Vec::new();
    number(1, code.into(), &mut status);
    field(2, message.as_bytes(), &mut status);
    field(3, &any, &mut status);
    status
}

/// `google.rpc.RetryInfo`, whose one field is a `google.protobuf.Duration`.
pub(super) fn retry_info(seconds: u32) -> Vec<u8> {
    let mut duration = Vec::new();
    number(1, seconds.into(), &mut duration);
    let mut info = Vec::new();
    field(1, &duration, &mut info);
    info
}

fn number(tag: u8, value: u64, out: &mut Vec<u8>) {
    out.push(tag << 3 | VARINT);
    varint(value, out);
}

fn field(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag << 3 | LENGTH);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Seven bits at a time, the lowest first; the eighth says that more follow.
fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[derive(Clone, PartialEq, prost::Message)]
    struct Status {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
        #[prost(message, repeated, tag = "3")]
        details: Vec<prost_types::Any>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        retry_delay: Option<prost_types::Duration>,
    }

    #[test]
    fn a_decoder_not_ours_reads_what_was_written() {
        for (code, message, seconds) in
            [(14, "The service is busy.", 1), (8, "", 300), (8, &*"é".repeat(200), u32::MAX)]
        {
            let read = Status::decode(&status(code, message, seconds)[..]).unwrap();
            assert_eq!((read.code, &*read.message), (i32::from(code), message));
            assert_eq!(read.details.len(), 1);
            assert_eq!(read.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
            let info = RetryInfo::decode(&read.details[0].value[..]).unwrap();
            let delay = info.retry_delay.unwrap();
            assert_eq!((delay.seconds, delay.nanos), (i64::from(seconds), 0));
        }
    }
}
