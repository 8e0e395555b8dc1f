//! A name server that says what it is told, by UDP.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

/// What it knows: by name and type, the data of each record.
type Zone = HashMap<(String, u16), Vec<Vec<u8>>>;

pub struct NameServer {
    address: SocketAddr,
    /// `None`: SERVFAIL to everything.
    zone: Arc<Mutex<Option<Zone>>>,
    asked: Arc<Mutex<usize>>,
}

const A: u16 = 1;
const SRV: u16 = 33;

impl NameServer {
    pub fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Some(Zone::new())));
        let asked = Arc::new(Mutex::new(0));
        let (known, count) = (Arc::clone(&zone), Arc::clone(&asked));
        // Ends with the test's process.
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((n, peer)) = socket.recv_from(&mut buffer) {
                *count.lock().unwrap() += 1;
                let answer = answer(&buffer[..n], known.lock().unwrap().as_ref());
                let _ = socket.send_to(&answer, peer);
            }
        });
        Self { address, zone, asked }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }

    /// From now on these are the addresses of a name.
    pub fn addresses(&self, name: &str, addresses: &[Ipv4Addr]) {
        let data = addresses.iter().map(|address| address.octets().to_vec()).collect();
        self.zone.lock().unwrap().get_or_insert_default().insert((name.into(), A), data);
    }

    /// From now on these are the targets of a service: priority, weight, port, name.
    pub fn targets(&self, name: &str, targets: &[(u16, u16, u16, &str)]) {
        let one = |(priority, weight, port, target): &(u16, u16, u16, &str)| {
            let mut data = Vec::new();
            for number in [priority, weight, port] {
                data.extend(number.to_be_bytes());
            }
            for label in target.split('.') {
                data.push(label.len() as u8);
                data.extend(label.as_bytes());
            }
            data.push(0);
            data
        };
        let data = targets.iter().map(one).collect();
        self.zone.lock().unwrap().get_or_insert_default().insert((name.into(), SRV), data);
    }

    /// From now on it fails.
    pub fn fail(&self) {
        *self.zone.lock().unwrap() = None;
    }
}

/// The answer to a query of one question (RFC 1035 §4.1); records hold for no time at all.
fn answer(query: &[u8], zone: Option<&Zone>) -> Vec<u8> {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let length = query[at] as usize;
        labels.push(String::from_utf8_lossy(&query[at + 1..at + 1 + length]).to_lowercase());
        at += 1 + length;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let question = &query[12..at + 5];
    let none = Vec::new();
    let records = zone.map_or(&none, |zone| zone.get(&(labels.join("."), kind)).unwrap_or(&none));
    let mut out = query[..2].to_vec();
    out.extend([0x81, if zone.is_some() { 0x80 } else { 0x82 }, 0, 1]);
    out.extend((records.len() as u16).to_be_bytes());
    out.extend([0; 4]);
    out.extend(question);
    for data in records {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 0]);
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
    }
    out
}
