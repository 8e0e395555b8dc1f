//! Asks a running Ravelin's admin listener. Plain blocking sockets, so that an image needs neither shell
//! nor curl.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::command::{USAGE, report};
use crate::config::{self, Files, Source, compile};

/// How long each step of a question may take that the other answers at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// An answer is far smaller: every fault of a file, every endpoint.
const ANSWER: u64 = 1 << 20;

/// The admin listener of the Ravelin at `address`, else of the one that `source` configures, else the
/// default one.
///
/// # Errors
/// The exit code, after the reason has been told in the name of `who`.
pub(super) fn admin(
    who: &str,
    address: Option<&str>,
    source: Source,
) -> Result<SocketAddr, ExitCode> {
    let nobody = || {
        eprintln!("{who}: there is no admin listener to ask (admin: off)");
        ExitCode::FAILURE
    };
    match (address, &source.file) {
        (Some("off"), _) => Err(nobody()),
        (Some(text), _) => text.parse().map_err(|_| {
            eprintln!(
                "--admin: found \"{}\", expected an address such as 127.0.0.1:9901",
                text.escape_debug()
            );
            USAGE.into()
        }),
        (None, None) => Ok(compile::ADMIN),
        // Certificates may be readable to the server alone; they do not matter here.
        (None, Some(_)) => match config::load_with(source, Files::Ignored) {
            Err(faults) => Err(report(&faults)),
            Ok(plan) => plan.admin.ok_or_else(nobody),
        },
    }
}

/// Why nobody could be asked. A running Ravelin keeps the admin address of its start, so that a file
/// which has changed since names another: said where the address came from there.
pub(super) fn unanswered(
    who: &str,
    address: SocketAddr,
    error: &io::Error,
    given: Option<&str>,
    source: &Source,
) -> ExitCode {
    eprintln!("{who}: {address}: {error}");
    if let (None, Some(file)) = (given, &source.file) {
        eprintln!(
            "{who}: {address} is what {} says now; a running Ravelin keeps the address that it \
             started with: if that was another, name it with --admin",
            file.display()
        );
    }
    ExitCode::FAILURE
}

/// A listener on every address is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Status and body of one request. The answer may take `patience`.
///
/// # Errors
/// Of the connection, and where what comes is no HTTP.
pub(super) fn call(
    address: SocketAddr,
    method: &str,
    target: &str,
    patience: Duration,
) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&reachable(address), PATIENCE)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let none = || io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer");
    let status = status(answer.as_bytes()).ok_or_else(none)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    Ok((status, body.unwrap_or_default()))
}

fn status(head: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(head.get(..12)?).ok()?;
    text.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_line_is_an_answer() {
        assert_eq!(status(b"HTTP/1.1 200"), Some(200));
        assert_eq!(status(b"HTTP/1.0 503 Service"), Some(503));
        assert_eq!(status(b"SSH-2.0-OpenSSH"), None);
        assert_eq!(status(b"HTTP/1.1"), None);
    }

    #[test]
    fn an_answer_is_read_whole() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // To its end: what lies unread when a socket is closed resets it.
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n").unwrap();
            head
        });
        let answer = call(address, "GET", "/readyz", PATIENCE).unwrap();
        assert_eq!(answer, (200, "ok\n".to_owned()));
        assert!(server.join().unwrap().starts_with(b"GET /readyz HTTP/1.1\r\n"));
    }
}
