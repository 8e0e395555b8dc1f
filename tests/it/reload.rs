//! A new configuration is put in force while everything goes on, or not at all.

use std::time::Duration;

use futures_util::future::join;
use ravelin::standin::Standin;

use crate::support::dns::NameServer;
use crate::support::faults::{
    Http1, config, eventually, get, http1, post, soon, websocket, with, within,
};
use crate::support::h2::{Answer, Client};
use crate::support::load::Load;
use crate::support::origin::{Origin, answer};
use crate::support::process::Process;
use crate::support::standin;

fn before(standin: &Standin, more: &str) -> String {
    config(&[format!("h2c://{}", standin.address())], "", more)
}

/// `before` with a route that answers by itself at `/here`.
fn with_route(yaml: &str, name: &str, body: &str) -> String {
    let route = format!(
        "routes:\n  - {{name: {name}, match: {{path: /here}}, respond: {{status: 200, body: {body}}}}}\n"
    );
    yaml.replace("routes:\n", &route)
}

async fn reload(process: &Process) -> Answer {
    let admin = process.address("\"admin\"");
    within(10.0, "reload", http1(admin, post("localhost", "/reload", ""))).await.unwrap()
}

async fn asked(process: &Process) -> String {
    let answer = http1(process.address("plain"), get("localhost", "/here")).await.unwrap();
    answer.text().to_owned()
}

#[tokio::test]
async fn the_file_sighup_and_a_call_each_bring_the_next_request_the_new_plan() {
    let standin = standin().await;
    let yaml = before(&standin, "");
    let mut process = Process::start(&with_route(&yaml, "mine", "one")).await;
    assert_eq!(asked(&process).await, "one");
    process.configure(&with_route(&yaml, "mine", "two"));
    eventually("the file is noticed", || process.heard("reloaded: route mine changed") == 1).await;
    assert_eq!(asked(&process).await, "two");
    process.configure(&with_route(&yaml, "mine", "three"));
    process.signal("HUP");
    eventually("the signal", || process.heard("reloaded: route mine changed why=\"SIGHUP\"") == 1)
        .await;
    assert_eq!(asked(&process).await, "three");
    process.configure(&with_route(&yaml, "other", "four"));
    let answer = reload(&process).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert!(
        answer.text().contains("route other added") && answer.text().contains("route mine removed")
    );
    assert_eq!(asked(&process).await, "four");
    assert!(reload(&process).await.text().contains("\"changed\": []"));
    process.signal("TERM");
    assert_eq!(within(5.0, "SIGTERM", process.exit()).await, Some(0));
}

#[tokio::test]
async fn every_fault_is_told_and_the_old_plan_stays() {
    let standin = standin().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let yaml = with_route(&before(&standin, ""), "mine", "one");
    let process = Process::start(&yaml).await;
    process.configure(&format!("{}nonsense: 1\nworkers: many\n", yaml.replace("workers: 1", "")));
    let answer = reload(&process).await;
    assert_eq!(answer.status(), 422);
    for fault in ["nonsense", "workers", "ravelin.yaml:"] {
        assert!(answer.text().contains(fault), "{}", answer.text());
        eventually("and logged", || process.heard(fault) > 0).await;
    }
    assert_eq!(asked(&process).await, "one");
    // Sound in itself, and yet it cannot be put in force: no half of it is.
    let port = taken.local_addr().unwrap();
    let more = format!("listeners:\n  - {{name: more, address: \"{port}\"}}\n");
    process.configure(&yaml.replace("listeners:\n", &more).replace("body: one", "body: two"));
    let answer = reload(&process).await;
    assert_eq!(answer.status(), 422);
    assert!(answer.text().contains("listener more cannot listen on"), "{}", answer.text());
    assert_eq!(asked(&process).await, "one");
    drop(taken);
    let answer = reload(&process).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(asked(&process).await, "two");
    assert_eq!(http1(port, get("localhost", "/here")).await.unwrap().text(), "two");
}

#[tokio::test]
async fn endpoints_that_were_found_stay_while_nobody_can_be_asked_for_them() {
    let standin = standin().await;
    let names = NameServer::start();
    names.addresses("zitadel.test", &[std::net::Ipv4Addr::LOCALHOST]);
    let endpoint = format!("h2c+dns://zitadel.test:{}", standin.address().port());
    let yaml = |connect| {
        let more = format!("resolver: \"{}\", connect_timeout: {connect}", names.address());
        config(std::slice::from_ref(&endpoint), &more, "retry: {hold: off}\n")
    };
    let process = Process::start(&yaml("2s")).await;
    let client = Client::plain(process.address("plain")).await;
    let status = async || client.get("/admin/v1/healthz").await.unwrap().status();
    within(5.0, "it is found", async { while status().await != 200 {} }).await;
    names.fail();
    process.configure(&yaml("3s"));
    assert_eq!(reload(&process).await.status(), 200);
    eventually("nobody can be asked", || process.heard("cannot be found out") == 1).await;
    assert_eq!(status().await, 200);
}

#[tokio::test]
async fn what_a_reload_does_not_change_is_untouched() {
    let standin = standin().await;
    let rate = "rate_limit: {per_minute: 1, burst: 3}";
    let yaml = before(&standin, rate);
    let process = Process::start(&with_route(&yaml, "mine", "one")).await;
    let client = Client::plain(process.address("plain")).await;
    assert_eq!(client.get("/admin/v1/healthz").await.unwrap().status(), 200);
    let order = b"count=6,size=10,interval_ms=100";
    let streaming = client.grpc("/ravelin.test.Echo/ServerStream", &[], order);
    let reloading = async {
        standin.wait_for_requests("/ravelin.test.Echo/ServerStream", 1).await;
        process.configure(&with_route(&yaml, "mine", "two"));
        assert_eq!(reload(&process).await.status(), 200);
    };
    let (stream, ()) = within(5.0, "stream", join(streaming, reloading)).await;
    assert_eq!(stream.unwrap().trailer("grpc-status"), "0");
    // The same connection of the client, the same one to upstream, and the third of three requests.
    assert_eq!(client.get("/admin/v1/healthz").await.unwrap().status(), 200);
    assert_eq!(client.get("/admin/v1/healthz").await.unwrap().status(), 429);
    assert_eq!(standin.connections(), 1);
    assert_eq!(asked(&process).await, "two");
}

#[tokio::test]
async fn listeners_come_and_go_and_what_they_carry_ends_whole() {
    let standin = standin().await;
    let yaml = before(&standin, "");
    let more = "listeners:\n  - {name: more, address: \"127.0.0.1:0\"}\n";
    let process = Process::start(&yaml).await;
    process.configure(&yaml.replace("listeners:\n", more));
    assert_eq!(reload(&process).await.status(), 200);
    let metrics = http1(process.address("\"admin\""), get("localhost", "/")).await.unwrap();
    let row = metrics.text().split("<td>more</td>").nth(1).unwrap().to_owned();
    let address: std::net::SocketAddr =
        row.split(['<', '>']).find_map(|part| part.parse().ok()).unwrap();
    let mut idle = Http1::open(address).await;
    idle.send(get("localhost", "/admin/v1/healthz")).await;
    assert_eq!(idle.read().await.unwrap().status(), 200);
    let client = Client::plain(address).await;
    let slow = client.send(with(get("localhost", "/bytes/10"), "x-standin-order", "slow-head=300"));
    let removing = async {
        standin.wait_for_requests("/bytes", 1).await;
        process.configure(&yaml);
        let answer = reload(&process).await;
        assert!(answer.text().contains("listener more removed"), "{}", answer.text());
    };
    let (slow, ()) = within(5.0, "removal", join(slow, removing)).await;
    assert_eq!(slow.unwrap().status(), 200);
    soon("it is closed", async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(soon("idle ones are told", idle.read()).await.is_err());
    assert_eq!(process_get(&process, "/admin/v1/healthz").await, 200);
}

#[tokio::test]
async fn what_a_closed_listener_cuts_is_recorded_as_cut_also_what_was_told_something_else_before() {
    let standin = standin().await;
    let yaml = before(&standin, "shutdown: {grace: 300ms}\n");
    let plus = |listener: &str| yaml.replace("listeners:\n", &format!("listeners:\n{listener}"));
    let mut process = Process::start(&plus("  - {name: more, address: \"127.0.0.1:0\"}\n")).await;
    let address = process.address("more");
    let stalled = |client: Client| async move {
        let request = get("localhost", "/bytes/10");
        client.send(with(request, "x-standin-order", "stall-head")).await
    };
    let early = stalled(Client::plain(address).await);
    let changing = async {
        standin.wait_for_requests("/bytes", 1).await;
        let changed = "  - {name: more, address: \"127.0.0.1:0\", limits: {header_fields: 30}}\n";
        process.configure(&plus(changed));
        assert_eq!(reload(&process).await.status(), 200);
        let late = stalled(Client::plain(address).await);
        let removing = async {
            standin.wait_for_requests("/bytes", 2).await;
            process.configure(&yaml);
            assert_eq!(reload(&process).await.status(), 200);
        };
        join(late, removing).await.0
    };
    let (early, late) = within(10.0, "both are cut", join(early, changing)).await;
    assert!(early.is_err() && late.is_err());
    let errors = async || {
        let text = http1(process.address("\"admin\""), get("localhost", "/metrics")).await.unwrap();
        let lines = text.text().lines().filter(|line| line.starts_with("ravelin_errors_total"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    soon("both are counted", async {
        while errors().await != ["ravelin_errors_total{cause=\"cut\"} 2"] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // What leaving cuts is another matter, and here it is nothing.
    process.signal("TERM");
    assert_eq!(within(10.0, "it leaves", process.exit()).await, Some(0));
    assert_eq!((process.heard("drained"), process.heard("left:")), (1, 0));
}

async fn process_get(process: &Process, path: &str) -> u16 {
    http1(process.address("plain"), get("localhost", path)).await.unwrap().status()
}

#[tokio::test]
async fn a_changed_listener_keeps_its_port_and_its_connections_go_when_they_can() {
    let standin = standin().await;
    let yaml = before(&standin, "");
    let process = Process::start(&yaml).await;
    let address = process.address("plain");
    let mut socket = Http1::open(address).await;
    socket.send(websocket("localhost", "/ws")).await;
    assert_eq!(socket.read().await.unwrap().status(), 101);
    let client = Client::plain(address).await;
    assert_eq!(client.get("/admin/v1/healthz").await.unwrap().status(), 200);
    let changed = "{name: plain, address: \"127.0.0.1:0\", limits: {header_fields: 3}}";
    process.configure(&yaml.replace("{name: plain, address: \"127.0.0.1:0\"}", changed));
    let answer = reload(&process).await;
    assert!(answer.text().contains("listener plain changed"), "{}", answer.text());
    let mut many = get("localhost", "/admin/v1/healthz");
    for name in ["a", "b", "c", "d"] {
        many = with(many, name, "1");
    }
    assert_eq!(http1(address, many).await.unwrap().status(), 431);
    assert_eq!(http1(address, get("localhost", "/admin/v1/healthz")).await.unwrap().status(), 200);
    soon("GOAWAY", async { while client.is_open().await {} }).await;
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_rest_is_in_force() {
    let standin = standin().await;
    let yaml = with_route(&before(&standin, ""), "mine", "one");
    let process = Process::start(&yaml).await;
    process.configure(&yaml.replace("workers: 1", "workers: 2").replace("body: one", "body: two"));
    let answer = reload(&process).await;
    assert!(answer.text().contains("\"workers\""), "{}", answer.text());
    assert_eq!(asked(&process).await, "two");
    let said = "reloaded: route mine changed; needs a restart: workers";
    eventually("it says so", || process.heard(said) == 1).await;
}

/// What is kept was edited by the route as it was; a changed one answers with its new edits.
#[tokio::test]
async fn a_changed_route_answers_with_its_new_edits_and_an_unchanged_one_from_the_cache() {
    const LAZY: &str = "/app/622.a1a1a1a1a1a1a1a1.js";
    let origin = Origin::start(|head, n| match head.contains("/app/622") && n > 2 {
        true => answer(404, "", "gone with its build"),
        false => answer(
            200,
            "cache-control: max-age=600\r\ncontent-type: text/javascript\r\n",
            n.to_string(),
        ),
    })
    .await;
    let yaml = |tag: &str, more| {
        let route =
            "to: up, cache: {paths: [/x, /app/622.a1a1a1a1a1a1a1a1.js], app: /app}, retry: never";
        let route = format!("{route}, response_headers: {{set: {{x-tag: {tag}}}}}");
        let yaml = config(&[format!("http://{}", origin.address())], "health: \"off\"", more);
        yaml.replace("to: up", &route)
    };
    let process = Process::start(&yaml("one", "")).await;
    let plain = process.address("plain");
    let asked = async |path| {
        let answer = within(5.0, path, http1(plain, get("localhost", path))).await.unwrap();
        (answer.header("x-tag").to_owned(), answer.text().to_owned())
    };
    let told = |tag: &str, text: &str| (tag.to_owned(), text.to_owned());
    assert_eq!(asked("/x").await, told("one", "1"));
    assert_eq!(asked(LAZY).await, told("one", "2"));
    // Something else changes: all stays.
    process.configure(&yaml("one", "timeouts: {total: 50s}"));
    assert_eq!(reload(&process).await.status(), 200);
    assert_eq!(asked("/x").await, told("one", "1"));
    process.configure(&yaml("two", ""));
    assert_eq!(reload(&process).await.status(), 200);
    assert_eq!(asked("/x").await, told("two", "3"));
    assert_eq!(asked("/x").await, told("two", "3"), "kept anew");
    // Of a file that never changes, and that upstream has no more, the old is better than nothing.
    assert_eq!(asked(LAZY).await, told("one", "2"));
}

#[tokio::test]
async fn twenty_reloads_under_load_cost_no_call() {
    let standin = standin().await;
    let yaml = before(&standin, "");
    let process = Process::start(&with_route(&yaml, "mine", "0")).await;
    let load = Load::start(process.address("plain"));
    load.more(20).await;
    for number in 1..=20 {
        process.configure(&with_route(&yaml, "mine", &number.to_string()));
        let answer = reload(&process).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert_eq!(asked(&process).await, number.to_string());
        load.more(5).await;
    }
    let (good, bad) = load.stop().await;
    assert!(good > 100 && bad.is_empty(), "{good} good, and {bad:?}");
}

#[tokio::test]
async fn a_change_that_a_call_has_taken_up_is_not_taken_up_again_by_the_watch() {
    let standin = standin().await;
    let yaml = before(&standin, "");
    let process = Process::start_with(&with_route(&yaml, "mine", "one"), |command| {
        command.env("RAVELIN_LOG", "debug");
    })
    .await;
    process.configure(&with_route(&yaml, "mine", "two"));
    assert_eq!(reload(&process).await.status(), 200);
    // The watch may have been first, on a busy machine: then the call has found nothing new.
    eventually("the watch has looked", || {
        process.heard("was read meanwhile") + process.heard("why=\"its file has changed\"") == 1
    })
    .await;
    assert_eq!(process.heard("reloaded: route mine changed"), 1);
    assert_eq!(process.heard("reloaded: nothing changed why=\"its file has changed\""), 0);
    assert_eq!(asked(&process).await, "two");
}

#[tokio::test]
async fn how_the_last_reload_went_is_in_the_metrics_and_on_the_status_page() {
    let standin = standin().await;
    let yaml = before(&standin, "");
    let process = Process::start(&yaml).await;
    let admin = process.address("\"admin\"");
    let page = async |path: &str| http1(admin, get("localhost", path)).await.unwrap();
    let metric = async |name: &str| -> f64 {
        let metrics = page("/metrics").await;
        let name = format!("ravelin_config_last_reload_{name} ");
        metrics.text().lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap()
    };
    let started = metric("success_timestamp_seconds").await;
    assert!(metric("successful").await == 1.0 && started > 1.0e9);
    process.configure(&format!("{yaml}nonsense: 1\n"));
    assert_eq!(reload(&process).await.status(), 422);
    assert_eq!(metric("successful").await, 0.0);
    assert_eq!(metric("success_timestamp_seconds").await, started, "that one is in force");
    let status = page("/").await;
    assert!(status.text().contains("The configuration was not reloaded"), "{}", status.text());
    assert!(status.text().contains("nonsense"), "{}", status.text());
    process.configure(&with_route(&yaml, "mine", "two"));
    assert_eq!(reload(&process).await.status(), 200);
    assert_eq!(metric("successful").await, 1.0);
    assert!(metric("success_timestamp_seconds").await > started);
    assert!(!page("/").await.text().contains("was not reloaded"));
}
