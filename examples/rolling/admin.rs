//! What is asked over HTTP/1.1: readiness, metrics, and the calls of the admin listener.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Failure;

/// The body of a 200.
pub async fn get(address: SocketAddr, path: &str) -> Result<String, Failure> {
    ask(address, "GET", path).await
}

async fn ask(address: SocketAddr, method: &str, path: &str) -> Result<String, Failure> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(60), asked).await??;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(format!("{method} {path}: {answer}").into()),
    }
}

/// A call that has to be answered with 200.
pub async fn post(address: SocketAddr, path: &str) -> Result<(), Failure> {
    ask(address, "POST", path).await.map(drop)
}

/// Asks Ravelin to take an endpoint down, and waits until nothing is in flight there.
pub async fn drain(admin: SocketAddr, endpoint: &str) -> Result<(), Failure> {
    post(admin, &format!("/drain?endpoint={endpoint}&timeout=20s")).await
}

/// Gives it back.
pub async fn undrain(admin: SocketAddr, endpoint: &str) -> Result<(), Failure> {
    post(admin, &format!("/undrain?endpoint={endpoint}")).await
}

/// Retries by reason, and what else Ravelin counts of them.
pub async fn metrics(admin: SocketAddr) -> Result<BTreeMap<String, u64>, Failure> {
    let mut counts = BTreeMap::new();
    for line in get(admin, "/metrics").await?.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = match series.split_once("ravelin_upstream_retries_total") {
            Some((_, labels)) => labels.split("reason=\"").nth(1).and_then(|l| l.split('"').next()),
            None if series.starts_with("ravelin_upstream_retry_budget_exhausted_total") => {
                Some("not afforded")
            }
            None => None,
        };
        if let Some(name) = name {
            *counts.entry(name.to_owned()).or_default() +=
                value.parse::<f64>().unwrap_or(0.0) as u64;
        }
    }
    Ok(counts)
}
