//! `ravelin purge`: tells a running Ravelin to forget what its cache holds.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;

use clap::ArgMatches;

use super::health::{self, PATIENCE};
use super::print;
use crate::config::Source;

/// Exit code 0 and how many answers went, if the Ravelin at `address` (else: as for `health`) did so.
pub fn purge(matches: &ArgMatches, address: Option<&str>, source: Source) -> ExitCode {
    let address = match health::admin("purge", address, source) {
        Ok(address) => address,
        Err(code) => return code,
    };
    let query = match (matches.get_one::<String>("url"), matches.get_one::<String>("host")) {
        (Some(url), _) => format!("url={url}"),
        (None, Some(host)) => format!("host={host}"),
        (None, None) => "all".to_owned(),
    };
    match ask(address, &query) {
        Ok((200, said)) => print(&said),
        Ok((status, said)) => {
            eprintln!("purge: {address} answered {status}: {}", said.trim_end());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("purge: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The status of `POST /purge`, and what was said.
fn ask(address: SocketAddr, query: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // What would end the request's line early is encoded.
    let query = query.replace(' ', "%20").replace(['\r', '\n'], "");
    let request = format!(
        "POST /purge?{query} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = health::status(head.as_bytes().get(..12).unwrap_or_default());
    let status =
        status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer"))?;
    Ok((status, body.to_owned()))
}
