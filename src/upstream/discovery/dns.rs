//! Endpoints from DNS: every A and AAAA record of a name, or the targets of a service (RFC 2782).

use std::collections::BTreeSet;
use std::net::SocketAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use tokio::time::Instant;

use super::{AGAIN, Found};

/// Asks the system's name servers, or one of its own.
pub struct Resolver(TokioResolver);

/// What was found, and until when it holds.
type Holding = (BTreeSet<Found>, Instant);

type Answer = Result<Holding, String>;

impl Resolver {
    /// `server`: in the place of those in `/etc/resolv.conf`.
    ///
    /// # Errors
    /// Where the system's configuration cannot be read.
    pub fn new(server: Option<SocketAddr>) -> Result<Self, String> {
        let builder = match server {
            None => TokioResolver::builder_tokio().map_err(|error| error.to_string())?,
            Some(server) => {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                let connections = connections.map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                let server = NameServerConfig::new(server.ip(), true, connections.into());
                let config = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let mut builder = builder;
        // What is asked again is asked because its time is over.
        builder.options_mut().cache_size = 0;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        builder.build().map(Self).map_err(|error| error.to_string())
    }

    /// Every address of a name, and until when that holds.
    ///
    /// # Errors
    /// Why there is no answer, or none with an address.
    pub async fn addresses(&self, host: &str, port: u16) -> Answer {
        self.lookup(host, port).await?.ok_or_else(|| "the name has no address".into())
    }

    /// The same; `None`: the name servers say that there is none.
    async fn lookup(&self, host: &str, port: u16) -> Result<Option<Holding>, String> {
        let answer = match self.0.lookup_ip(host).await {
            Ok(answer) => answer,
            Err(error) if error.is_no_records_found() => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let found: BTreeSet<Found> = answer
            .iter()
            .map(|address| Found {
                host: address.to_string().into(),
                port,
                weight: 1,
                server_name: Some(host.trim_end_matches('.').into()),
            })
            .collect();
        let until = Instant::from_std(answer.valid_until());
        Ok((!found.is_empty()).then_some((found, until)))
    }

    /// The targets of a service that have the best priority, with their addresses, ports and
    /// weights, and until when all that holds. One whose name has no address, as a pod's that has
    /// just gone, is left out, and soon looked for again.
    ///
    /// # Errors
    /// Why there is no answer, or none with a target.
    pub async fn service(&self, name: &str) -> Answer {
        let answer = self.0.srv_lookup(name).await.map_err(|error| error.to_string())?;
        let targets: Vec<_> = answer
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(srv),
                _ => None,
            })
            .collect();
        let best = targets.iter().map(|srv| srv.priority).min();
        let mut until = Instant::from_std(answer.valid_until());
        let mut found = BTreeSet::new();
        for srv in targets.iter().filter(|srv| Some(srv.priority) == best) {
            let host = srv.target.to_utf8();
            let Some((addresses, holds)) = self.lookup(&host, srv.port).await? else {
                until = until.min(Instant::now() + AGAIN);
                continue;
            };
            until = until.min(holds);
            // Weight 0 means hardly ever beside others (RFC 2782).
            let weight = srv.weight.max(1);
            found.extend(addresses.into_iter().map(|one| Found { weight, ..one }));
        }
        if found.is_empty() {
            return Err("the service has no target with an address".into());
        }
        Ok((found, until))
    }
}
