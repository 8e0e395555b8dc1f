//! The real binary in a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::certs;
use super::faults::eventually;

/// A running binary, and what it has said.
pub struct Process {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    pub folder: Arc<tempfile::TempDir>,
}

impl Process {
    /// Starts it; `{folder}` stands for a folder of its own.
    pub async fn start(yaml: &str) -> Self {
        Self::start_with(yaml, |_| {}).await
    }

    /// Starts it as `change` says.
    pub async fn start_with(yaml: &str, change: impl FnOnce(&mut Command)) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("ravelin.yaml"), fill(yaml, &folder)).unwrap();
        let process = Self::spawn(folder, change);
        eventually("it listens", || process.heard("name=\"admin\"") > 0).await;
        process
    }

    /// Starts another one from the same file, and does not wait for it.
    pub fn again(&self) -> Self {
        Self::spawn(Arc::clone(&self.folder), |_| {})
    }

    fn spawn(folder: Arc<tempfile::TempDir>, change: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ravelin"));
        command.arg("--config").arg(folder.path().join("ravelin.yaml"));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (stderr, lines) = (child.stderr.take().unwrap(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Self { child, said, folder }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes another configuration; `{folder}` and certificates are filled in as at the start.
    pub fn configure(&self, yaml: &str) {
        std::fs::write(self.file(), fill(yaml, &self.folder)).unwrap();
    }

    pub fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("ravelin.yaml")
    }

    /// The last line that holds this.
    pub fn line(&self, words: &str) -> Option<String> {
        self.said.lock().unwrap().iter().rev().find(|line| line.contains(words)).cloned()
    }

    /// How many lines hold this.
    pub fn heard(&self, words: &str) -> usize {
        self.said.lock().unwrap().iter().filter(|line| line.contains(words)).count()
    }

    pub fn address(&self, name: &str) -> SocketAddr {
        let said = self.said.lock().unwrap();
        let line = said.iter().find(|line| line.contains(&format!("name={name} "))).unwrap();
        line.split("address=").nth(1).unwrap().trim().parse().unwrap()
    }

    pub fn signal(&self, name: &str) {
        // The shell's own kill is there on every machine.
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// SIGTERM, and once more when the first has been taken.
    pub fn signal_twice(&self) {
        let id = self.child.id();
        let kill = format!("kill -TERM {id}; sleep 0.03; kill -TERM {id}");
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// The exit code, once there is one.
    pub async fn exit(&mut self) -> Option<i32> {
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fill(yaml: &str, folder: &tempfile::TempDir) -> String {
    certs::fill(yaml).replace("{folder}", folder.path().to_str().unwrap())
}
