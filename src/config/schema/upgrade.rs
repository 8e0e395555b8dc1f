//! How a process hands over to the next one, as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::text::FileText;

/// Replacing the binary without closing a socket. A second process that is started with the same
/// `socket` takes the listening sockets over from the first, which then drains; SIGUSR2 makes the
/// first start it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Upgrade {
    /// Unix socket through which the processes meet; its owner alone may use it. Default: none,
    /// nothing is handed over. Flag `--upgrade-socket`, variable `RAVELIN_UPGRADE_SOCKET`.
    pub socket: Option<FileText>,
}
