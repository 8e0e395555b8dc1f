use proptest::prelude::*;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, Invalid> {
    let mut lines = Vec::new();
    decoder.decode(block, |field, _| {
        lines.push(match field.into_owned() {
            Field::Method(method) => format!(":method {method}"),
            Field::Scheme(scheme) => format!(":scheme {scheme}"),
            Field::Authority(authority) => format!(":authority {authority}"),
            Field::Path(path) => format!(":path {path}"),
            Field::Protocol(protocol) => format!(":protocol {protocol}"),
            Field::Status(status) => format!(":status {}", status.as_str()),
            Field::Regular(name, value) => format!("{name} {}", value.to_str().unwrap()),
            Field::Malformed => "malformed".into(),
        });
    })?;
    Ok(lines)
}

#[test]
fn requests_of_rfc_7541_with_huffman_code() {
    // Appendix C.4: three on one connection.
    let mut decoder = Decoder::default();
    let first = [":method GET", ":scheme http", ":path /", ":authority www.example.com"];
    let block = bytes("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff");
    assert_eq!(decoded(&mut decoder, &block).unwrap(), first);
    assert_eq!(decoder.size, 57);
    let block = bytes("8286 84be 5886 a8eb 1064 9cbf");
    let second = [&first[..], &["cache-control no-cache"]].concat();
    assert_eq!(decoded(&mut decoder, &block).unwrap(), second);
    assert_eq!(decoder.size, 110);
    let block = bytes("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf");
    assert_eq!(
        decoded(&mut decoder, &block).unwrap(),
        [
            ":method GET",
            ":scheme https",
            ":path /index.html",
            ":authority www.example.com",
            "custom-key custom-value"
        ]
    );
    assert_eq!(decoder.size, 164);
}

#[test]
fn answers_of_rfc_7541_drive_out_what_is_oldest() {
    // Appendix C.5, whose table has 256 bytes.
    let mut decoder = Decoder::default();
    let mut block = bytes("3fe1 01");
    block.extend(bytes(
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
         2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
         6c65 2e63 6f6d",
    ));
    let first = [
        ":status 302",
        "cache-control private",
        "date Mon, 21 Oct 2013 20:13:21 GMT",
        "location https://www.example.com",
    ];
    assert_eq!(decoded(&mut decoder, &block).unwrap(), first);
    assert_eq!(decoder.size, 222);
    let second = decoded(&mut decoder, &bytes("4803 3330 37c1 c0bf")).unwrap();
    assert_eq!(second[0], ":status 307");
    assert_eq!(second[1..], first[1..]);
    assert_eq!(decoder.size, 222);
    let block = bytes(
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
         54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
         5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
         3d31",
    );
    let third = decoded(&mut decoder, &block).unwrap();
    assert_eq!(third[..2], [":status 200", "cache-control private"]);
    assert_eq!(third[5], "set-cookie foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1");
    assert_eq!(decoder.size, 215);
}

#[test]
fn what_cannot_be_decoded_is_refused() {
    for (block, why) in [
        ("80", "index 0"),
        ("be", "an entry that is not there"),
        ("7e", "a name that is not there"),
        ("40 05 61", "a name that is cut off"),
        ("40 01 61", "no value"),
        ("40 01 61 81 00", "a padding of zeros"),
        ("82 20", "a change of size behind a field"),
        ("3f e2 1f", "a table larger than allowed"),
        ("ff 80 80 80 80 80", "an integer without end"),
    ] {
        assert_eq!(decoded(&mut Decoder::default(), &bytes(block)), Err(Invalid), "{why}");
    }
    assert_eq!(decoded(&mut Decoder::default(), &bytes("3f e1 1f 82")).unwrap(), [":method GET"]);
}

#[test]
fn what_may_not_be_said_has_its_place_in_the_table() {
    let mut decoder = Decoder::default();
    // `X: 1` and `a: b`, both remembered; then the first, the second, and the first's name with `2`.
    let block = bytes("40 01 58 01 31 40 01 61 01 62 bf be 7f 00 01 32");
    assert_eq!(
        decoded(&mut decoder, &block).unwrap(),
        ["malformed", "a b", "malformed", "a b", "malformed"]
    );
}

#[test]
fn a_secret_stays_one() {
    let mut sensitive = Vec::new();
    let block = bytes("10 01 61 01 62 00 01 61 01 62");
    Decoder::default()
        .decode(&block, |field, _| {
            if let Field::Regular(_, value) = field.into_owned() {
                sensitive.push(value.is_sensitive());
            }
        })
        .unwrap();
    assert_eq!(sensitive, [true, false]);
}

#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::default();
    decoded(&mut decoder, &bytes("40 01 61 01 62")).unwrap();
    let mut block = bytes("40 01 61 7f 81 1f");
    block.extend([b'x'; 4096]);
    assert_eq!(decoded(&mut decoder, &block).unwrap().len(), 1);
    assert_eq!((decoder.size, decoder.entries.len()), (0, 0));
}

proptest! {
    #[test]
    fn no_block_makes_it_panic_or_hold_more_than_its_table(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 1..8)
    ) {
        let mut decoder = Decoder::default();
        for block in blocks {
            let _ = decoder.decode(&block, |_, _| {});
            prop_assert!(decoder.size <= TABLE_SIZE);
            prop_assert_eq!(decoder.size, decoder.entries.iter().map(|entry| entry.size).sum::<usize>());
        }
    }
}
