//! The configuration that `dev` serves: written as a user would write it.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::Path;

use super::authority::Authority;
use crate::config::fault::Faults;
use crate::config::plan::Plan;
use crate::config::{self, Files, Overrides};

/// What `dev` stands before.
#[derive(Clone, Debug)]
pub struct Upstreams {
    /// ZITADEL.
    pub zitadel: String,
    /// Its login application, where it is a container of its own.
    pub login: Option<String>,
}

impl Upstreams {
    /// Where ZITADEL listens, as far as its address says it (a Unix socket's does not).
    pub fn port(&self) -> u16 {
        let address = self.zitadel.rsplit_once("://").map_or(&*self.zitadel, |(_, rest)| rest);
        let port = address.trim_end_matches('/').rsplit_once(':').map(|(_, port)| port);
        port.and_then(|port| port.parse().ok()).unwrap_or(8080)
    }
}

/// The plan.
///
/// # Errors
/// What in the arguments is no address.
pub fn plan(port: u16, upstreams: &Upstreams, authority: &Authority) -> Result<Plan, Faults> {
    let text = text(port, upstreams, authority);
    config::load_str("dev", &text, &Overrides::default(), Files::MustExist)
}

/// The configuration. Hot reload of the login keeps a connection open for as long as its page is.
fn text(port: u16, upstreams: &Upstreams, authority: &Authority) -> String {
    let domain = |name| quoted(&format!("{}:{port}", host(name)));
    let domains = authority.names().map(domain).collect::<Vec<_>>().join(", ");
    let mut zitadel = format!("upstream: {}, domain: [{domains}]", quoted(&upstreams.zitadel));
    let mut routes = "";
    if let Some(login) = &upstreams.login {
        let _ = write!(zitadel, ", login: {}", quoted(login));
        routes = "routes: [{name: zitadel-login, timeouts: {idle: off}}]\n";
    }
    let listeners = listeners(port, authority);
    format!(
        "workers: 1\nlisteners:\n{listeners}zitadel: {{{zitadel}, tls_mode: external}}\n{routes}\
         admin: {{address: \"127.0.0.1:0\"}}\naccess_log: {{format: text}}\nshutdown: {{grace: 1s}}\n"
    )
}

/// Listeners on this machine alone, over IPv4 and, where there is any, IPv6.
pub fn listeners(port: u16, authority: &Authority) -> String {
    let pairs: Vec<_> = authority
        .pairs()
        .iter()
        .enumerate()
        .map(|(place, (cert, key))| {
            let (cert, key) = (file(cert), file(key));
            format!("{{cert: {cert}, key: {key}, default: {}}}", place == 0)
        })
        .collect();
    let tls = format!("tls: {{certificates: [{}]}}", pairs.join(", "));
    let mut listeners = format!("  - {{name: https, address: \"127.0.0.1:{port}\", {tls}}}\n");
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        let _ = writeln!(listeners, "  - {{name: https6, address: \"[::1]:{port}\", {tls}}}");
    }
    listeners
}

/// `wanted`, or one that the system has free.
///
/// # Errors
/// There is none.
pub fn free_port(wanted: u16) -> io::Result<u16> {
    let probe = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr();
    probe(wanted).or_else(|_| probe(0)).map(|address| address.port())
}

fn host(name: &str) -> String {
    match name.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => name.to_owned(),
    }
}

fn file(path: &Path) -> String {
    // Relative ones would be relative to the configuration, which is nowhere.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    quoted(&path.display().to_string())
}

/// As YAML has it in double quotes, which JSON's texts are.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
