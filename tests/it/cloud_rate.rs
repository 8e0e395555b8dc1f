//! ZITADEL Cloud's published request rates, by the name that the preset has for them: who takes no
//! notice of a refusal is not answered at all for a minute.

use bytes::Bytes;
use http::Request;
use ravelin::standin::Standin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::h2::{Answer, Client, frame};
use crate::support::{Ravelin, raw};
use crate::zitadel_wiring::{Mode, zitadel};

const PAGE: &str = "/ui/login/loginname";
const REST: &str = "/admin/v1/healthz";
const GRPC: &str = "/zitadel.admin.v1.AdminService/Healthz";

/// Preflights are answered here, so that thousands of attempts cost little.
async fn site() -> (Standin, Ravelin) {
    let standin = zitadel(Mode::Disabled).await;
    let ravelin = Ravelin::start(&format!(
        "zitadel: {{upstream: \"h2c://{}\", health: \"off\", cache: false, domain: localhost, limits: {{rate: cloud}}}}\n\
         listeners:\n\
         \x20 - {{name: public, address: \"127.0.0.1:0\"}}\n\
         \x20 - {{name: lb, address: \"127.0.0.1:0\", proxy_protocol: {{from: 127.0.0.1}}}}\n\
         routes: [{{name: zitadel, preflight: {{}}}}]\n\
         workers: 1\nadmin: \"off\"\naccess_log: {{format: \"off\"}}\nshutdown: {{grace: 1s}}\n",
        standin.address()
    ));
    (standin, ravelin)
}

/// Asks as often on one connection, as nobody should; how many of the answers were refusals, and the
/// `Retry-After` of the last.
async fn insist(ravelin: &Ravelin, path: &str, attempts: usize) -> (usize, u64) {
    let fields = "origin: https://a.test\r\naccess-control-request-method: GET\r\n";
    let one = format!("OPTIONS {path} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
    let last =
        format!("OPTIONS {path} HTTP/1.1\r\nhost: localhost\r\n{fields}connection: close\r\n\r\n");
    let all = one.repeat(attempts - 1) + &last;
    let stream = TcpStream::connect(ravelin.address("public")).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let writing =
        tokio::spawn(async move { write.write_all(all.as_bytes()).await.map(|()| write) });
    let mut answers = String::new();
    read.read_to_string(&mut answers).await.unwrap();
    writing.await.unwrap().unwrap();
    let served = answers.matches("HTTP/1.1 204").count();
    let refused = answers.matches("HTTP/1.1 429").count();
    assert_eq!(served + refused, attempts, "an answer to each");
    let last = answers.rsplit("retry-after: ").next().unwrap();
    (refused, last.lines().next().unwrap().parse().unwrap())
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
    // Refused, and told to come again in a second: no ban yet.
    let (refused, wait) = insist(&ravelin, PAGE, 2_600).await;
    assert!(refused > 1_500 && wait == 1, "{refused} {wait}");
    let (refused, wait) = insist(&ravelin, PAGE, 200).await;
    assert!(refused >= 99 && wait > 2, "{refused} {wait}");
    let answer = page(&client).await;
    assert_eq!((answer.status(), answer.header("content-type")), (429, "text/html; charset=utf-8"));
    told_apart(&answer);
    assert!(answer.text().contains("Too many requests for too long."), "{answer:?}");
    assert_eq!(standin.requests().len(), 0);

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
    let (refused, wait) = insist(&ravelin, REST, 9_100).await;
    assert!(refused > 3_000 && wait > 2, "{refused} {wait}");
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
    assert_eq!(standin.requests().len(), 0);
    let banned = "ravelin_errors_total{cause=\"rate_banned\"}";
    raw::until(async || ravelin.metric(banned), |count| *count >= 3.0).await;

    assert_ne!(page(&client).await.status(), 429);
}
