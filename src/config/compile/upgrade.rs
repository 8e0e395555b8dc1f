//! Where the next process finds this one.

use std::path::PathBuf;

use crate::config::parse;
use crate::config::schema::upgrade::Upgrade;
use crate::config::scope::Scope;

/// `sun_path` holds 108 bytes with its final NUL (unix(7)).
const EXPECTED: &str = "the path of a Unix socket, at most 107 bytes";

pub(super) fn socket(upgrade: Option<&Upgrade>, scope: &Scope<'_>) -> Option<PathBuf> {
    let text = upgrade?.socket.as_ref()?;
    let scope = scope.key("socket");
    let path = scope.resolve(text);
    let fits = parse::listen(&format!("unix:{}", path.display())).is_some();
    scope.parsed(text, fits.then_some(path), EXPECTED)
}
