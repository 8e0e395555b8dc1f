//! What is passed on as a deadline is read back as at least as long, and again unchanged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ravelin::pipeline::forward::deadline::{
    format_connect, format_grpc, parse_connect, parse_grpc,
};

fuzz_target!(|bytes: &[u8]| {
    if let Some(left) = parse_grpc(bytes) {
        let written = format_grpc(left);
        let read = parse_grpc(written.as_bytes()).expect("what was written is valid");
        assert!(read >= left);
        assert_eq!(parse_grpc(format_grpc(read).as_bytes()), Some(read));
    }
    if let Some(left) = parse_connect(bytes) {
        let read = parse_connect(format_connect(left).as_bytes()).expect("what was written is valid");
        assert!(read >= left);
    }
});
