//! The families of reloads, named as Prometheus names its own
//! (`prometheus_config_last_reload_successful`). Whoever knows how they went is asked at every scrape.

use std::fmt::Error;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::telemetry::reloads::Last;

/// How the last reloads went.
#[derive(Clone, Debug)]
pub struct ReloadsKnown {
    /// Of the configuration.
    pub config: Last,
    /// Of each listener's certificates, and of the CA of its client certificates.
    pub certificates: Vec<(Arc<str>, Last)>,
}

pub(super) fn encode(
    known: &ReloadsKnown,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), Error> {
    let config = [(vec![], &known.config)];
    let certificates = known.certificates.iter();
    let certificates: Vec<Series<'_>> =
        certificates.map(|(listener, last)| (vec![("listener", &**listener)], last)).collect();
    pair("config", "the configuration", &config, encoder)?;
    pair("certificates", "a listener's certificates", &certificates, encoder)
}

type Labels<'a> = Vec<(&'static str, &'a str)>;
type Series<'a> = (Labels<'a>, &'a Last);

fn pair(
    what: &str,
    words: &str,
    series: &[Series<'_>],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), Error> {
    let name = format!("{what}_last_reload_successful");
    let help = format!("Whether the last reload of {words} was put in force");
    let mut family = encoder.encode_descriptor(&name, &help, None, MetricType::Gauge)?;
    for (labels, last) in series {
        sample(&mut family, labels, i64::from(last.fault.is_none()))?;
    }
    let name = format!("{what}_last_reload_success_timestamp");
    let help = format!("When {words} came in force, since 1970");
    let unit = Some(&Unit::Seconds);
    let mut family = encoder.encode_descriptor(&name, &help, unit, MetricType::Gauge)?;
    for (labels, last) in series {
        let at = last.good.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        sample(&mut family, labels, at)?;
    }
    Ok(())
}

fn sample(
    family: &mut MetricEncoder<'_>,
    labels: &Labels<'_>,
    value: impl EncodeGaugeValue,
) -> Result<(), Error> {
    // An empty set of labels would be written as `{}`.
    if labels.is_empty() {
        family.encode_gauge(&value)
    } else {
        family.encode_family(labels)?.encode_gauge(&value)
    }
}
