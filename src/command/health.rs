//! `ravelin health`: asks a running Ravelin's admin listener whether it is ready.
//!
//! For container health checks, so that an image needs neither shell nor curl. Plain blocking
//! sockets: one request, one status line.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::command::{USAGE, report};
use crate::config::{self, Files, Source, compile};

/// How long each step of the question may take.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Exit code 0 if the Ravelin at `address` (else: at the admin address of `source`, else: at the
/// default one) says that it is ready.
pub fn health(address: Option<&str>, source: Source) -> ExitCode {
    let address = match admin("health", address, source) {
        Ok(address) => address,
        Err(code) => return code,
    };
    match ask(address) {
        Ok(200) => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("health: {address} answered {status}: not ready");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("health: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where the admin listener is reached: at `address`, else where `source` says, else at the default
/// address. `command` is who wants to know.
///
/// # Errors
/// The exit code, where there is none; why has been told.
pub fn admin(command: &str, address: Option<&str>, source: Source) -> Result<SocketAddr, ExitCode> {
    let address = match (address, &source.file) {
        (Some("off"), _) => return Err(nobody(command)),
        (Some(text), _) => match text.parse() {
            Ok(address) => address,
            Err(_) => {
                eprintln!(
                    "--admin: found \"{}\", expected an address such as 127.0.0.1:9901",
                    text.escape_debug()
                );
                return Err(USAGE.into());
            }
        },
        (None, None) => compile::ADMIN,
        // Certificates may be readable to the server alone; they do not matter here.
        (None, Some(_)) => match config::load_with(source, Files::Ignored) {
            Err(faults) => return Err(report(&faults)),
            Ok(plan) => match plan.admin {
                Some(address) => address,
                None => return Err(nobody(command)),
            },
        },
    };
    Ok(reachable(address))
}

fn nobody(command: &str) -> ExitCode {
    eprintln!("{command}: there is no admin listener to ask (admin: off)");
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

/// The status of `GET /readyz`.
fn ask(address: SocketAddr) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    // `HTTP/1.1 200` is all that matters.
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    status(&head).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer"))
}

/// The status in the first twelve bytes of an answer.
pub fn status(head: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(head).ok()?;
    text.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_line_is_an_answer() {
        assert_eq!(status(b"HTTP/1.1 200"), Some(200));
        assert_eq!(status(b"HTTP/1.0 503"), Some(503));
        assert_eq!(status(b"SSH-2.0-Open"), None);
    }

    #[test]
    fn a_ready_server_is_seen_as_ready() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 11];
            stream.read_exact(&mut head).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            head
        });
        assert_eq!(ask(address).unwrap(), 200);
        assert_eq!(&server.join().unwrap(), b"GET /readyz");
    }
}
