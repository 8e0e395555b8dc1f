//! Header blocks on one connection, one behind the other: each is decoded or refused, and what
//! was decoded is encoded to something that decodes to the same.
#![no_main]

use ravelin::message::Fields;
use libfuzzer_sys::fuzz_target;
use ravelin::http2::hpack::decode::{Decoder, Field};
use ravelin::http2::hpack::encode::Encoder;

fuzz_target!(|blocks: Vec<Vec<u8>>| {
    let (mut decoder, mut again) = (Decoder::default(), Decoder::default());
    let mut encoder = Encoder::new(true);
    for block in blocks {
        let mut fields = Fields::new();
        let decoded = decoder.decode(&block, |field, size| {
            assert!(size >= 32);
            if let Field::Regular(name, value) = field.into_owned() {
                fields.append(name, value);
            }
        });
        if decoded.is_err() {
            return;
        }
        let mut out = Vec::new();
        encoder.trailers(&fields, &mut out);
        let mut back = Fields::new();
        again
            .decode(&out, |field, _| match field.into_owned() {
                Field::Regular(name, value) => {
                    back.append(name, value);
                }
                other => panic!("{other:?}"),
            })
            .expect("what we encode can be decoded");
        assert_eq!(fields, back);
    }
});
