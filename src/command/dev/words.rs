//! What `dev` tells its user: each line works when pasted.

use std::fmt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::authority::{Authority, Change, Prepared};
use super::facts::Facts;
use super::trust::Anchor;
use super::wiring::Upstreams;

/// Where ZITADEL listens unless it is told otherwise.
const ZITADEL_PORT: u16 = 8080;

/// What ZITADEL must be told, and what to try.
pub struct Words<'a> {
    /// Where it is served.
    pub port: u16,
    /// What is behind.
    pub upstreams: &'a Upstreams,
    /// Whose certificates it shows.
    pub authority: &'a Authority,
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, upstreams, authority } = self;
        let ca = authority.ca();
        let ca = ca.display();
        writeln!(f, "https://localhost:{port} is {}", upstreams.zitadel)?;
        if let Some(login) = &upstreams.login {
            writeln!(f, "https://localhost:{port}/ui/v2/login is {login}")?;
        }
        let listens = self.upstreams.port();
        let mut settings = vec![
            ("EXTERNALDOMAIN", "localhost".to_owned()),
            ("EXTERNALPORT", port.to_string()),
            ("EXTERNALSECURE", "true".to_owned()),
            ("TLS_ENABLED", "false".to_owned()),
        ];
        // Its own default need not be said.
        settings.extend((listens != ZITADEL_PORT).then(|| ("PORT", listens.to_string())));
        writeln!(f, "\nWhat ZITADEL must be told, as variables:\n")?;
        for (key, value) in &settings {
            writeln!(f, "  export ZITADEL_{key}={value}")?;
        }
        let flags: String =
            settings.iter().map(|(key, value)| format!(" -e ZITADEL_{key}={value}")).collect();
        writeln!(f, "\nor as flags of docker (before the image), beside your own:\n")?;
        writeln!(f, "  -p 127.0.0.1:{listens}:{listens}{flags}")?;
        writeln!(f, "\nand behind `zitadel start`, `start-from-setup` or `start-from-init`:\n")?;
        writeln!(f, "  --tlsMode external\n")?;
        writeln!(f, "Domain and port go into the database at the first start: change them with")?;
        writeln!(f, "`zitadel setup`, or begin with an empty database.\n")?;
        writeln!(f, "Then, in another terminal:\n")?;
        let discovery = format!("https://localhost:{port}/.well-known/openid-configuration");
        writeln!(f, "  curl --cacert {ca} {discovery}\n")?;
        writeln!(f, "and before programs on Node.js, which have a list of their own:\n")?;
        writeln!(f, "  export NODE_EXTRA_CA_CERTS={ca}")
    }
}

/// What became of the files.
pub fn prepared(authority: &Authority, prepared: &Prepared) {
    let ca = authority.ca();
    match prepared.ca {
        Some(Change::Made) => println!("Made a CA: {}", ca.display()),
        Some(Change::Renewed) => println!(
            "Made a new CA: {} (the old one was about to expire, unsound, or not for these names).\n\
             Whoever trusted the old one must trust this one: --trust.",
            ca.display()
        ),
        None => {}
    }
    for (file, change) in &prepared.leaves {
        let what = if *change == Change::Made { "Made" } else { "Renewed" };
        println!("{what} a certificate: {}", file.display());
    }
    for file in std::iter::once(ca).chain(authority.pairs().into_iter().map(|(cert, _)| cert)) {
        println!("{} is valid until {}", file.display(), until(&file));
    }
    println!("For {}\n", authority.names().collect::<Vec<_>>().join(", "));
}

/// What --trust came to.
pub fn trusted(anchor: &Anchor, done: bool) {
    let all = if done { "" } else { "Not everywhere: see above. " };
    println!(
        "{all}Browsers that are open notice after a restart. `ravelin dev --untrust` undoes it.\n\
         Whoever has the key beside {} can show this machine any localhost.\n",
        anchor.file.display()
    );
}

/// A day, UTC.
fn until(file: &Path) -> String {
    let facts = std::fs::read_to_string(file).ok().and_then(|pem| Facts::of_pem(&pem));
    let seconds = facts.and_then(|facts| u64::try_from(facts.not_after).ok()).unwrap_or_default();
    let moment = UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(moment).to_string().chars().take(10).collect()
}
