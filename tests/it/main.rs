//! One binary: the real server on ports that the system chooses, before the stand-in and before
//! peers that misbehave on purpose. One module for each kind of behaviour.

#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "support is written for every module, whichever uses it, and fails by panicking"
)]

mod support;
mod access_record;
mod cache;
mod cache_directory;
mod caps;
mod certificates;
mod cloud_rate;
mod compress;
mod constant_memory;
mod console;
mod cors;
mod counts;
mod discovery;
mod drain;
mod drain_calls;
mod dying;
mod errors;
mod forwarded;
mod grpc_status;
mod grpc_web;
mod guards;
mod h2c_upgrade;
mod header_table;
mod hosts;
mod http1;
mod http2;
mod identity;
mod limits;
mod listeners;
mod live;
mod metrics;
mod process;
mod proxies;
mod quota;
mod reconnect;
mod reload;
mod replicas;
mod retries;
mod retry_policy;
mod routing;
mod smoke;
mod timeouts;
mod tonic_interop;
mod upgrade;
mod upstream_http1;
mod upstream_pool;
mod upstream_tls;
mod websocket;
mod zitadel_pieces;
mod zitadel_wiring;
