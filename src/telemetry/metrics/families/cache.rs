//! What the cache did, and what it holds. Nothing is written where no route has one.

use std::fmt::Error;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::{Scrape, counter, signed};
use crate::exchange::CacheUse;
use crate::telemetry::metrics::Metrics;

impl Metrics {
    /// The cache's families.
    pub(super) fn cache(
        &self,
        scrape: &Scrape<'_>,
        encoder: &mut DescriptorEncoder<'_>,
    ) -> Result<(), Error> {
        let Some(ask) = self.cache.get() else { return Ok(()) };
        let state = ask();
        let help = "Exchanges on routes with a cache, by what it did and why";
        let mut family =
            encoder.encode_descriptor("cache_requests", help, None, MetricType::Counter)?;
        for (index, verdict) in CacheUse::ALL.iter().enumerate() {
            let count = scrape.sum(|cells| Some(cells.cache.read(index)));
            let labels = vec![("result", verdict.label())];
            counter(&mut family, &labels, Some(("reason", verdict.reason())), count)?;
        }
        let saved = scrape.sum(|cells| Some(cells.cache_saved.load(Ordering::Relaxed)));
        let help = "Bytes that coded variants from the cache were shorter";
        let bytes = Some(&Unit::Bytes);
        let family =
            encoder.encode_descriptor("cache_coding_saved", help, bytes, MetricType::Counter)?;
        ConstCounter::new(saved).encode(family)?;
        let help = "Bytes that the cache holds";
        let family = encoder.encode_descriptor("cache_held", help, bytes, MetricType::Gauge)?;
        ConstGauge::new(signed(state.bytes)).encode(family)?;
        for (name, help, value) in [
            ("cache_items", "Paths and bodies that the cache holds", state.items),
            ("cache_variants_pending", "Bodies whose best variants are to be made", state.pending),
        ] {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(signed(value)).encode(family)?;
        }
        let help = "Best coded variants that came to be, made anew or read from the directory";
        let mut family =
            encoder.encode_descriptor("cache_variants", help, None, MetricType::Counter)?;
        for (source, count) in [("made", state.made), ("read", state.read)] {
            counter(&mut family, &vec![("source", source)], None, count)?;
        }
        let help = "Addresses and bodies that went to make room";
        let family =
            encoder.encode_descriptor("cache_evictions", help, None, MetricType::Counter)?;
        ConstCounter::new(state.evicted).encode(family)
    }
}
