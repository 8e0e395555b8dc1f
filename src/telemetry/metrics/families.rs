//! The families: names, help, units, and the sums over all shards behind them.

mod cache;

use std::collections::BTreeSet;
use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::cells::{
    BUCKETS, CAUSES, Cells, EndpointCells, ExchangeCells, FIRST_STATUS, GRPC_CODES,
    KINDS_OF_EXCHANGE, ListenerCells,
};
use super::{Metrics, Names, lock, reloads, upstreams};
use crate::error::Kind;
use crate::exchange::{Class, Protocol};

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let shards = self.cells();
        let names = lock(&self.names);
        let scrape = Scrape { shards: &shards, names: &names };
        self.process(&mut encoder)?;
        scrape.exchanges(&mut encoder)?;
        scrape.durations(&mut encoder)?;
        scrape.grpc(&mut encoder)?;
        scrape.causes(&mut encoder)?;
        scrape.listeners(&mut encoder)?;
        scrape.endpoints(&mut encoder)?;
        self.cache(&scrape, &mut encoder)?;
        if let Some(ask) = self.reloads.get() {
            reloads::encode(&ask(), &mut encoder)?;
        }
        let known = self.endpoints.get().map(|ask| ask()).unwrap_or_default();
        upstreams::encode(&known, &mut encoder)
    }
}

impl Metrics {
    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut build = encoder.encode_descriptor("build", "What runs", None, MetricType::Info)?;
        build.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        let mut start = encoder.encode_descriptor(
            "process_start_time",
            "When the process began, since 1970",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        let began = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        start.encode_gauge(&began.as_secs_f64())?;
        let dropped = self.dropped_records.load(Ordering::Relaxed);
        let help = "Access records lost because their output was behind or failed";
        let family =
            encoder.encode_descriptor("access_records_dropped", help, None, MetricType::Counter)?;
        ConstCounter::new(dropped).encode(family)?;
        self.certificate_days(encoder)
    }

    fn certificate_days(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let days = Unit::Other("days".into());
        let help = "Until a certificate expires; negative when it has";
        let mut family =
            encoder.encode_descriptor("certificate_left", help, Some(&days), MetricType::Gauge)?;
        let mut seen = BTreeSet::new();
        for left in self.certificates.get().map(|ask| ask()).unwrap_or_default() {
            // Two certificates of one name (RSA and ECDSA, say) are one series: the first.
            if seen.insert((Arc::clone(&left.listener), left.name.clone())) {
                let labels = [("listener", &*left.listener), ("certificate", &*left.name)];
                ConstGauge::new(left.days).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// One scrape's view.
struct Scrape<'a> {
    shards: &'a [Arc<Cells>],
    names: &'a Names,
}

impl Scrape<'_> {
    /// The sum over the shards.
    fn sum(&self, cell: impl Fn(&Cells) -> Option<u64>) -> u64 {
        self.shards.iter().filter_map(|cells| cell(cells)).fold(0, u64::wrapping_add)
    }

    /// Every route, class and protocol of which some shard knows something.
    fn each_exchange(
        &self,
        mut visit: impl FnMut(Labels<'_>, &[&ExchangeCells]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for (route, name) in self.names.routes.iter().enumerate() {
            for column in 0..KINDS_OF_EXCHANGE {
                let at = |cells: &'_ Arc<Cells>| {
                    cells.routes.at(route).is_some_and(|row| row.at(column).is_some())
                };
                if !self.shards.iter().any(at) {
                    continue;
                }
                let known: Vec<_> = self
                    .shards
                    .iter()
                    .filter_map(|cells| cells.routes.at(route)?.at(column))
                    .collect();
                let class = Class::ALL.get(column / 2).map_or("", |class| class.label());
                let protocol =
                    if column % 2 == Protocol::H1 as usize { Protocol::H1 } else { Protocol::H2 };
                let labels =
                    vec![("route", &**name), ("class", class), ("protocol", protocol.label())];
                visit(labels, &known)?;
            }
        }
        Ok(())
    }

    fn exchanges(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let in_flight = self.sum(|cells| read(&cells.in_flight));
        let help = "Exchanges in flight";
        let family =
            encoder.encode_descriptor("requests_in_flight", help, None, MetricType::Gauge)?;
        ConstGauge::new(signed(in_flight)).encode(family)?;
        let help = "Exchanges that ended, by the status of the answer";
        let mut family = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
        self.each_exchange(|labels, known| {
            for index in 0..500 {
                let count = total(known, |cells| cells.status_count(index));
                let code = (index + FIRST_STATUS).to_string();
                counter(&mut family, &labels, Some(("code", &code)), count)?;
            }
            Ok(())
        })?;
        let help = "Bytes of requests' bodies";
        let mut family = encoder.encode_descriptor(
            "request_body",
            help,
            Some(&Unit::Bytes),
            MetricType::Counter,
        )?;
        self.each_exchange(|labels, known| {
            let bytes = total(known, |cells| cells.bytes_in.load(Ordering::Relaxed));
            ConstCounter::new(bytes).encode(family.encode_family(&labels)?)
        })?;
        let help = "Bytes of answers' bodies";
        let mut family = encoder.encode_descriptor(
            "response_body",
            help,
            Some(&Unit::Bytes),
            MetricType::Counter,
        )?;
        self.each_exchange(|labels, known| {
            let bytes = total(known, |cells| cells.bytes_out.load(Ordering::Relaxed));
            ConstCounter::new(bytes).encode(family.encode_family(&labels)?)
        })
    }

    fn durations(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut family = encoder.encode_descriptor(
            "request_duration",
            "From a request's head until its answer's end",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        self.each_exchange(|labels, known| {
            let bounds = BUCKETS.iter().copied().chain([f64::INFINITY]).enumerate();
            let buckets: Vec<_> = bounds
                .map(|(index, bound)| (bound, total(known, |cells| cells.durations.read(index))))
                .collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let nanoseconds = total(known, |cells| cells.nanoseconds.load(Ordering::Relaxed));
            let mut series = family.encode_family(&labels)?;
            series.encode_histogram::<NoLabelSet>(nanoseconds as f64 / 1e9, count, &buckets, None)
        })
    }

    fn grpc(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "gRPC and gRPC-Web exchanges that ended, by their status";
        let mut family =
            encoder.encode_descriptor("grpc_responses", help, None, MetricType::Counter)?;
        self.each_exchange(|labels, known| {
            for index in 0..GRPC_CODES {
                let count = total(known, |cells| cells.grpc.read(index));
                let code = if index == GRPC_CODES - 1 { "other".into() } else { index.to_string() };
                counter(&mut family, &labels, Some(("grpc_status", &code)), count)?;
            }
            Ok(())
        })
    }

    fn causes(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Exchanges that failed, by what went wrong";
        let mut family = encoder.encode_descriptor("errors", help, None, MetricType::Counter)?;
        for (index, kind) in Kind::ALL.iter().enumerate() {
            let count = self.sum(|cells| Some(cells.causes.read(index)));
            counter(&mut family, &vec![], Some(("cause", kind.label())), count)?;
        }
        Ok(())
    }

    fn listeners(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let each = |family: Family<'_>, cell: &dyn Fn(&ListenerCells, usize) -> u64| {
            let rows = self.names.listeners.iter().enumerate().skip(1);
            let rows = rows.map(|(id, name)| (id, vec![("listener", &**name)]));
            family.write(encoder, rows, |id, value| {
                self.sum(|cells| Some(cell(cells.listeners.at(id)?, value)))
            })
        };
        let mut each = each;
        each(
            Family::gauge("connections_open", "Connections of clients that are open"),
            &|cells, _| cells.open.load(Ordering::Relaxed),
        )?;
        each(
            Family::counter("connections", "Connections of clients that were accepted", "", &[]),
            &|cells, _| cells.opened.load(Ordering::Relaxed),
        )?;
        let caps = ["listener", "client"].map(|cap| vec![cap]);
        each(
            Family::counter("connections_refused", "Connections that a cap refused", "cap", &caps),
            &|cells, value| cells.refused.read(value),
        )?;
        let results: Vec<_> = super::HANDSHAKE_FAILURES
            .iter()
            .chain(["ok"].iter())
            .map(|result| vec![*result])
            .collect();
        each(
            Family::counter(
                "tls_handshakes",
                "Handshakes (TLS, PROXY protocol), by how they ended",
                "result",
                &results,
            ),
            &|cells, value| cells.handshakes.read(value),
        )?;
        let versions = [
            vec!["TLSv1.2", "false"],
            vec!["TLSv1.2", "true"],
            vec!["TLSv1.3", "false"],
            vec!["TLSv1.3", "true"],
        ];
        each(
            Family::counter(
                "tls_sessions",
                "TLS sessions, by version",
                "version resumed",
                &versions,
            ),
            &|cells, value| cells.sessions.read(value),
        )
    }

    fn endpoints(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut each = |family: Family<'_>, cell: &dyn Fn(&EndpointCells, usize) -> u64| {
            let rows = self.names.endpoints.iter().enumerate().skip(1);
            let rows = rows.map(|(id, (cluster, endpoint))| {
                (id, vec![("cluster", &**cluster), ("endpoint", &**endpoint)])
            });
            family.write(encoder, rows, |id, value| {
                self.sum(|cells| Some(cell(cells.endpoints.at(id)?, value)))
            })
        };
        each(
            Family::gauge("upstream_connections_open", "Connections to upstream that are open"),
            &|cells, _| cells.open.load(Ordering::Relaxed),
        )?;
        each(
            Family::gauge("upstream_streams_open", "Requests in flight to upstream"),
            &|cells, _| cells.streams.load(Ordering::Relaxed),
        )?;
        each(
            Family::counter("upstream_requests", "Requests sent, attempts counted", "", &[]),
            &|cells, _| cells.requests.load(Ordering::Relaxed),
        )?;
        let results = results();
        each(
            Family::counter("upstream_connects", "Connects, by how they ended", "result", &results),
            &|cells, value| cells.connects.read(value),
        )?;
        each(
            Family::counter("upstream_retries", "Requests sent again", "reason", &results),
            &|cells, value| if value < CAUSES { cells.retries.read(value) } else { 0 },
        )?;
        let help = "Requests not sent again because the retry budget was spent";
        each(Family::counter("upstream_retry_budget_exhausted", help, "", &[]), &|cells, _| {
            cells.unafforded.load(Ordering::Relaxed)
        })?;
        let help = "Reads asked of a second endpoint because the first was slow";
        each(Family::counter("upstream_hedges", help, "", &[]), &|cells, _| {
            cells.hedges.load(Ordering::Relaxed)
        })
    }
}

/// The causes in their order, and behind them `ok`.
fn results() -> Vec<Vec<&'static str>> {
    Kind::ALL.iter().map(|kind| kind.label()).chain(["ok"]).map(|label| vec![label]).collect()
}

/// A family whose rows are listeners or endpoints.
struct Family<'a> {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    /// Names of the labels beyond the row's, apart by a space.
    labels: &'static str,
    /// Their values, one set per series; none: one series without more labels.
    values: &'a [Vec<&'static str>],
}

impl<'a> Family<'a> {
    const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricType::Gauge, labels: "", values: &[] }
    }

    const fn counter(
        name: &'static str,
        help: &'static str,
        labels: &'static str,
        values: &'a [Vec<&'static str>],
    ) -> Self {
        Self { name, help, kind: MetricType::Counter, labels, values }
    }

    /// Series without more labels are written also at 0; of the others those that count something.
    fn write<'n>(
        self,
        encoder: &mut DescriptorEncoder<'_>,
        rows: impl Iterator<Item = (usize, Labels<'n>)>,
        value: impl Fn(usize, usize) -> u64,
    ) -> Result<(), Error> {
        let gauge = matches!(self.kind, MetricType::Gauge);
        let mut family = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        for (id, mut labels) in rows {
            if self.values.is_empty() {
                let series = family.encode_family(&labels)?;
                match gauge {
                    true => ConstGauge::new(signed(value(id, 0))).encode(series)?,
                    false => ConstCounter::new(value(id, 0)).encode(series)?,
                }
            }
            let row = labels.len();
            for (index, values) in self.values.iter().enumerate() {
                labels.truncate(row);
                labels.extend(self.labels.split(' ').zip(values.iter().copied()));
                counter(&mut family, &labels, None, value(id, index))?;
            }
        }
        Ok(())
    }
}

/// Writes a counter that counts something.
fn counter(
    family: &mut MetricEncoder<'_>,
    labels: &Labels<'_>,
    more: Option<(&'static str, &str)>,
    count: u64,
) -> Result<(), Error> {
    if count == 0 {
        return Ok(());
    }
    let labels: Labels<'_> = labels.iter().copied().chain(more).collect();
    ConstCounter::new(count).encode(family.encode_family(&labels)?)
}

fn total(known: &[&ExchangeCells], cell: impl Fn(&ExchangeCells) -> u64) -> u64 {
    known.iter().map(|cells| cell(cells)).fold(0, u64::wrapping_add)
}

fn read(cell: &AtomicU64) -> Option<u64> {
    Some(cell.load(Ordering::Relaxed))
}

/// A gauge's sum is never negative for long: a scrape may read one shard before and one after.
const fn signed(value: u64) -> i64 {
    value as i64
}
