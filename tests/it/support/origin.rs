//! An HTTP/1.1 server whose answers a test writes byte by byte, in pieces that it lets go one by one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// The server; it ends with the test's runtime.
pub struct Origin {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    gate: Arc<Semaphore>,
}

impl Origin {
    /// Answers each request's head with pieces: the first at once, each other when [`Origin::go`]
    /// lets it; no piece at all hangs up.
    pub async fn start(
        answer: impl Fn(&str, usize) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, gate) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(Semaphore::new(0)));
        let (answer, list, pass) = (Arc::new(answer), Arc::clone(&asked), Arc::clone(&gate));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, list, pass) =
                    (Arc::clone(&answer), Arc::clone(&list), Arc::clone(&pass));
                tokio::spawn(async move {
                    let _ = serve(stream, &*answer, &list, &pass).await;
                });
            }
        });
        Self { address, asked, gate }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of the requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Lets so many pieces go.
    pub fn go(&self, pieces: usize) {
        self.gate.add_permits(pieces);
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: &(impl Fn(&str, usize) -> Vec<Vec<u8>> + ?Sized),
    list: &Mutex<Vec<String>>,
    gate: &Semaphore,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let count = {
        let mut list = list.lock().unwrap();
        list.push(head.clone());
        list.len()
    };
    for (i, piece) in answer(&head, count).into_iter().enumerate() {
        if i > 0 {
            gate.acquire().await.map_err(std::io::Error::other)?.forget();
        }
        stream.write_all(&piece).await?;
    }
    stream.shutdown().await
}

/// A whole answer: status, fields as lines, body; its length is added.
pub fn answer(status: u16, fields: &str, body: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
    let body = body.as_ref();
    let head = format!(
        "HTTP/1.1 {status} X\r\n{fields}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    vec![[head.as_bytes(), body].concat()]
}
