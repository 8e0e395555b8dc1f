//! Any text is a configuration or a list of faults that can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ravelin::config::{Files, Overrides, load_str};

fuzz_target!(|text: &str| {
    if let Err(faults) = load_str("fuzz.yaml", text, &Overrides::default(), Files::Ignored) {
        assert!(!faults.to_string().is_empty());
    }
});
