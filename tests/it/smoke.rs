//! Every protocol once, over TLS and without.

use crate::support::{Ravelin, h2::Client, standin};

#[tokio::test]
async fn grpc_rest_and_errors_pass_over_tls_and_plaintext() {
    let standin = standin().await;
    let ravelin = Ravelin::before(&format!("h2c://{}", standin.address()));
    for client in [Client::tls(ravelin.https()).await, Client::plain(ravelin.plain()).await] {
        let answer = client.grpc("/zitadel.admin.v1.AdminService/Healthz", &[], b"").await.unwrap();
        assert_eq!((answer.status(), answer.trailer("grpc-status")), (200, "0"));
        assert!(answer.trailers.is_some());
        let answer = client.get("/admin/v1/healthz").await.unwrap();
        assert_eq!((answer.status(), answer.text()), (200, "{}"));
        let answer = client.get("/bytes/1000000").await.unwrap();
        assert_eq!(answer.body.len(), 1_000_000);
    }
    assert_eq!(standin.connections_total(), 1, "both went over one upstream connection");
}
