//! The whole cache over generated requests and answers, with upstream in the place of `next`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderValue;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::body::testing::whole;
use crate::exchange::{Connection, Ending, Identity, Protocol};
use crate::message::FieldName;
use crate::message::name::SET_COOKIE;

/// An upstream that names in its answer who asked, and says what it is told.
#[derive(Clone)]
struct Upstream {
    asked: Rc<Cell<usize>>,
    says: Rc<RefCell<Vec<(FieldName, HeaderValue)>>>,
    load: Rc<Load>,
}

impl Upstream {
    fn new() -> Self {
        let load = Rc::new(Load::new(Instant::now()));
        Self { asked: Rc::default(), says: Rc::default(), load }
    }
}

impl Next for Upstream {
    async fn send(
        &self,
        request: Request<Body>,
        _: &mut Exchange,
    ) -> Result<Response<Body>, Error> {
        self.asked.set(self.asked.get() + 1);
        let who = |name: &str| {
            let value = request.headers().get(name).map(|value| value.to_str().unwrap());
            value.unwrap_or("-").to_owned()
        };
        let host = request.uri().authority().unwrap();
        let (cookie, authorization) = (who("cookie"), who("authorization"));
        let n = self.asked.get();
        let body = format!("{host} {} {cookie} {authorization} {n}", request.uri().path());
        let mut response = Response::new(Body::from(Bytes::from(body.clone())));
        for (name, value) in self.says.borrow().iter() {
            response.headers_mut().append(name, value.clone());
        }
        response.headers_mut().insert("content-length", body.len().into());
        if response.headers().contains_key(SET_COOKIE) {
            let value = HeaderValue::try_from(format!("session={n}")).unwrap();
            response.headers_mut().insert(SET_COOKIE, value);
        }
        Ok(response)
    }

    fn load(&self) -> Rc<Load> {
        Rc::clone(&self.load)
    }
}

fn source() -> Arc<Source> {
    Arc::new(Source { route: "r".into(), print: 0 })
}

fn exchange() -> Exchange {
    let connection = Rc::new(Connection {
        ending: Ending::channel().1,
        listener: "l".into(),
        client: None,
        protocol: Protocol::H2,
        identity: Identity::new(None, true),
        trusted: None,
        redirect_to_https: None,
        tls: None,
    });
    Exchange { class: Class::Rest, ..Exchange::new(connection) }
}

#[derive(Clone, Debug)]
struct Turn {
    host: &'static str,
    path: &'static str,
    asks: Vec<(&'static str, &'static str)>,
    says: Vec<(&'static str, &'static str)>,
}

fn turns() -> impl Strategy<Value = (bool, Vec<Turn>)> {
    let asks = prop::sample::subsequence(
        vec![
            ("cookie", "a=1"),
            ("authorization", "Bearer x"),
            ("accept-language", "de"),
            ("cache-control", "max-stale"),
            ("if-none-match", "\"t\""),
            ("range", "bytes=0-3"),
        ],
        0..3,
    );
    let asks = prop_oneof![3 => asks, 1 => Just(vec![("cookie", "a=2")]), 2 => Just(vec![])];
    let says = prop::sample::subsequence(
        vec![
            ("cache-control", "public, max-age=60, s-maxage=60"),
            ("cache-control", "max-age=300, must-revalidate"),
            ("cache-control", "stale-while-revalidate=60, stale-if-error=60"),
            ("expires", "Fri, 01 Jan 2038 01:01:01 GMT"),
            ("set-cookie", "session"),
            ("vary", "Origin"),
            ("vary", "Cookie"),
            ("vary", "Accept-Language, Accept-Encoding"),
            ("vary", "*"),
            ("cache-control", "no-store"),
            ("cache-control", "private"),
            ("content-type", "text/html"),
        ],
        0..6,
    );
    // Half of all answers may be kept: otherwise nothing would be there to cross.
    let kept = prop::sample::subsequence(
        vec![
            ("vary", "Accept-Language, Accept-Encoding"),
            ("vary", "Origin"),
            ("content-type", "text/css"),
        ],
        0..2,
    );
    let kept = kept.prop_map(|mut says| {
        says.push(("cache-control", "public, max-age=60, s-maxage=60"));
        says
    });
    let says = prop_oneof![kept, says];
    let host = prop::sample::select(vec!["a.test", "a.test:8443", "b.test"]);
    let path = prop::sample::select(vec!["/x", "/ui/login/y", "/a/environment.json"]);
    let turn = (host, path, asks, says);
    let turn = turn.prop_map(|(host, path, asks, says)| Turn { host, path, asks, says });
    (any::<bool>(), prop::collection::vec(turn, 8..24))
}

fn fields<'a>(
    list: &'a [(&'static str, &'static str)],
) -> impl Iterator<Item = (FieldName, HeaderValue)> + 'a {
    list.iter().map(|(name, value)| (FieldName::from_static(name), HeaderValue::from_static(value)))
}

/// One turn: nothing of another host, another's cookies or another's credentials comes back, and a
/// cookie is set only for whom upstream set it now. Whether it was answered from the cache.
async fn play(
    cache: &Arc<Cache>,
    plan: &Arc<CachePlan>,
    upstream: &Upstream,
    turn: &Turn,
) -> Result<bool, TestCaseError> {
    *upstream.says.borrow_mut() = fields(&turn.says).collect();
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = format!("https://{}{}", turn.host, turn.path).parse().unwrap();
    request.headers_mut().extend(fields(&turn.asks));
    let before = upstream.asked.get();
    let response =
        cache.handle(plan, &source(), request, &mut exchange(), || upstream.clone()).await.unwrap();
    let asked = upstream.asked.get() > before;
    let (head, body) = response.into_parts();
    if let Some(set) = head.headers.get(SET_COOKIE) {
        prop_assert!(asked);
        prop_assert_eq!(set, &format!("session={}", upstream.asked.get()));
    }
    let body = whole(body).await.unwrap().bytes;
    if head.status != StatusCode::OK {
        return Ok(!asked);
    }
    let body = String::from_utf8(body.to_vec()).unwrap();
    let told: Vec<&str> = body.split(' ').collect();
    prop_assert_eq!(told[0], turn.host);
    prop_assert_eq!(told[1], turn.path);
    let own = |name| turn.asks.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    // Whoever has credentials is answered by upstream itself, and nobody else gets that answer.
    let about_somebody = turn.path.ends_with("environment.json")
        || own("authorization").is_some()
        || (own("cookie").is_some() && !plan.with_cookies);
    if about_somebody {
        prop_assert!(asked, "{} from the cache", body);
        prop_assert_eq!(told[2], own("cookie").unwrap_or("-"));
    } else {
        prop_assert!(told[2] == "-" || asked, "{} is another's", body);
        prop_assert!(!body.contains("Bearer"), "{} is another's", body);
    }
    Ok(!asked)
}

#[test]
fn nothing_crosses_hosts_cookies_or_credentials_and_no_cookie_is_kept() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hits = Cell::new(0);
    let mut runner =
        TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    runner
        .run(&turns(), |(with_cookies, turns)| {
            let plan = Arc::new(CachePlan { with_cookies, api: true, ..CachePlan::default() });
            let (cache, upstream) = (Cache::new(StorePlan::default()), Upstream::new());
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async {
                for turn in &turns {
                    hits.set(hits.get() + usize::from(play(&cache, &plan, &upstream, turn).await?));
                }
                Ok(())
            })
        })
        .unwrap();
    assert!(hits.get() > 100, "the cache was used {} times: is the test blind?", hits.get());
}

/// An answer large enough to be read as it comes, asked for with `br`: how it was coded, and the tag
/// of the variant that is kept of it.
async fn coded(cache: &Arc<Cache>, upstream: &Large, path: &str) -> (Option<HeaderValue>, Bytes) {
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = format!("https://a.test{path}").parse().unwrap();
    request.headers_mut().insert("accept-encoding", HeaderValue::from_static("br"));
    let plan = Arc::default();
    let answer = cache
        .handle(&plan, &source(), request, &mut exchange(), || upstream.clone())
        .await
        .unwrap();
    let coding = answer.headers().get("content-encoding").cloned();
    (coding, whole(answer.into_body()).await.unwrap().bytes)
}

/// An upstream with one large script.
#[derive(Clone)]
struct Large(Rc<Load>);

const LARGE: usize = 300_000;

impl Next for Large {
    async fn send(&self, _: Request<Body>, _: &mut Exchange) -> Result<Response<Body>, Error> {
        let mut response = Response::new(Body::from(Bytes::from(vec![b'x'; LARGE])));
        for (name, value) in [
            ("cache-control", "max-age=60"),
            ("content-type", "text/javascript"),
            ("content-length", "300000"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }

    fn load(&self) -> Rc<Load> {
        Rc::clone(&self.0)
    }
}

#[test]
fn a_first_fetch_is_coded_as_far_as_the_worker_has_time_and_counts_for_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let load = Rc::new(Load::new(Instant::now()));
        let (cache, upstream) = (Cache::new(StorePlan::default()), Large(Rc::clone(&load)));
        let (coding, body) = coded(&cache, &upstream, "/idle").await;
        assert_eq!(coding.unwrap(), "br");
        assert!(body.len() < LARGE / 10);
        assert!(!load.is_idle(), "what it took was written down");
        let now = Instant::now();
        load.spent(now, now + std::time::Duration::from_millis(600));
        let (coding, body) = coded(&cache, &Large(load), "/busy").await;
        assert_eq!((coding, body.len()), (None, LARGE));
    });
}

/// An upstream that has a hashed file once, and then answers `after`: whoever asks then is answered
/// when `ALL` are asking.
#[derive(Clone)]
struct Upgraded {
    after: StatusCode,
    asked: Rc<Cell<usize>>,
    load: Rc<Load>,
}

const ALL: usize = 5;
const CHUNK: Bytes = Bytes::from_static(b"chunk");

impl Next for Upgraded {
    async fn send(&self, _: Request<Body>, _: &mut Exchange) -> Result<Response<Body>, Error> {
        let n = self.asked.get();
        self.asked.set(n + 1);
        if n == 0 {
            let mut response = Response::new(Body::from(CHUNK));
            let headers = response.headers_mut();
            headers.insert("cache-control", HeaderValue::from_static("max-age=60"));
            headers.insert("content-type", HeaderValue::from_static("text/javascript"));
            return Ok(response);
        }
        // Those who come meanwhile wait for the first.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert!(n == 1 || self.asked.get() == 1 + ALL, "number {n} asks alone");
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = self.after;
        Ok(response)
    }

    fn load(&self) -> Rc<Load> {
        Rc::clone(&self.load)
    }
}

/// What `ALL` who ask at once for a hashed file get that was kept before the route was configured
/// anew, while upstream says `after` of it.
async fn upgraded(after: StatusCode) -> Vec<(StatusCode, Bytes)> {
    let load = Rc::new(Load::new(Instant::now()));
    let upstream = Upgraded { after, asked: Rc::default(), load };
    let store = StorePlan { generations: Some(Default::default()), ..StorePlan::default() };
    let cache = Cache::new(store);
    let plan = Arc::new(CachePlan { app: Some("/app/".into()), ..CachePlan::default() });
    let ask = |print| {
        let (cache, plan, upstream) = (Arc::clone(&cache), Arc::clone(&plan), upstream.clone());
        async move {
            let source = Arc::new(Source { route: "r".into(), print });
            let mut request = Request::new(Body::Empty);
            *request.uri_mut() = "https://a.test/app/chunk-ABCDEFGH.js".parse().unwrap();
            let mut exchange = exchange();
            let answer = cache.handle(&plan, &source, request, &mut exchange, || upstream).await;
            let (head, body) = answer.unwrap().into_parts();
            (head.status, whole(body).await.unwrap().bytes)
        }
    };
    assert_eq!(ask(0).await, (StatusCode::OK, CHUNK));
    let answers = futures_util::future::join_all((0..ALL).map(|_| ask(1))).await;
    assert_eq!(upstream.asked.get(), 1 + ALL);
    answers
}

#[test]
fn those_who_wait_for_a_file_that_is_gone_do_not_ask_one_after_another() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        for after in [404, 410, 403, 501] {
            let after = StatusCode::from_u16(after).unwrap();
            let gone = matches!(after, StatusCode::NOT_FOUND | StatusCode::GONE);
            // Nothing else is taken for a file that is gone, nor for an upstream that fails everybody.
            let expected = if gone { (StatusCode::OK, CHUNK) } else { (after, Bytes::new()) };
            assert!(upgraded(after).await.iter().all(|answer| *answer == expected), "{after}");
        }
    });
}
