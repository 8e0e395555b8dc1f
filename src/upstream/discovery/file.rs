//! Endpoints from a file: a YAML (or JSON) list of `host:port`.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::Found;

/// A file larger than this is a mistake.
const SIZE_MAX: u64 = 1 << 20;

/// Reads a file again and again; what has not changed is not parsed.
#[derive(Default)]
pub struct Reader {
    text: String,
    found: BTreeSet<Found>,
}

impl Reader {
    /// What the file says now.
    ///
    /// # Errors
    /// Why it cannot be read, or what in it is no endpoint.
    pub async fn read(&mut self, path: PathBuf) -> Result<BTreeSet<Found>, String> {
        let read = tokio::task::spawn_blocking(move || load(&path));
        let text = read.await.map_err(|error| error.to_string())??;
        if text != self.text || self.found.is_empty() {
            self.found = parse(&text)?;
            self.text = text;
        }
        Ok(self.found.clone())
    }
}

fn load(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(SIZE_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > SIZE_MAX {
        return Err(format!("it is larger than {SIZE_MAX} bytes"));
    }
    Ok(text)
}

/// The endpoints of a list.
///
/// # Errors
/// What is no list, no endpoint, or an empty list, which nobody can want.
pub fn parse(text: &str) -> Result<BTreeSet<Found>, String> {
    let list: Vec<String> = serde_saphyr::from_str(text)
        .map_err(|_| "it is no list of host:port, one a line behind a dash".to_owned())?;
    if list.is_empty() {
        return Err("the list is empty".into());
    }
    list.iter()
        .map(|entry| endpoint(entry).ok_or_else(|| format!("{entry:?} is no host:port")))
        .collect()
}

fn endpoint(entry: &str) -> Option<Found> {
    let (host, port) = entry.trim().rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    let bare = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => {
            address.parse::<std::net::Ipv6Addr>().ok()?;
            address
        }
        None => host,
    };
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let sound = bare.len() < host.len() || (!host.is_empty() && host.bytes().all(letters));
    sound.then(|| Found { host: bare.into(), port, weight: 1, server_name: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_whole_or_not_at_all() {
        let found = parse("- 10.0.0.1:8080\n- zitadel-2.internal:80\n- \"[::1]:1\"\n").unwrap();
        let found: Vec<_> = found.iter().map(|one| format!("{} {}", one.host, one.port)).collect();
        assert_eq!(found, ["10.0.0.1 8080", "::1 1", "zitadel-2.internal 80"]);
        assert_eq!(parse("[\"a:1\", \"a:1\"]").unwrap().len(), 1, "JSON, each once");
        for bad in [
            "",
            "[]",
            "a: 1",
            "- a",
            "- a:0",
            "- a:70000",
            "- :80",
            "- h2c://a:80",
            "- \"[a]:80\"",
            "- a b:80",
            "- a:80\n- ",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
