//! An authority that was accepted is made of the text it came from, and equals itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ravelin::pipeline::authority::Authority;

fuzz_target!(|text: &str| {
    let Some(authority) = Authority::parse(text) else { return };
    assert!(text.starts_with(authority.host));
    assert!(authority.same_as(&authority, Some(443)));
    assert!(!authority.host.bytes().any(|byte| byte <= b' ' || byte == b'/' || byte == b'@'));
});
