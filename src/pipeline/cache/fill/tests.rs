use std::task::Waker;
use std::time::Instant;

use http::StatusCode;

use super::*;
use crate::body::testing::whole;
use crate::message::Fields;
use crate::pipeline::cache::entry::Source;
use crate::pipeline::cache::policy;
use crate::pipeline::plan::CachePlan;

fn head() -> Arc<Head> {
    let headers = Fields::new();
    let says = crate::pipeline::cache::directives::Answer::default();
    let life = policy::life(&CachePlan::default(), &says, StatusCode::OK, &headers, 0);
    let source = Arc::new(Source { route: "r".into(), print: 0 });
    let came = (Instant::now(), 0);
    Arc::new(Head::new(&source, &headers, StatusCode::OK, headers.clone(), life, came))
}

fn polled(reader: &mut Reader) -> Poll<Option<Result<Bytes, Error>>> {
    reader.poll_piece(&mut Context::from_waker(Waker::noop()))
}

fn piece(reader: &mut Reader) -> Option<String> {
    match polled(reader) {
        Poll::Ready(Some(Ok(piece))) => Some(String::from_utf8(piece.to_vec()).unwrap()),
        Poll::Ready(None) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_reader_gets_each_piece_as_it_comes_and_none_is_copied() {
    let fill = Fill::new(head(), Some(6));
    let mut early = fill.read(Coding::Identity, None);
    assert!(polled(&mut early).is_pending());
    let sent = Bytes::from_static(b"abc");
    fill.push(Coding::Identity, sent.clone());
    let Poll::Ready(Some(Ok(got))) = polled(&mut early) else { panic!("nothing came") };
    assert_eq!(got.as_ptr(), sent.as_ptr());
    assert!(polled(&mut early).is_pending());
    let mut late = fill.read(Coding::Identity, None);
    assert_eq!(piece(&mut late).as_deref(), Some("abc"));
    fill.push(Coding::Identity, Bytes::from_static(b"def"));
    fill.end(Coding::Identity);
    for reader in [&mut early, &mut late] {
        assert_eq!(piece(reader).as_deref(), Some("def"));
        assert_eq!(piece(reader), None);
    }
}

#[test]
fn a_part_is_cut_out_of_the_pieces() {
    let fill = Fill::new(head(), Some(9));
    let mut reader = fill.read_part(2..7);
    for sent in ["abc", "def", "ghi"] {
        fill.push(Coding::Identity, Bytes::from_static(sent.as_bytes()));
    }
    assert_eq!(piece(&mut reader).as_deref(), Some("c"));
    assert_eq!(piece(&mut reader).as_deref(), Some("def"));
    assert_eq!(piece(&mut reader).as_deref(), Some("g"));
    assert_eq!(piece(&mut reader), None, "it does not wait for the end");
}

#[test]
fn a_body_that_breaks_off_is_an_error_behind_what_came() {
    let fill = Fill::new(head(), Some(6));
    let mut reader = fill.read(Coding::Identity, None);
    fill.push(Coding::Identity, Bytes::from_static(b"abc"));
    fill.fail();
    assert_eq!(piece(&mut reader).as_deref(), Some("abc"));
    assert!(matches!(polled(&mut reader), Poll::Ready(Some(Err(_)))));
    let fill = Fill::new(head(), Some(3));
    let mut reader = fill.read(Coding::Identity, None);
    fill.end(Coding::Identity);
    fill.fail();
    assert_eq!(piece(&mut reader), None, "after the end nothing can fail");
}

#[test]
fn a_coding_can_be_wanted_until_the_end_is_near_and_while_there_is_time_for_it() {
    let fill = Fill::new(head(), Some(6));
    let fast = Some(Level::Fast);
    let coding = |coding, level| fill.read(coding, level).coding();
    assert_eq!(coding(Coding::Brotli, None), Coding::Identity, "no time for it");
    assert_eq!(coding(Coding::Brotli, fast), Coding::Brotli);
    assert!(!fill.close(), "one is wanted that nobody has taken up");
    let wanted: Vec<_> = fill.wanted().iter().map(|one| (one.coding, one.level)).collect();
    assert_eq!(wanted, [(Coding::Brotli, Level::Fast)]);
    assert!(fill.close() && fill.wanted().is_empty());
    assert_eq!(coding(Coding::Gzip, fast), Coding::Identity, "too late");
    assert_eq!(coding(Coding::Brotli, None), Coding::Brotli, "it is made anyway");
}

#[test]
fn an_encoder_that_fails_harms_nobody_but_its_readers() {
    let fill = Fill::new(head(), Some(6));
    let mut plain = fill.read(Coding::Identity, None);
    let mut coded = fill.read(Coding::Brotli, Some(Level::Fast));
    assert!(polled(&mut coded).is_pending());
    fill.break_off(Coding::Brotli);
    assert!(matches!(polled(&mut coded), Poll::Ready(Some(Err(_)))));
    let mut new = fill.read(Coding::Brotli, Some(Level::Fast));
    assert_eq!(new.coding(), Coding::Identity);
    fill.push(Coding::Identity, Bytes::from_static(b"abcdef"));
    for reader in [&mut plain, &mut new] {
        assert_eq!(piece(reader).as_deref(), Some("abcdef"));
    }
}

#[tokio::test]
async fn readers_wait_on_other_threads() {
    let fill = Fill::new(head(), Some(2));
    let readers: Vec<_> = (0..50).map(|_| fill.read(Coding::Identity, None)).collect();
    let tasks: Vec<_> = readers
        .into_iter()
        .map(|reader| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(whole(reader)).unwrap().bytes
            })
        })
        .collect();
    fill.push(Coding::Identity, Bytes::from_static(b"a"));
    std::thread::yield_now();
    fill.push(Coding::Identity, Bytes::from_static(b"b"));
    fill.end(Coding::Identity);
    for task in tasks {
        assert_eq!(task.join().unwrap(), "ab");
    }
}
