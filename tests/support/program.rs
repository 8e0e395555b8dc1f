//! The program as its user starts it: what it says, and how it ends.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses what it needs of it")]

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longer than anything takes that works.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program, without anything of the tester's own environment.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ravelin"));
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    command
}

/// A running Ravelin, and every line that it writes.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    /// What it has said so far.
    pub said: Vec<String>,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let mut readers = Vec::new();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let sender = sender.clone();
            readers.push(thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            }));
        }
        Self { child, lines, said: Vec::new(), readers }
    }

    /// Waits for a line that holds `part`.
    pub fn says(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("it never says {part:?}: {:#?}", self.said)
                }
            }
        }
    }

    /// The same, also where it has been said already: standard output and error race each other.
    pub fn has_said(&mut self, part: &str) -> String {
        let said = self.said.iter().find(|line| line.contains(part)).cloned();
        said.unwrap_or_else(|| self.says(part))
    }

    /// The address that a listener of this name announces.
    pub fn address(&mut self, name: &str) -> SocketAddr {
        let line = self.says(&format!("listening name={name}"));
        line.rsplit_once("address=").unwrap().1.trim().parse().unwrap()
    }

    /// Sends a signal, `-TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end: {:#?}", self.said);
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}
