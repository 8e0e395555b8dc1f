//! The families of what is known of endpoints. It is not counted in shards: whoever knows it is
//! asked at every scrape.

use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// What is known of one endpoint.
#[derive(Clone, Debug)]
pub struct EndpointKnown {
    /// Its cluster.
    pub cluster: Arc<str>,
    /// Its name.
    pub endpoint: Arc<str>,
    /// Whether it is asked, by what is needed.
    pub healthy: Vec<(&'static str, bool)>,
    /// Exchanges in flight there.
    pub in_flight: u64,
    /// Exchanges that wait for a place there.
    pub waiting: u64,
    /// Exchanges that were refused because it carried as much as it may.
    pub shed: u64,
    /// How often it was ejected, by reason.
    pub ejections: Vec<(&'static str, u64)>,
    /// Checks, by result.
    pub checks: Vec<(&'static str, u64)>,
}

type Ask<'a> = &'a dyn Fn(&EndpointKnown) -> Vec<(&'static str, u64)>;

pub(super) fn encode(
    known: &[EndpointKnown],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), Error> {
    let mut family = |name: &str, help: &str, label: &'static str, kind, ask: Ask<'_>| {
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        known.iter().try_for_each(|one| series(&mut family, one, label, kind, ask))
    };
    family(
        "upstream_endpoint_healthy",
        "Whether an endpoint is asked: not down by its checks, not ejected, not draining",
        "need",
        MetricType::Gauge,
        &|one| one.healthy.iter().map(|(need, is)| (*need, u64::from(*is))).collect(),
    )?;
    family(
        "upstream_exchanges_in_flight",
        "Exchanges in flight at an endpoint, until the end of their answers",
        "",
        MetricType::Gauge,
        &|one| vec![("", one.in_flight)],
    )?;
    family(
        "upstream_queue_waiting",
        "Exchanges that wait for a place at an endpoint",
        "",
        MetricType::Gauge,
        &|one| vec![("", one.waiting)],
    )?;
    family(
        "upstream_queue_refused",
        "Exchanges that were refused because an endpoint carried as much as it may",
        "",
        MetricType::Counter,
        &|one| vec![("", one.shed)],
    )?;
    family(
        "upstream_ejections",
        "How often an endpoint was left alone for a while",
        "reason",
        MetricType::Counter,
        &|one| one.ejections.clone(),
    )?;
    family("upstream_checks", "Health checks, by result", "result", MetricType::Counter, &|one| {
        one.checks.clone()
    })
}

fn series(
    family: &mut MetricEncoder<'_>,
    one: &EndpointKnown,
    label: &'static str,
    kind: MetricType,
    ask: Ask<'_>,
) -> Result<(), Error> {
    for (value, count) in ask(one) {
        let mut labels = vec![("cluster", &*one.cluster), ("endpoint", &*one.endpoint)];
        if !label.is_empty() {
            labels.push((label, value));
        }
        let gauge = matches!(kind, MetricType::Gauge);
        if gauge {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        } else if count > 0 {
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}
