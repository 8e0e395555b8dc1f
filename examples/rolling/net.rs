//! A network of a replica's own, made with `ip` and root's rights, so that its packets can be dropped.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;

use crate::Failure;

/// Of the block for tests of network devices (RFC 2544): Ravelin's end, and the replica's.
const NEAR: &str = "198.18.77.1";
const FAR: Ipv4Addr = Ipv4Addr::new(198, 18, 77, 2);

/// A network namespace, and the pair of devices that leads there. Removed when dropped.
pub struct Net {
    name: String,
    near: String,
}

impl Net {
    /// Makes it.
    pub fn open() -> Result<Self, Failure> {
        let id = std::process::id();
        let net = Self { name: format!("rolling-{id}"), near: format!("roll{id}") };
        let Self { name, near } = &net;
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add {near} type veth peer name far netns {name}"))?;
        ip(&format!("addr add {NEAR}/30 dev {near}"))?;
        ip(&format!("link set {near} up"))?;
        ip(&format!("-n {name} addr add {FAR}/30 dev far"))?;
        ip(&format!("-n {name} link set far up"))?;
        Ok(net)
    }

    /// Where a server in it is found.
    pub const fn address(&self) -> IpAddr {
        IpAddr::V4(FAR)
    }

    /// A program in it.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Nothing comes out of it any more, and nobody is told.
    pub fn drop_all(&self) -> Result<(), Failure> {
        ip(&format!("-n {} route add blackhole {NEAR}/32", self.name))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // Sockets with something left to send keep the namespace for minutes; another run would find
        // its addresses taken.
        let _ = ip(&format!("link del {}", self.near));
        let _ = ip(&format!("netns del {}", self.name));
    }
}

fn ip(words: &str) -> Result<(), Failure> {
    let done = Command::new("ip").args(words.split(' ')).output()?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("ip {words}: {}", String::from_utf8_lossy(&done.stderr).trim()).into())
}
