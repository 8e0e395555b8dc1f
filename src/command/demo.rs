//! `ravelin demo`: the ZITADEL stand-in with Ravelin before it on this machine, and what to try.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::config::plan::Plan;
use crate::config::{self, Files, Overrides};
use crate::server::life;
use crate::standin::{Options, Standin};
use crate::telemetry::log;

/// The port that is tried first.
pub const PORT: u16 = 8443;

/// Serves until Ctrl-C.
pub fn demo(port: u16) -> ExitCode {
    match show(port) {
        Ok(life::End::Drained) => ExitCode::SUCCESS,
        Ok(life::End::Cut) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ravelin demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(wanted: u16) -> Result<life::End, Box<dyn std::error::Error>> {
    log::init(log::LogFormat::Text)?;
    let port = free_port(wanted)?;
    if port != wanted && wanted != 0 {
        println!("Port {wanted} is taken, so this is on {port}.\n");
    }
    let standin = start_standin(port)?;
    let certificates = Certificates::make()?;
    let plan = plan(port, standin.address(), &certificates)
        .map_err(|faults| io::Error::other(faults.to_string()))?;
    let instructions = Instructions { port, ca: certificates.ca(), admin: plan.admin };
    let end = life::run(plan, |server| {
        println!("{}", Instructions { admin: server.admin(), ..instructions });
    })?;
    Ok(end)
}

fn start_standin(port: u16) -> io::Result<Standin> {
    let options = Options {
        external_domain: "localhost".into(),
        external_port: port,
        external_secure: true,
        ..Options::default()
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(Standin::start(options))
}

/// `wanted`, or one that the system has free.
fn free_port(wanted: u16) -> io::Result<u16> {
    let probe = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr();
    probe(wanted).or_else(|_| probe(0)).map(|address| address.port())
}

/// The configuration is written as a user would write it.
fn plan(
    port: u16,
    upstream: SocketAddr,
    certificates: &Certificates,
) -> Result<Plan, config::fault::Faults> {
    let pair = format!(
        "certificates: [{{cert: {}, key: {}}}]",
        quoted(&certificates.folder.join("localhost.crt")),
        quoted(&certificates.folder.join("localhost.key")),
    );
    let mut listeners =
        format!("  - {{name: https, address: \"127.0.0.1:{port}\", tls: {{{pair}}}}}\n");
    if TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok() {
        listeners += &format!("  - {{name: https6, address: \"[::1]:{port}\", tls: {{{pair}}}}}\n");
    }
    let text = format!(
        "workers: 1\nlisteners:\n{listeners}routes:\n  - {{name: zitadel, match: {{host: [localhost]}}, to: zitadel}}\n\
         clusters:\n  zitadel: {{endpoints: [\"h2c://{upstream}\"]}}\n\
         admin: {{address: \"127.0.0.1:0\"}}\naccess_log: {{format: text}}\nshutdown: {{grace: 3s}}\n"
    );
    config::load_str("demo", &text, &Overrides::default(), Files::MustExist)
}

fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.display().to_string()).to_string()
}

/// A CA and a certificate for localhost, in a folder of this process that goes with it.
struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    fn make() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = std::env::temp_dir().join(format!("ravelin-demo-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let made = Self { folder };
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.distinguished_name.push(DnType::CommonName, "Ravelin demo");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        fs::write(made.folder.join("ca.crt"), issuer.pem())?;
        fs::write(made.folder.join("localhost.crt"), leaf.pem())?;
        let mut file = fs::OpenOptions::new();
        let file = file
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(made.folder.join("localhost.key"))?;
        io::Write::write_all(&mut io::BufWriter::new(file), key.serialize_pem().as_bytes())?;
        Ok(made)
    }

    fn ca(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What to try: each line works when pasted.
struct Instructions {
    port: u16,
    ca: PathBuf,
    admin: Option<SocketAddr>,
}

impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ca = self.ca.display();
        let url = format!("https://localhost:{}", self.port);
        let curl = format!("curl --cacert {ca}");
        let call = "--data-binary @-";
        writeln!(
            f,
            "Ravelin is on {url}, in front of a ZITADEL stand-in. Try, in another terminal:\n"
        )?;
        let lines = [
            ("A page", format!("{curl} -i {url}/ui/console/")),
            ("REST", format!("{curl} -i -H 'authorization: Bearer demo' {url}/admin/v1/healthz")),
            (
                "An error, as REST clients get it",
                format!("{curl} -i {url}/v2/users/163840776835432705"),
            ),
            ("OpenID discovery", format!("{curl} {url}/.well-known/openid-configuration")),
            (
                "gRPC (its status is in the trailers, below)",
                format!(
                    "printf '\\0\\0\\0\\0\\0' | {curl} -i --http2 -H 'content-type: application/grpc' -H 'te: trailers' {call} --output - {url}/zitadel.admin.v1.AdminService/Healthz"
                ),
            ),
            (
                "gRPC-Web (its status is in the body)",
                format!(
                    "printf '\\0\\0\\0\\0\\0' | {curl} -i -H 'content-type: application/grpc-web+proto' {call} --output - {url}/zitadel.admin.v1.AdminService/Healthz"
                ),
            ),
            (
                "Connect",
                format!(
                    "{curl} -i -H 'content-type: application/json' -H 'connect-protocol-version: 1' -d '{{}}' {url}/zitadel.session.v2.SessionService/ListSessions"
                ),
            ),
            ("Early hints (103)", format!("{curl} -i {url}/early-hints")),
            (
                "WebSocket",
                format!(
                    "{curl} -i -N --http1.1 --max-time 1 -H 'connection: upgrade' -H 'upgrade: websocket' -H 'sec-websocket-version: 13' -H 'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==' {url}/ws"
                ),
            ),
            ("An endless stream of events, Ctrl-C ends it", format!("{curl} -N {url}/sse")),
        ];
        for (what, line) in lines {
            writeln!(f, "  # {what}\n  {line}\n")?;
        }
        if let Some(admin) = self.admin {
            writeln!(
                f,
                "How it stands: http://{admin}/   what it counts: http://{admin}/metrics\n"
            )?;
        }
        write!(f, "Below is one line for each exchange. Ctrl-C ends it.")
    }
}
