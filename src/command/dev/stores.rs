//! Trust stores of this machine: looking into them, and doing what `trust` has planned, aloud.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::trust::{
    Action, Anchor, Database, JAVA, MARK, Machine, State, Step, System, Work, plan,
};

/// Where the machine's files are, and whose they are.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// `/`, but for tests.
    pub root: PathBuf,
    /// The user's folder.
    pub home: Option<PathBuf>,
    /// The user's data (XDG), if they are not where they usually are.
    pub data: Option<PathBuf>,
    /// Where programs are looked for.
    pub path: Vec<PathBuf>,
}

/// Databases of Chromium and its kin, below the user's folder. Old versions know the first alone;
/// new ones (2024) the second, unless the first is there: so that is what is made where there is
/// none of both and such a browser is.
const CHROMIUM: [&str; 5] = [
    ".pki/nssdb",
    ".local/share/pki/nssdb",
    "snap/chromium/current/.pki/nssdb",
    ".var/app/org.chromium.Chromium/.pki/nssdb",
    ".var/app/com.google.Chrome/.pki/nssdb",
];
/// Folders of Firefox' profiles: own packages, XDG, snap, flatpak, macOS.
const FIREFOX: [&str; 5] = [
    ".mozilla/firefox",
    ".config/mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    "Library/Application Support/Firefox/Profiles",
];
const BROWSERS: [&str; 7] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "brave-browser",
    "vivaldi",
];

impl Surroundings {
    /// This process's own; `root` is `/` but for tests.
    pub fn own(root: PathBuf) -> Self {
        let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|at| at.is_absolute());
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self {
            root,
            home: folder("HOME"),
            data: folder("XDG_DATA_HOME"),
            path: std::env::split_paths(&path).collect(),
        }
    }

    /// What is there, as far as `anchor` is concerned.
    pub fn survey(&self, anchor: &Anchor) -> Machine {
        let system = System::detect(&self.root, self.home.as_deref());
        let system_holds = system
            .place(anchor)
            .map(|place| fs::read_to_string(place).is_ok_and(|text| text == anchor.pem));
        let (links, java) = (self.links(anchor), self.java(anchor));
        let certutil = self.has("certutil");
        let databases = self
            .databases()
            .into_iter()
            .map(|(owner, path)| {
                let state = look(&path, certutil.then_some(anchor));
                Database { owner, path, state }
            })
            .collect();
        let sudo = self.root == Path::new("/") && !is_root();
        Machine { system, system_holds, links, java, sudo, databases, certutil }
    }

    /// Links of OpenSSL's folder to the CA, whether or not it is still there: by name, and from the
    /// hash of its name to that.
    fn links(&self, anchor: &Anchor) -> Vec<PathBuf> {
        let stem = anchor.stem();
        let entries = fs::read_dir(self.root.join("etc/ssl/certs")).into_iter().flatten().flatten();
        let to_it = |path: &PathBuf| {
            let target = fs::read_link(path).ok();
            target.is_some_and(|to| to.file_stem().is_some_and(|name| name == stem.as_str()))
        };
        let mut found: Vec<_> = entries.map(|entry| entry.path()).filter(to_it).collect();
        found.sort();
        found
    }

    fn java(&self, anchor: &Anchor) -> Option<PathBuf> {
        let store = self.root.join("etc/ssl/certs/java/cacerts");
        if !store.is_file() || !self.has("keytool") {
            return None;
        }
        let mut keytool = Command::new("keytool");
        keytool.args(["-list", "-storepass", JAVA, "-alias", &anchor.java_alias(), "-keystore"]);
        let listed = keytool.arg(&store).stdin(Stdio::null()).output().ok()?;
        listed.status.success().then_some(store)
    }

    fn has(&self, program: &str) -> bool {
        self.path.iter().any(|folder| folder.join(program).is_file())
    }

    fn databases(&self) -> Vec<(&'static str, PathBuf)> {
        let Some(home) = &self.home else { return Vec::new() };
        let is_database = |path: &PathBuf| path.join("cert9.db").is_file();
        let mut found: Vec<_> = CHROMIUM
            .iter()
            .map(|folder| home.join(folder))
            .chain(self.data.iter().map(|data| data.join("pki/nssdb")))
            .filter(is_database)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|path| ("Chromium", path))
            .collect();
        // A snap's or flatpak's own says nothing about a browser outside of it.
        let elsewhere = [home.join("snap"), home.join(".var")];
        let outside =
            found.iter().any(|(_, path)| !elsewhere.iter().any(|folder| path.starts_with(folder)));
        if !outside && BROWSERS.iter().any(|browser| self.has(browser)) {
            found.insert(0, ("Chromium", home.join(CHROMIUM[0])));
        }
        for folder in FIREFOX {
            let entries = fs::read_dir(home.join(folder)).into_iter().flatten().flatten();
            let mut profiles: Vec<_> =
                entries.map(|entry| entry.path()).filter(is_database).collect();
            profiles.sort();
            found.extend(profiles.into_iter().map(|path| ("Firefox", path)));
        }
        found
    }
}

/// What a database holds; without `certutil` nobody can know.
fn look(path: &Path, anchor: Option<&Anchor>) -> State {
    if !path.join("cert9.db").is_file() {
        return State::Missing;
    }
    let Some(anchor) = anchor else { return State::Unseen };
    let ask = |more: &[&str]| {
        let database = format!("sql:{}", path.display());
        let output = Command::new("certutil")
            .args(["-L", "-d", &database])
            .args(more)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    match ask(&["-a", "-n", &anchor.name]) {
        Some(pem) if same(&pem, &anchor.pem) => {
            // Names with their flags ("C,,"), below a head of two lines.
            let listed = ask(&[]).unwrap_or_default();
            let held = listed.lines().filter(|line| {
                line.split_whitespace().last().is_some_and(|flags| flags.matches(',').count() == 2)
                    && !line.contains("SSL,S/MIME")
            });
            State::With { ours_alone: held.count() == 1 && path.join(MARK).exists() }
        }
        _ => State::Without,
    }
}

fn same(left: &str, right: &str) -> bool {
    left.split_whitespace().eq(right.split_whitespace())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Does it and says so, line by line; whether everything has been done.
pub fn act(action: Action, anchor: &Anchor, surroundings: &Surroundings) -> bool {
    let machine = surroundings.survey(anchor);
    let doing = match action {
        Action::Trust => "Trusting",
        Action::Untrust => "No longer trusting",
    };
    println!("{doing} \"{}\" ({}):", anchor.name, anchor.file.display());
    let mut all = true;
    for (store, work) in plan(action, anchor, &machine) {
        match work {
            Work::Nothing(why) => println!("  {store}: {why}"),
            Work::Manual(what) => {
                println!("  {store}: NOT done: {what}");
                all = false;
            }
            Work::Steps(steps) => {
                println!("  {store}:");
                all &= take(&steps);
            }
        }
    }
    println!();
    all
}

/// The steps up to the first that fails.
fn take(steps: &[Step]) -> bool {
    let may_ask = io::stdin().is_terminal();
    if !may_ask && steps.iter().any(|step| step.sudo) {
        println!("    NOT done: it needs root, and there is no terminal to ask at. Run:");
        for step in steps {
            println!("      {step}");
        }
        return false;
    }
    for step in steps {
        println!("    {step}");
        if let Err(error) = run(step) {
            println!("    NOT done: {error}");
            return false;
        }
    }
    println!("    done");
    true
}

fn run(step: &Step) -> io::Result<()> {
    let mut command = Command::new("sudo");
    let mut words = step.words.iter();
    if !step.sudo {
        command = Command::new(words.next().map_or("true", String::as_str));
        // certutil asks for a database's password, which a browser has already asked for.
        command.stdin(Stdio::null());
    }
    let output = command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    if step.sudo {
        // It asks for the password.
        output.stderr(Stdio::inherit());
    }
    let output = output.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().last().unwrap_or_default();
    Err(io::Error::other(format!("{}: {said}", output.status)))
}
