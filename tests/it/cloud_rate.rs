//! ZITADEL Cloud's published request rates, by the name that the preset has for them: who takes no
//! notice of a refusal is not answered at all for a minute.

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use ravelin::standin::Standin;

use crate::support::h2::{Answer, Client, frame};
use crate::support::{Ravelin, raw};
use crate::zitadel_wiring::{Mode, zitadel};

const PAGE: &str = "/ui/login/loginname";
const REST: &str = "/admin/v1/healthz";
const GRPC: &str = "/zitadel.admin.v1.AdminService/Healthz";

async fn site() -> (Standin, Ravelin) {
    let standin = zitadel(Mode::Disabled).await;
    let ravelin = Ravelin::start(&format!(
        "zitadel: {{upstream: \"h2c://{}\", health: \"off\", cache: false, domain: localhost, limits: {{rate: cloud}}}}\n\
         listeners:\n\
         \x20 - {{name: public, address: \"127.0.0.1:0\"}}\n\
         \x20 - {{name: lb, address: \"127.0.0.1:0\", proxy_protocol: {{from: 127.0.0.1}}}}\n\
         workers: 1\nadmin: \"off\"\naccess_log: {{format: \"off\"}}\nshutdown: {{grace: 1s}}\n",
        standin.address()
    ));
    (standin, ravelin)
}

/// Asks again and again, as nobody should, until the ban has begun.
async fn insist(ravelin: &Ravelin, client: &Client, path: &str, attempts: usize) {
    let banned = || ravelin.metric("ravelin_errors_total{cause=\"rate_banned\"}") > 0.0;
    let mut asked = 0;
    while !banned() {
        asked += join_all((0..100).map(|_| client.get(path))).await.len();
        // The counters come a moment later, and the window may have slid a little.
        assert!(asked < 2 * attempts, "it is never banned");
    }
    assert!(asked > attempts, "banned after {asked} attempts");
}

async fn page(client: &Client) -> Answer {
    let request = Request::get(format!("http://localhost{PAGE}")).header("accept", "text/html");
    client.send(request.body(Bytes::new()).unwrap()).await.unwrap()
}

/// The rest of the minute.
fn left(answer: &Answer) -> u64 {
    let seconds = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{answer:?}");
    seconds
}

fn told_apart(answer: &Answer) {
    assert!(left(answer) > 2, "a ban, and no ordinary refusal: {answer:?}");
}

#[tokio::test]
async fn pages_are_banned_for_a_minute_and_everything_else_is_not() {
    let (standin, ravelin) = site().await;
    let client = Client::plain(ravelin.address("public")).await;
    insist(&ravelin, &client, PAGE, 2_700).await;
    let asked = standin.requests().len();
    assert!(asked < 2_000, "{asked} of those that were refused came through");
    let answer = page(&client).await;
    assert_eq!((answer.status(), answer.header("content-type")), (429, "text/html; charset=utf-8"));
    told_apart(&answer);
    assert!(answer.text().contains("Too many requests for too long."), "{answer:?}");
    assert_eq!(standin.requests().len(), asked);

    assert_eq!(client.get(REST).await.unwrap().status(), 200);
    let answer = client.grpc(GRPC, &[], b"").await.unwrap();
    assert_eq!(answer.trailer("grpc-status"), "0", "{answer:?}");
    let other = b"PROXY TCP4 203.0.113.1 127.0.0.1 5 6\r\n";
    let request = raw::request("GET", "localhost", PAGE, "");
    assert_ne!(raw::send(ravelin.address("lb"), other, &request).await.status(), 429);
}

#[tokio::test]
async fn calls_are_banned_for_a_minute_in_each_protocol_and_pages_are_not() {
    let (standin, ravelin) = site().await;
    let client = Client::plain(ravelin.address("public")).await;
    insist(&ravelin, &client, REST, 9_000).await;
    let asked = standin.requests().len();
    let rest = client.get(REST).await.unwrap();
    assert_eq!((rest.status(), rest.header("content-type")), (429, "application/problem+json"));
    told_apart(&rest);
    let grpc = client.grpc(GRPC, &[], b"").await.unwrap();
    assert_eq!((grpc.status(), grpc.trailer("grpc-status")), (200, "8"));
    told_apart(&grpc);
    assert_eq!(grpc.trailer("grpc-retry-pushback-ms"), (left(&grpc) * 1_000).to_string());
    let web = Request::post(format!("http://localhost{GRPC}"))
        .header("content-type", "application/grpc-web+proto")
        .body(frame(b""))
        .unwrap();
    let web = client.send(web).await.unwrap();
    assert!(String::from_utf8_lossy(&web.body).contains("grpc-status: 8"), "{web:?}");
    told_apart(&web);
    assert_eq!(standin.requests().len(), asked);

    assert_ne!(page(&client).await.status(), 429);
}
