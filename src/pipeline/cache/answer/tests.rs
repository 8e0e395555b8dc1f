use super::*;
use crate::body::testing::whole;
use crate::message::FieldName;
use crate::pipeline::cache::content::{self, Variant};
use crate::pipeline::cache::directives::Answer;
use crate::pipeline::cache::entry::Source;
use crate::pipeline::cache::policy;
use crate::pipeline::coding::stream::Encoder;
use crate::pipeline::plan::CachePlan;

fn headers(fields: &[(&'static str, &str)]) -> Fields {
    let field = |(name, value): &(&'static str, &str)| {
        (FieldName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    fields.iter().map(field).collect()
}

fn head(fields: &[(&'static str, &str)]) -> Arc<Head> {
    let answer = headers(&[&[("content-type", "text/javascript")], fields].concat());
    let life =
        policy::life(&CachePlan::default(), &Answer::of(&answer), StatusCode::OK, &answer, 0);
    let source = Arc::new(Source { route: "r".into(), print: 0 });
    let (request, came) = (Fields::new(), (Instant::now(), 0));
    Arc::new(Head::new(&source, &request, StatusCode::OK, answer, life, came))
}

fn client(fields: &[(&'static str, &str)]) -> Client {
    Client { method: Method::GET, headers: headers(fields) }
}

fn script() -> Bytes {
    (0..2_000).map(|i| format!("const value{i} = call({i});\n")).collect::<String>().into()
}

/// The script in brotli, given out after so many bytes too, as a slow upstream makes it.
fn brotli(cut: Option<usize>) -> Variant {
    let (plain, mut coded) = (script(), Vec::new());
    let mut encoder = Encoder::new(Coding::Brotli, Level::Fast, Some(plain.len() as u64)).unwrap();
    if let Some(cut) = cut {
        coded.extend_from_slice(&encoder.push(&plain[..cut]).unwrap());
        coded.extend_from_slice(&encoder.flush().unwrap());
    }
    coded.extend_from_slice(&encoder.push(&plain[cut.unwrap_or(0)..]).unwrap());
    coded.extend_from_slice(&encoder.finish().unwrap());
    let own = content::hash(&coded);
    let coded = Coded::new(&content::hash(&plain), Coding::Brotli, coded.into(), &own);
    Variant { coding: Coding::Brotli, level: Level::Fast, coded: Some(coded) }
}

fn kept_with(variant: Variant) -> Content {
    let plain = script();
    Content::new(content::hash(&plain), plain, Box::new([variant]))
}

async fn answer(client: &Client, head: &Arc<Head>, content: &Content) -> (Response<()>, Bytes) {
    let entry = Entry::new(Head::clone(head), content);
    let (head, body) = kept(client, &entry, content, Instant::now()).response.into_parts();
    (Response::from_parts(head, ()), whole(body).await.unwrap().bytes)
}

#[tokio::test]
async fn parts_of_differently_made_codings_are_never_joined() {
    let (one, same, other) = (brotli(None), brotli(None), brotli(Some(100)));
    let bytes = |variant: &Variant| variant.coded.clone().unwrap().bytes;
    assert_ne!(bytes(&one), bytes(&other), "the same coder and level, cut otherwise");
    let whole = bytes(&one);
    // Two replicas, or one before and after a restart; with upstream's own tag and without.
    for head in [head(&[]), head(&[("etag", "\"v\"")])] {
        let asks = client(&[("accept-encoding", "br")]);
        let (first, body) = answer(&asks, &head, &kept_with(one.clone())).await;
        assert_eq!((&first.headers()["content-encoding"], &body), (&"br".parse().unwrap(), &whole));
        let tag = first.headers()["etag"].to_str().unwrap();
        assert!(tag.starts_with('"') && tag.contains("-br-"), "{tag}");
        let rest = client(&[("accept-encoding", "br"), ("range", "bytes=9-"), ("if-range", tag)]);
        let (part, body) = answer(&rest, &head, &kept_with(same.clone())).await;
        assert_eq!(
            (part.status(), &part.headers()["content-encoding"]),
            (StatusCode::PARTIAL_CONTENT, &"br".parse().unwrap())
        );
        assert_eq!(body, whole.slice(9..), "the very bytes that are missing");
        let (whole, body) = answer(&rest, &head, &kept_with(other.clone())).await;
        assert_eq!((whole.status(), body), (StatusCode::OK, script()));
        // Whoever has it in any coding has the content.
        let known = client(&[("if-none-match", tag)]);
        assert_eq!(answer(&known, &head, &kept_with(other.clone())).await.0.status(), 304);
    }
}

#[test]
fn a_coding_that_is_still_being_made_has_a_weak_tag_or_none() {
    for (fields, expected) in [
        (&[("etag", "\"v\"")][..], Some("W/\"v\"")),
        (&[("etag", "W/\"v\"")], Some("W/\"v\"")),
        (&[("etag", "v")], None),
        (&[], None),
    ] {
        let fill = Fill::new(head(fields), Some(script().len() as u64));
        let asks = client(&[("accept-encoding", "br")]);
        let coded = filling(&asks, &fill, Some(Level::Fast), Instant::now());
        assert_eq!(coded.headers()["content-encoding"], "br");
        let tag = coded.headers().get("etag").map(|tag| tag.to_str().unwrap());
        assert_eq!(tag, expected);
        let plain = filling(&client(&[]), &fill, None, Instant::now());
        let tag = plain.headers().get("etag").map(|tag| tag.to_str().unwrap());
        assert_eq!(tag, fields.first().map(|(_, tag)| *tag));
    }
}
