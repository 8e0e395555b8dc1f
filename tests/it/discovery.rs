//! Endpoints that come and go: by DNS, and by a file.

use std::net::{Ipv4Addr, SocketAddr};

use ravelin::standin::{Options, Standin};

use crate::support::dns::NameServer;
use crate::support::faults::{config, eventually, within};
use crate::support::h2::Client;
use crate::support::{Ravelin, standin};

const UNARY: &str = "/ravelin.test.Echo/Unary";

/// A stand-in on another address of this machine, at the same port.
async fn beside(first: &Standin) -> Standin {
    let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), first.address().port()));
    Standin::start(Options { address, ..Options::default() }).await.unwrap()
}

/// Calls until one has come to this stand-in.
async fn reaches(client: &Client, standin: &Standin) {
    let before = standin.count(UNARY);
    let called = async {
        while standin.count(UNARY) == before {
            let _ = client.grpc(UNARY, &[], b"m").await;
            tokio::task::yield_now().await;
        }
    };
    within(5.0, "reaches it", called).await;
}

async fn well(client: &Client) {
    let answer = client.grpc(UNARY, &[], b"m").await.unwrap();
    assert_eq!(answer.trailer("grpc-status"), "0");
}

#[tokio::test]
async fn addresses_of_a_name_come_and_go_and_streams_end_as_they_would_have() {
    let first = standin().await;
    let second = beside(&first).await;
    let names = NameServer::start();
    names.addresses("zitadel.test", &[Ipv4Addr::LOCALHOST]);
    let endpoint = format!("h2c+dns://zitadel.test:{}", first.address().port());
    let resolver = format!("resolver: \"{}\"", names.address());
    let ravelin = Ravelin::start(&config(&[endpoint], &resolver, ""));
    let client = Client::plain(ravelin.plain()).await;
    reaches(&client, &first).await;
    let long = client.grpc(UNARY, &[("x-standin-order", "slow-head=2000")], b"long");
    let change = async {
        eventually("there", || first.in_flight() > 0).await;
        names.addresses("zitadel.test", &[Ipv4Addr::new(127, 0, 0, 2)]);
        reaches(&client, &second).await;
        let asked = first.count(UNARY);
        for _ in 0..20 {
            well(&client).await;
        }
        assert_eq!(first.count(UNARY), asked, "the first gets nothing new");
        assert_eq!(first.in_flight(), 1, "and goes on with what it has");
    };
    let (answer, ()) = within(5.0, "change", futures_util::future::join(long, change)).await;
    assert_eq!(answer.unwrap().trailer("grpc-status"), "0");
    first.wait_for_connections(0).await;
    names.fail();
    let asked = names.asked();
    eventually("asked again", || names.asked() > asked).await;
    well(&client).await;
    names.addresses("zitadel.test", &[Ipv4Addr::LOCALHOST]);
    reaches(&client, &first).await;
}

#[tokio::test]
async fn targets_of_a_service_are_those_of_the_best_priority() {
    let (first, second, spare) = (standin().await, standin().await, standin().await);
    let port = |one: &Standin| one.address().port();
    let names = NameServer::start();
    names.addresses("here.test", &[Ipv4Addr::LOCALHOST]);
    names.targets(
        "_zitadel._tcp.test",
        &[
            (1, 9, port(&first), "here.test"),
            (1, 1, port(&second), "here.test"),
            // Gone, as a pod's name is a moment before the service forgets it.
            (1, 1, 9, "gone.test"),
            (2, 1, port(&spare), "here.test"),
        ],
    );
    let resolver = format!("resolver: \"{}\"", names.address());
    let source = "h2c+srv://_zitadel._tcp.test".to_owned();
    let ravelin = Ravelin::start(&config(&[source], &resolver, ""));
    let client = Client::plain(ravelin.plain()).await;
    reaches(&client, &first).await;
    // What the first call to each cost to connect is held against it for a while.
    let share = async |more: &Standin, less: &Standin| loop {
        let before = (more.count(UNARY), less.count(UNARY));
        for _ in 0..100 {
            well(&client).await;
        }
        let (one, other) = (more.count(UNARY) - before.0, less.count(UNARY) - before.1);
        if other > 0 && one > 3 * other {
            return;
        }
    };
    within(20.0, "shares by weight", share(&first, &second)).await;
    assert_eq!(spare.count(UNARY), 0);
    let connections = (first.connections_total(), second.connections_total());
    let turned = [(1, 1, port(&first), "here.test"), (1, 9, port(&second), "here.test")];
    names.targets("_zitadel._tcp.test", &turned);
    within(20.0, "shares by the new weight", share(&second, &first)).await;
    assert_eq!((first.connections_total(), second.connections_total()), connections);
}

#[tokio::test]
async fn a_file_is_followed_through_kubernetes_swaps_and_a_bad_one_changes_nothing() {
    let (first, second) = (standin().await, standin().await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("endpoints.yaml");
    let swap = |version: &str, text: &str| {
        std::fs::create_dir(folder.path().join(version)).unwrap();
        std::fs::write(folder.path().join(version).join("endpoints.yaml"), text).unwrap();
        std::os::unix::fs::symlink(version, folder.path().join("..new")).unwrap();
        std::fs::rename(folder.path().join("..new"), folder.path().join("..data")).unwrap();
    };
    swap("..1", &format!("- {}\n", first.address()));
    std::os::unix::fs::symlink("..data/endpoints.yaml", &file).unwrap();
    let ravelin = Ravelin::start(&config(&[format!("h2c+file:{}", file.display())], "", ""));
    let client = Client::plain(ravelin.plain()).await;
    reaches(&client, &first).await;
    swap("..2", &format!("- {}\n- {}\n", first.address(), second.address()));
    reaches(&client, &second).await;
    swap("..3", "- no endpoint\n");
    let beyond = std::time::Instant::now() + std::time::Duration::from_millis(1_300);
    while std::time::Instant::now() < beyond {
        well(&client).await;
    }
    swap("..4", &format!("- {}\n", second.address()));
    let gone = async {
        while first.connections() > 0 {
            well(&client).await;
        }
    };
    within(5.0, "only the second", gone).await;
    let healthy = |one: &Standin| {
        let labels = format!("cluster=\"up\",endpoint=\"h2c://{}\"", one.address());
        ravelin.metric(&format!("ravelin_upstream_endpoint_healthy{{{labels}"))
    };
    let told = (healthy(&first), healthy(&second));
    assert_eq!(told, (0.0, 2.0), "who has left its cluster does not make it look well");
    let asked = first.count(UNARY);
    for _ in 0..20 {
        well(&client).await;
    }
    assert_eq!(first.count(UNARY), asked);
}
