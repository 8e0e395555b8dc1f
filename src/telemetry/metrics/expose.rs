//! Which text a scraper gets: OpenMetrics 1.0 where it asks for it, else Prometheus 0.0.4.
//!
//! `prometheus-client` writes OpenMetrics only; the older format is derived from it. There a
//! counter's family carries its samples' `_total`, an info is a gauge named `…_info`, and `# UNIT`
//! and `# EOF` do not exist.

use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::Metrics;

/// A format of the exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// `text/plain; version=0.0.4`.
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}

impl TextFormat {
    /// What an `Accept` header asks for; without a preference for OpenMetrics, Prometheus.
    pub fn of_accept(accept: &str) -> Self {
        let (mut open, mut plain) = (0.0_f32, 0.0_f32);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let quality = parts
                .filter_map(|part| part.strip_prefix("q="))
                .find_map(|quality| quality.parse::<f32>().ok())
                .unwrap_or(1.0);
            match media {
                "application/openmetrics-text" => open = open.max(quality),
                "text/plain" => plain = plain.max(quality),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The `Content-Type` of the answer.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Metrics {
    /// All that was counted, as text.
    pub fn expose(self: &Arc<Self>, format: TextFormat) -> String {
        let mut registry = Registry::with_prefix("ravelin");
        registry.register_collector(Box::new(Arc::clone(self)));
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = encode(&mut text, &registry);
        match format {
            TextFormat::OpenMetrics => text,
            TextFormat::Prometheus => prometheus(&text),
        }
    }
}

/// OpenMetrics as Prometheus 0.0.4.
fn prometheus(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut help = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // The name that HELP must carry depends on the TYPE, which comes after it.
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            out.push_str(&format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with("# ") {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}
