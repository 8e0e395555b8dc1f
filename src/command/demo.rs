//! `ravelin demo`: the ZITADEL stand-in with Ravelin before it on this machine, and what to try.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::ExitCode;

use super::dev::authority::{self, Authority};
use super::dev::wiring;
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
    let port = wiring::free_port(wanted)?;
    if port != wanted && wanted != 0 {
        println!("Port {wanted} is taken, so this is on {port}.\n");
    }
    let standin = start_standin(port)?;
    let certificates = Certificates::make()?;
    let plan = plan(port, standin.address(), &certificates)
        .map_err(|faults| io::Error::other(faults.to_string()))?;
    let instructions = Instructions { port, ca: certificates.authority.ca(), admin: plan.admin };
    let end = life::run(plan, None, |server| {
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

/// The configuration is written as a user would write it.
fn plan(
    port: u16,
    upstream: SocketAddr,
    certificates: &Certificates,
) -> Result<Plan, config::fault::Faults> {
    let listeners = wiring::listeners(port, &certificates.authority);
    let text = format!(
        "workers: 1\nlisteners:\n{listeners}\
         zitadel: {{upstream: \"h2c://{upstream}\", domain: \"localhost:{port}\", guards: {{health: true}}}}\n\
         admin: {{address: \"127.0.0.1:0\"}}\naccess_log: {{format: text}}\nshutdown: {{grace: 3s}}\n"
    );
    config::load_str("demo", &text, &Overrides::default(), Files::MustExist)
}

/// A CA and its certificates, in a folder of this process that goes with it.
struct Certificates {
    folder: PathBuf,
    authority: Authority,
}

impl Certificates {
    fn make() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("ravelin-demo-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let authority = Authority::new(&folder, &[]);
        let made = Self { folder, authority };
        made.authority.prepare(authority::now())?;
        Ok(made)
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
