//! What the status page shows, gathered by whoever knows it. Nothing in here may be a secret.

use std::time::Duration;

/// How things stand.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Ravelin's version.
    pub version: String,
    /// Since the process began.
    pub uptime: Duration,
    /// Exchanges in flight.
    pub in_flight: u64,
    /// What an operator should see at once, such as a cluster whose TLS is not verified.
    pub warnings: Vec<String>,
    /// Listeners, in the order of the configuration.
    pub listeners: Vec<ListenerStatus>,
    /// Routes, in the order in which they are asked.
    pub routes: Vec<RouteStatus>,
    /// Clusters.
    pub clusters: Vec<ClusterStatus>,
    /// Certificates.
    pub certificates: Vec<CertificateStatus>,
}

/// A listener.
#[derive(Clone, Debug, Default)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// What it speaks: `TLS`, `plaintext`.
    pub transport: String,
    /// Open connections.
    pub connections: u64,
}

/// A route.
#[derive(Clone, Debug, Default)]
pub struct RouteStatus {
    /// Its name.
    pub name: String,
    /// When it applies, in words.
    pub when: String,
    /// What it does, in words.
    pub action: String,
}

/// A cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterStatus {
    /// Its name.
    pub name: String,
    /// Its endpoints.
    pub endpoints: Vec<EndpointStatus>,
}

/// An endpoint.
#[derive(Clone, Debug, Default)]
pub struct EndpointStatus {
    /// Its address.
    pub address: String,
    /// Whether requests go there.
    pub usable: bool,
    /// In words: `connected`, `connection refused, next try in 2s`.
    pub state: String,
    /// Open connections.
    pub connections: u64,
}

/// A certificate.
#[derive(Clone, Debug, Default)]
pub struct CertificateStatus {
    /// The listener that serves it.
    pub listener: String,
    /// What it covers.
    pub names: Vec<String>,
    /// Days until it expires; negative when it has.
    pub days_left: f64,
}
