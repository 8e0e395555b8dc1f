//! The status found in gRPC-Web frames does not depend on where the chunks are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ravelin::telemetry::grpc_status::WebTrailerScanner;

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (step, text, body) = input;
    let scanner = || if text { WebTrailerScanner::text() } else { WebTrailerScanner::binary() };
    let mut whole = scanner();
    whole.feed(body);
    let mut pieces = scanner();
    for chunk in body.chunks(usize::from(step) + 1) {
        pieces.feed(chunk);
    }
    assert_eq!(whole.status(), pieces.status());
});
