//! What must be done on which machine so that a CA is trusted, or no longer: decided here from what
//! was found there, carried out in `stores`.
//!
//! Where stores are and how they are told: Debian's update-ca-certificates(8), Fedora's and Arch's
//! p11-kit (update-ca-trust(8), trust(1)), openSUSE's and Alpine's update-ca-certificates, macOS'
//! security(1), NSS' certutil(1).

use std::fmt;
use std::path::{Path, PathBuf};

use super::facts::Facts;

/// Whether to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put it into every store.
    Trust,
    /// Take it out of every store.
    Untrust,
}

/// The certificate in question.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// Its common name: its name in stores.
    pub name: String,
    /// Its file (PEM).
    pub file: PathBuf,
    /// What is in the file.
    pub pem: String,
}

impl Anchor {
    /// Of a file's text; `None` where it holds no certificate.
    pub fn new(file: PathBuf, pem: String) -> Option<Self> {
        let name = Facts::of_pem(&pem)?.name;
        Some(Self { name, file, pem })
    }

    /// `ravelin-dev-ca-3f2a91bc`: its name as a file's.
    pub fn stem(&self) -> String {
        self.name.to_ascii_lowercase().replace(' ', "-")
    }

    /// update-ca-certificates takes `.crt` alone.
    fn file_name(&self) -> String {
        format!("{}.crt", self.stem())
    }

    /// How Debian's hook calls it in Java's store.
    pub fn java_alias(&self) -> String {
        format!("debian:{}.pem", self.stem())
    }
}

/// How a machine's own store is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum System {
    /// A folder of certificates, and the command that takes them over.
    Folder {
        /// Whose way this is.
        name: &'static str,
        /// Where certificates are put.
        folder: PathBuf,
        /// The command.
        update: Vec<String>,
    },
    /// The user's keychain.
    Keychain {
        /// `security(1)`.
        program: String,
        /// The keychain's file.
        keychain: PathBuf,
    },
    /// Nothing that is known here.
    Unknown,
}

/// Ways of systems: name, folder, where its command is, and what it is told. The first whose folder
/// (or the folder above it) and command are there.
const WAYS: [(&str, &str, &str, &[&str]); 5] = [
    ("Fedora, RHEL", "etc/pki/ca-trust/source/anchors", "update-ca-trust", &["extract"]),
    ("Arch", "etc/ca-certificates/trust-source/anchors", "trust", &["extract-compat"]),
    ("openSUSE", "etc/pki/trust/anchors", "update-ca-certificates", &[]),
    ("openSUSE", "usr/share/pki/trust/anchors", "update-ca-certificates", &[]),
    ("Debian, Ubuntu, Alpine", "usr/local/share/ca-certificates", "update-ca-certificates", &[]),
];
const PROGRAMS: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];

impl System {
    /// Of the machine whose files are below `root`.
    pub fn detect(root: &Path, home: Option<&Path>) -> Self {
        let program = |name: &str| {
            PROGRAMS.iter().map(|folder| root.join(folder).join(name)).find(|path| path.exists())
        };
        if let (Some(security), Some(home)) = (program("security"), home)
            && root.join("System/Library").exists()
        {
            let keychain = home.join("Library/Keychains/login.keychain-db");
            return Self::Keychain { program: security.display().to_string(), keychain };
        }
        for (name, folder, update, arguments) in WAYS {
            let folder = root.join(folder);
            let there = folder.exists() || folder.parent().is_some_and(Path::exists);
            if let (true, Some(update)) = (there, program(update)) {
                let mut update = vec![update.display().to_string()];
                update.extend(arguments.iter().map(ToString::to_string));
                return Self::Folder { name, folder, update };
            }
        }
        Self::Unknown
    }

    /// Where a certificate is, if this system keeps it as a file.
    pub fn place(&self, anchor: &Anchor) -> Option<PathBuf> {
        match self {
            Self::Folder { folder, .. } => Some(folder.join(anchor.file_name())),
            _ => None,
        }
    }
}

/// A database of NSS: what Chromium and Firefox trust on Linux, and Firefox everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Whose it is.
    pub owner: &'static str,
    /// Its folder.
    pub path: PathBuf,
    /// What is there.
    pub state: State,
}

/// What is in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no such database, but the browser that would read it.
    Missing,
    /// Nobody can look into it: there is no `certutil`.
    Unseen,
    /// Not this CA.
    Without,
    /// This CA, and perhaps others.
    With {
        /// This CA alone, in a database that `--trust` has made.
        ours_alone: bool,
    },
}

/// Left in a database that `--trust` has made, so that `--untrust` knows.
pub const MARK: &str = ".made-by-ravelin";

/// What was found on a machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its own store.
    pub system: System,
    /// Whether that holds the CA; `None` where it cannot be known.
    pub system_holds: Option<bool>,
    /// Links to it in the folder of OpenSSL: Debian's update-ca-certificates makes them, and leaves
    /// them behind when nothing else has changed.
    pub links: Vec<PathBuf>,
    /// Java's store, if it holds the CA: Debian's hook puts it there and is not told of its end.
    pub java: Option<PathBuf>,
    /// Whether changing that takes root, which we are not.
    pub sudo: bool,
    /// Browsers' stores.
    pub databases: Vec<Database>,
    /// Whether there is NSS' `certutil`.
    pub certutil: bool,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Program and arguments.
    pub words: Vec<String>,
    /// As root.
    pub sudo: bool,
}

impl fmt::Display for Step {
    /// As it is typed into a shell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.sudo { "sudo" } else { "" })?;
        for (place, word) in self.words.iter().enumerate() {
            f.write_str(if place > 0 || self.sudo { " " } else { "" })?;
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@+".contains(c);
            if !word.is_empty() && word.chars().all(plain) {
                f.write_str(word)?;
            } else {
                write!(f, "'{}'", word.replace('\'', "'\\''"))?;
            }
        }
        Ok(())
    }
}

/// What is to be done about one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// It is as it should be.
    Nothing(&'static str),
    /// These, in this order.
    Steps(Vec<Step>),
    /// What the user must do.
    Manual(String),
}

/// Every store, and what is to be done about it.
pub fn plan(action: Action, anchor: &Anchor, machine: &Machine) -> Vec<(String, Work)> {
    let mut plan = vec![system(action, anchor, machine)];
    for database in &machine.databases {
        let name = format!("{} ({})", database.owner, database.path.display());
        let work = match nss(action, anchor, database) {
            Work::Steps(_) if !machine.certutil => Work::Manual(CERTUTIL.into()),
            work => work,
        };
        plan.push((name, work));
    }
    plan
}

const CERTUTIL: &str = "certutil is missing. Install it and run this again: \
     apt-get install libnss3-tools (Debian, Ubuntu), dnf install nss-tools (Fedora), \
     pacman -S nss (Arch), zypper install mozilla-nss-tools (openSUSE), brew install nss (macOS)";
const THERE: &str = "already there";
const ABSENT: &str = "not there";

fn system(action: Action, anchor: &Anchor, machine: &Machine) -> (String, Work) {
    let name = match &machine.system {
        System::Folder { name, .. } => format!("system store ({name})"),
        System::Keychain { .. } => "system store (macOS, login keychain)".into(),
        System::Unknown => "system store".into(),
    };
    let work = match (action, machine.system_holds, &machine.system) {
        (Action::Trust, Some(true), _) => Work::Nothing(THERE),
        (Action::Untrust, Some(false), _) if machine.links.is_empty() && machine.java.is_none() => {
            Work::Nothing(ABSENT)
        }
        (_, _, System::Folder { folder, update, .. }) => {
            let to = folder.join(anchor.file_name());
            let commands = match action {
                // -D: the folder may be missing on a system that has never needed it.
                Action::Trust => vec![
                    words(&["install", "-D", "-m", "0644"], &[&anchor.file, &to]),
                    update.clone(),
                ],
                Action::Untrust => remove(anchor, machine, &to, update),
            };
            let steps = commands.into_iter().map(|words| step(words, machine.sudo));
            Work::Steps(steps.collect())
        }
        (action, _, System::Keychain { program, keychain }) => {
            Work::Steps(keychain_steps(action, anchor, program, keychain))
        }
        (Action::Trust, _, System::Unknown) => Work::Manual(format!(
            "not known how on this system: make it trust {} as an authority for websites",
            anchor.file.display()
        )),
        (Action::Untrust, _, System::Unknown) => Work::Manual(format!(
            "not known how on this system: if you have made it trust \"{}\", take that back",
            anchor.name
        )),
    };
    (name, work)
}

fn remove(anchor: &Anchor, machine: &Machine, file: &Path, update: &[String]) -> Vec<Vec<String>> {
    let links = machine.links.iter().map(PathBuf::as_path);
    let files: Vec<_> = std::iter::once(file).chain(links).collect();
    // -f: after a run that was cut there may be links alone.
    let mut commands = vec![words(&["rm", "-f"], &files), update.to_vec()];
    if let Some(java) = &machine.java {
        let alias = anchor.java_alias();
        let delete = ["keytool", "-delete", "-storepass", JAVA, "-alias", &alias, "-keystore"];
        commands.push(words(&delete, &[java]));
    }
    commands
}

/// The password of Java's store of authorities, everywhere.
pub const JAVA: &str = "changeit";

/// The user's own keychain needs no root; macOS asks for the password itself.
fn keychain_steps(action: Action, anchor: &Anchor, program: &str, keychain: &Path) -> Vec<Step> {
    match action {
        Action::Trust => {
            let options = [program, "add-trusted-cert", "-r", "trustRoot", "-k"];
            vec![step(words(&options, &[keychain, &anchor.file]), false)]
        }
        Action::Untrust => vec![
            step(words(&[program, "remove-trusted-cert"], &[&anchor.file]), false),
            step(words(&[program, "delete-certificate", "-c", &anchor.name], &[keychain]), false),
        ],
    }
}

fn nss(action: Action, anchor: &Anchor, database: &Database) -> Work {
    let path = &database.path;
    let certutil = |arguments: &[&str]| {
        let database = format!("sql:{}", path.display());
        let head = ["certutil", "-d", &database].map(String::from);
        let tail = arguments.iter().map(ToString::to_string);
        step(head.into_iter().chain(tail).collect(), false)
    };
    let file = anchor.file.display().to_string();
    // C: an authority for servers, and for nothing else.
    let add = certutil(&["-A", "-t", "C,,", "-n", &anchor.name, "-i", &file]);
    match (action, database.state) {
        (Action::Trust, State::With { .. }) => Work::Nothing(THERE),
        (Action::Untrust, State::Missing | State::Without) => Work::Nothing(ABSENT),
        (_, State::Unseen) => Work::Manual(CERTUTIL.into()),
        (Action::Trust, State::Without) => Work::Steps(vec![add]),
        (Action::Trust, State::Missing) => Work::Steps(vec![
            step(words(&["mkdir", "-p", "-m", "0700"], &[path]), false),
            certutil(&["-N", "--empty-password"]),
            step(words(&["touch"], &[&path.join(MARK)]), false),
            add,
        ]),
        (Action::Untrust, State::With { ours_alone: true }) => {
            let above = path.parent().unwrap_or(path);
            let rmdir = words(&["rmdir", "--ignore-fail-on-non-empty"], &[above]);
            Work::Steps(vec![step(words(&["rm", "-r"], &[path]), false), step(rmdir, false)])
        }
        (Action::Untrust, State::With { ours_alone: false }) => {
            Work::Steps(vec![certutil(&["-D", "-n", &anchor.name])])
        }
    }
}

fn step(words: Vec<String>, sudo: bool) -> Step {
    Step { words, sudo }
}

fn words(first: &[&str], paths: &[&Path]) -> Vec<String> {
    let paths = paths.iter().map(|path| path.display().to_string());
    first.iter().map(ToString::to_string).chain(paths).collect()
}
