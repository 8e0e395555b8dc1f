use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::error::Kind;
use crate::exchange::{Class, Protocol};

fn busy() -> Arc<Metrics> {
    let metrics = Metrics::new();
    let route = metrics.route(&"api \"v1\"".into());
    let listener = metrics.listener(&"public".into());
    let endpoint = metrics.endpoint(&"zitadel".into(), &"h2c://[::1]:8080".into());
    metrics.set_certificates(|| {
        let left = |name: &str, days| CertificateLeft {
            listener: "public".into(),
            name: name.into(),
            days,
        };
        vec![left("a.example", 12.5), left("a.example", 3.0), left("b.example", -1.0)]
    });
    for status in [200, 200, 404, 0, 999] {
        let shard = metrics.shard();
        let key = ExchangeKey {
            route: (status != 404).then_some(route),
            class: Class::Grpc,
            protocol: Protocol::H2,
            status,
            grpc_status: Some(if status == 999 { 200 } else { 0 }),
            cause: (status == 404).then_some(Kind::NoRoute),
        };
        shard.exchange(&key, Duration::from_millis(3), 10, 20);
        shard.handshake(listener, TlsVersion::Tls13, true);
        shard.handshake_failed(listener, "client_alert");
        shard.refused(listener, Refusal::Client);
        shard.connect(endpoint, Ok(()));
        shard.connect(endpoint, Err(Kind::ConnectTimeout));
        shard.retry(endpoint, Kind::Refused);
        drop((shard.in_flight(), shard.connection(listener), shard.upstream_request(endpoint)));
    }
    metrics
}

/// What both formats ask for; returns the samples by series.
fn checked(text: &str, format: TextFormat) -> BTreeMap<String, f64> {
    let (mut helps, mut types) = (BTreeSet::new(), BTreeMap::new());
    let mut samples = BTreeMap::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().unwrap();
            assert!(helps.insert(name.to_owned()), "HELP twice: {name}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(helps.contains(name), "TYPE before HELP: {name}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "TYPE twice: {name}");
            family = name.to_owned();
            assert!(name.starts_with("ravelin_"), "{name}");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            assert!(belongs(name, &family, &types[&family], format), "{name} in {family}");
            assert!(
                samples.insert(series.to_owned(), value.parse().unwrap()).is_none(),
                "twice: {series}"
            );
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').unwrap();
            assert!(name.ends_with(&format!("_{unit}")) && format == TextFormat::OpenMetrics);
        } else {
            assert_eq!((line, format), ("# EOF", TextFormat::OpenMetrics));
        }
    }
    samples
}

fn belongs(name: &str, family: &str, kind: &str, format: TextFormat) -> bool {
    let suffix = name.strip_prefix(family).unwrap();
    match (kind, format) {
        ("histogram", _) => ["_bucket", "_sum", "_count"].contains(&suffix),
        ("counter", TextFormat::OpenMetrics) => suffix == "_total",
        ("info", TextFormat::OpenMetrics) => suffix == "_info",
        ("counter", TextFormat::Prometheus) => suffix.is_empty() && name.ends_with("_total"),
        ("gauge", _) => suffix.is_empty(),
        _ => false,
    }
}

#[test]
fn both_formats_follow_their_rules_and_say_the_same() {
    let metrics = busy();
    let open = metrics.expose(TextFormat::OpenMetrics);
    assert!(open.ends_with("# EOF\n"));
    let plain = metrics.expose(TextFormat::Prometheus);
    assert_eq!(checked(&open, TextFormat::OpenMetrics), checked(&plain, TextFormat::Prometheus));
}

#[test]
fn shards_are_summed_under_the_names_of_the_configuration() {
    let samples = checked(&busy().expose(TextFormat::Prometheus), TextFormat::Prometheus);
    let api = r#"route="api \"v1\"",class="grpc",protocol="h2""#;
    let upstream = r#"cluster="zitadel",endpoint="h2c://[::1]:8080""#;
    for (series, value) in [
        (format!("ravelin_requests_total{{{api},code=\"200\"}}"), 2.0),
        (format!("ravelin_requests_total{{{api},code=\"100\"}}"), 1.0),
        (format!("ravelin_requests_total{{{api},code=\"599\"}}"), 1.0),
        (
            r#"ravelin_requests_total{route="none",class="grpc",protocol="h2",code="404"}"#.into(),
            1.0,
        ),
        (format!("ravelin_grpc_responses_total{{{api},grpc_status=\"other\"}}"), 1.0),
        (format!("ravelin_request_body_bytes_total{{{api}}}"), 40.0),
        (format!("ravelin_request_duration_seconds_count{{{api}}}"), 4.0),
        (format!("ravelin_request_duration_seconds_sum{{{api}}}"), 0.012),
        (format!("ravelin_request_duration_seconds_bucket{{le=\"0.0025\",{api}}}"), 0.0),
        (format!("ravelin_request_duration_seconds_bucket{{le=\"0.005\",{api}}}"), 4.0),
        (r#"ravelin_errors_total{cause="no_route"}"#.into(), 1.0),
        ("ravelin_requests_in_flight".into(), 0.0),
        (r#"ravelin_connections_total{listener="public"}"#.into(), 5.0),
        (r#"ravelin_connections_open{listener="public"}"#.into(), 0.0),
        (r#"ravelin_connections_refused_total{listener="public",cap="client"}"#.into(), 5.0),
        (r#"ravelin_tls_handshakes_total{listener="public",result="ok"}"#.into(), 5.0),
        (r#"ravelin_tls_handshakes_total{listener="public",result="client_alert"}"#.into(), 5.0),
        (
            r#"ravelin_tls_sessions_total{listener="public",version="TLSv1.3",resumed="true"}"#
                .into(),
            5.0,
        ),
        (format!("ravelin_upstream_requests_total{{{upstream}}}"), 5.0),
        (
            format!(
                "ravelin_upstream_connects_total{{{upstream},result=\"upstream_connect_timeout\"}}"
            ),
            5.0,
        ),
        (format!("ravelin_upstream_retries_total{{{upstream},reason=\"upstream_refused\"}}"), 5.0),
        (
            r#"ravelin_certificate_left_days{listener="public",certificate="a.example"}"#.into(),
            12.5,
        ),
        (format!("ravelin_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1.0),
    ] {
        assert_eq!(samples.get(&series), Some(&value), "{series}");
    }
}

#[test]
fn gauges_fall_when_their_guards_are_dropped() {
    let metrics = Metrics::new();
    let listener = metrics.listener(&"l".into());
    let shard = metrics.shard();
    let (one, two) = (shard.in_flight(), shard.in_flight());
    let open = shard.connection(listener);
    assert_eq!((metrics.in_flight(), metrics.open_connections(listener)), (2, 1));
    drop((one, open));
    assert_eq!((metrics.in_flight(), metrics.open_connections(listener)), (1, 0));
    drop(two);
    assert_eq!(metrics.in_flight(), 0);
}

#[test]
fn a_name_keeps_its_id_and_names_beyond_the_bound_share_one() {
    let metrics = Metrics::new();
    let first = metrics.route(&"first".into());
    for index in 0..cells::TABLE_MAX + 10 {
        metrics.route(&index.to_string().into());
    }
    assert_eq!(metrics.route(&"first".into()), first);
    assert_eq!(metrics.route(&"one more".into()), RouteId(0));
}

#[test]
fn the_accept_header_decides_the_format() {
    for (accept, format) in [
        ("", TextFormat::Prometheus),
        ("*/*", TextFormat::Prometheus),
        ("application/openmetrics-text", TextFormat::OpenMetrics),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            TextFormat::OpenMetrics,
        ),
        ("text/plain;q=0.9, application/openmetrics-text;q=0.1", TextFormat::Prometheus),
        ("application/openmetrics-text;q=0", TextFormat::Prometheus),
    ] {
        assert_eq!(TextFormat::of_accept(accept), format, "{accept}");
    }
}

#[test]
fn the_bounds_in_seconds_and_the_duration_s_bucket_agree() {
    let cells = cells::ExchangeCells::default();
    for (index, bound) in BUCKETS.iter().enumerate() {
        cells.duration(Duration::from_secs_f64(*bound));
        assert_eq!(cells.durations.read(index), 1, "{bound}");
    }
    cells.duration(Duration::from_secs(61));
    assert_eq!(cells.durations.read(BUCKETS.len()), 1);
}

#[test]
fn a_shard_s_tables_are_indexed_by_kind_class_and_protocol_in_their_order() {
    assert!(Kind::ALL.iter().enumerate().all(|(index, kind)| *kind as usize == index));
    assert!(Class::ALL.iter().enumerate().all(|(index, class)| *class as usize == index));
    assert_eq!((Protocol::H1 as usize, Protocol::H2 as usize), (0, 1));
}
