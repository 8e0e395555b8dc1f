//! A path is refused, leads to one that is clear, or is clear itself: then no segment of it means
//! another place, and it has as many as were sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ravelin::pipeline::path::decode::{Sight, encoded, pattern, sight};

fuzz_target!(|text: &str| {
    match sight(text) {
        Err(_) => {}
        Ok(Sight::Clear(seen)) => {
            assert!(!seen.contains("//") && !seen.split('/').any(|segment| segment == ".."));
            assert_eq!(seen.matches('/').count(), text.matches('/').count());
            if !seen.contains('\\') {
                assert_eq!(pattern(&encoded(&seen)).as_deref(), Some(&*seen));
            }
        }
        Ok(Sight::Detour(clean)) => {
            assert!(clean.starts_with('/') && !clean.starts_with("//"));
            assert!(matches!(sight(&clean), Ok(Sight::Clear(_))), "{clean}");
        }
    }
});
