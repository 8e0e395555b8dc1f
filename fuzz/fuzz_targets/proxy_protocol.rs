//! A PROXY protocol header is decoded or refused, never more than is there, whatever it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ravelin::downstream::proxy_protocol::decode;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode(bytes);
});
