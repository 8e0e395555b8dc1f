use std::time::Duration;

use proptest::prelude::*;
use proxy_header::ProxiedAddress;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut bytes = V2_START.to_vec();
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    bytes.extend(block);
    bytes
}

fn whole(source: Option<&str>, length: usize) -> Decoded {
    Decoded::Whole { source: source.map(|source| source.parse().unwrap()), length }
}

const V4_BLOCK: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 1, 0x04, 0x00, 0x01, 0xbb];

#[test]
fn headers_of_version_1_are_told_apart() {
    let long = format!("PROXY TCP6 {}\r\n", "0".repeat(120));
    let table: &[(&[u8], Decoded)] = &[
        (b"", Decoded::Incomplete),
        (b"PROX", Decoded::Incomplete),
        (b"PROXY TCP4 192.0.2.1 198.51", Decoded::Incomplete),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 1024 443\r", Decoded::Incomplete),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 1024 443\r\nGET /", whole(Some("192.0.2.1:1024"), 44)),
        (b"PROXY TCP6 2001:db8::1 ::1 1024 443\r\n", whole(Some("[2001:db8::1]:1024"), 37)),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 443\r\n", whole(Some("192.0.2.1:1"), 39)),
        (b"PROXY UNKNOWN\r\n", whole(None, 15)),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nrest", whole(None, 35)),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 1024 443\n", Decoded::Incomplete),
        (b"PROXY TCP4 192.0.2.999 198.51.100.1 1024 443\r\n", Decoded::Invalid),
        (b"PROXY TCP4 2001:db8::1 ::1 1024 443\r\n", Decoded::Invalid),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 70000 443\r\n", Decoded::Invalid),
        (b"PROXY TCP4 192.0.2.1\r\n", Decoded::Invalid),
        (b"PROXY \r\n", Decoded::Invalid),
        (b"PROXY UDP4 192.0.2.1 198.51.100.1 1024 443\r\n", Decoded::Invalid),
        (b"PROXYxTCP4 192.0.2.1 198.51.100.1 1024 443\r\n", Decoded::Invalid),
        (b"POST / HTTP/1.1\r\n", Decoded::Invalid),
        (b"\x16\x03\x01", Decoded::Invalid),
        (long.as_bytes(), Decoded::Invalid),
    ];
    for (bytes, expected) in table {
        assert_eq!(decode(bytes), *expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn headers_of_version_2_are_told_apart() {
    let with_tlv = [V4_BLOCK, &[0x04, 0, 1, 0]].concat();
    let table = [
        (V2_START[..7].to_vec(), Decoded::Incomplete),
        (v2(0x21, 0x11, V4_BLOCK)[..20].to_vec(), Decoded::Incomplete),
        (v2(0x21, 0x11, V4_BLOCK), whole(Some("192.0.2.1:1024"), 28)),
        (v2(0x21, 0x11, &with_tlv), whole(Some("192.0.2.1:1024"), 32)),
        (v2(0x21, 0x12, V4_BLOCK), whole(None, 28)),
        (v2(0x21, 0x00, &[]), whole(None, 16)),
        (v2(0x21, 0x31, &[0; 216]), whole(None, 232)),
        (v2(0x20, 0x00, &[]), whole(None, 16)),
        (v2(0x20, 0x11, V4_BLOCK), whole(None, 28)),
        (v2(0x20, 0x11, &[]), whole(None, 16)),
        (v2(0x20, 0xff, &[1, 2, 3]), whole(None, 19)),
        (v2(0x21, 0x11, &V4_BLOCK[..8]), Decoded::Invalid),
        ([v2(0x21, 0x11, &[]), V4_BLOCK.to_vec()].concat(), Decoded::Invalid),
        (v2(0x21, 0xff, V4_BLOCK), Decoded::Invalid),
        (v2(0x22, 0x11, V4_BLOCK), Decoded::Invalid),
        (v2(0x11, 0x11, V4_BLOCK), Decoded::Invalid),
        (v2(0x21, 0x11, &[0; V2_LIMIT]), Decoded::Invalid),
    ];
    for (bytes, expected) in table {
        assert_eq!(decode(&bytes), expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn only_trusted_peers_are_believed() {
    let trusted = ["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let table = [
        (&trusted[..], Some("10.1.2.3"), Trust::Header),
        (&trusted[..], Some("::ffff:10.1.2.3"), Trust::Header),
        (&trusted[..], Some("2001:db8::7"), Trust::Header),
        (&trusted[..], Some("192.0.2.1"), Trust::Refused),
        (&trusted[..], None, Trust::Header),
        (&[], Some("10.1.2.3"), Trust::Direct),
        (&[], None, Trust::Direct),
    ];
    for (trusted, peer, expected) in table {
        let address = peer.map(|peer| peer.parse().unwrap());
        assert_eq!(trust(trusted, address), expected, "{peer:?}");
    }
}

fn everybody() -> Vec<IpNet> {
    vec!["0.0.0.0/0".parse().unwrap()]
}

fn balancer() -> Option<SocketAddr> {
    Some("10.0.0.1:5".parse().unwrap())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[tokio::test]
async fn bytes_behind_the_header_are_read_by_whoever_comes_next() {
    for (header, expected) in [
        (v2(0x21, 0x11, V4_BLOCK), Some("192.0.2.1:1024".parse().unwrap())),
        (b"PROXY UNKNOWN\r\n".to_vec(), balancer()),
    ] {
        // A small pipe, so that the header comes in pieces.
        let (mut peer, stream) = tokio::io::duplex(5);
        let mut stream = Replay::new(stream);
        let write = async move {
            peer.write_all(&header).await.unwrap();
            peer.write_all(b"GET / HTTP/1.1").await.unwrap();
        };
        let read = async {
            let found = client(&mut stream, &everybody(), balancer(), soon()).await.unwrap();
            assert_eq!(found, expected);
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "GET / HTTP/1.1");
        };
        tokio::join!(write, read);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_an_early_end_and_another_protocol_are_refused() {
    let (mut peer, stream) = tokio::io::duplex(64);
    let mut stream = Replay::new(stream);
    peer.write_all(b"PROXY TCP4 ").await.unwrap();
    let start = Instant::now();
    let failure = client(&mut stream, &everybody(), balancer(), soon()).await.unwrap_err();
    assert_eq!((failure.label(), start.elapsed().as_secs()), ("timeout", 10));
    drop(peer);
    let failure = client(&mut stream, &everybody(), balancer(), soon()).await.unwrap_err();
    assert_eq!(failure.label(), "eof");

    let mut other = Replay::new(&b"GET / HTTP/1.1\r\n"[..]);
    let failure = client(&mut other, &everybody(), balancer(), soon()).await.unwrap_err();
    assert_eq!(failure.label(), "invalid");
    let nobody = ["192.0.2.0/24".parse().unwrap()];
    let failure = client(&mut other, &nobody, balancer(), soon()).await.unwrap_err();
    assert_eq!(failure.label(), "untrusted");
    assert_eq!(client(&mut other, &[], balancer(), soon()).await.unwrap(), balancer());
}

proptest! {
    #[test]
    fn any_bytes_are_answered_within_the_bounds(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        decode(&bytes);
        let v1 = [V1_START, &bytes].concat();
        prop_assert!(v1.len() < V1_LIMIT || decode(&v1) != Decoded::Incomplete);
        let v2 = [V2_START, &[0x21], &bytes].concat();
        if let Decoded::Whole { length, .. } = decode(&v2) {
            prop_assert!(length <= v2.len());
        }
    }

    #[test]
    fn every_cut_of_a_header_is_incomplete_and_the_whole_is_understood(
        source in any::<SocketAddr>(), port in any::<u16>(), cut in any::<prop::sample::Index>(),
    ) {
        let source = SocketAddr::new(source.ip(), source.port());
        let header = ProxyHeader::with_address(ProxiedAddress::stream(
            source, SocketAddr::new(source.ip(), port),
        ));
        let mut both = [Vec::new(), Vec::new()];
        header.encode_v1(&mut both[0]).unwrap();
        header.encode_v2(&mut both[1]).unwrap();
        for bytes in both {
            prop_assert_eq!(decode(&bytes[..cut.index(bytes.len())]), Decoded::Incomplete);
            let expected = Decoded::Whole { source: Some(canonical(source)), length: bytes.len() };
            prop_assert_eq!(decode(&bytes), expected);
        }
    }
}
