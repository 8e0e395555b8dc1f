//! An HTTP/2 client, on `h2` itself, that shows everything: interim answers, trailers, resets.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::certs;

/// One connection.
#[derive(Clone)]
pub struct Client {
    send: SendRequest<Bytes>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub head: Response<()>,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    pub fn header(&self, name: &str) -> &str {
        self.head.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A trailer, or, of a Trailers-Only answer, a header.
    pub fn trailer(&self, name: &str) -> &str {
        let found = self.trailers.as_ref().and_then(|trailers| trailers.get(name));
        found.map_or_else(|| self.header(name), |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    /// Over TLS, as localhost.
    pub async fn tls(address: SocketAddr) -> Self {
        let stream = certs::connect(address, "localhost", certs::client(&["h2"])).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Self::over(stream).await
    }

    /// By prior knowledge, without TLS.
    pub async fn plain(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        // Head and body are two writes: without this the second waits for a delayed ACK.
        stream.set_nodelay(true).unwrap();
        Self::over(stream).await
    }

    pub async fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let mut builder = h2::client::Builder::new();
        // Tests leave small DATA frames unread; the default ends the connection for it.
        builder.data_frame_budget(1 << 30);
        builder.max_header_list_size(256 * 1024).initial_window_size(1 << 20);
        let (send, connection) = builder.handshake(io).await.unwrap();
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Self { send }
    }

    /// Whether it takes another exchange.
    pub async fn is_open(&self) -> bool {
        self.send.clone().ready().await.is_ok()
    }

    /// Begins an exchange; the caller has both halves.
    pub async fn open(
        &self,
        request: Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, h2::SendStream<Bytes>), h2::Error> {
        let mut send = self.send.clone().ready().await?;
        send.send_request(request, end)
    }

    /// One exchange with a whole body.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Answer, h2::Error> {
        let (head, body) = request.into_parts();
        let (answer, mut stream) =
            self.open(Request::from_parts(head, ()), body.is_empty()).await?;
        if !body.is_empty() {
            tokio::spawn(async move { send_all(&mut stream, body).await });
        }
        read(answer.await?).await
    }

    /// GET https://localhost/…
    pub async fn get(&self, path: &str) -> Result<Answer, h2::Error> {
        self.send(Request::get(format!("https://localhost{path}")).body(Bytes::new()).unwrap())
            .await
    }

    /// A unary gRPC call with one message.
    pub async fn grpc(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        message: &[u8],
    ) -> Result<Answer, h2::Error> {
        let mut request = Request::post(format!("https://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(frame(message)).unwrap()).await
    }
}

/// A gRPC frame around a message.
pub fn frame(message: &[u8]) -> Bytes {
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(message);
    frame.into()
}

/// Sends a body as the windows allow, and ends the stream.
pub async fn send_all(
    stream: &mut h2::SendStream<Bytes>,
    mut body: Bytes,
) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(granted) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Ok(());
        };
        let chunk = body.split_to(granted?.min(body.len()));
        stream.send_data(chunk, body.is_empty())?;
    }
    Ok(())
}

/// Reads an answer to its end.
pub async fn read(answer: Response<h2::RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut stream) = answer.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        let _ = stream.flow_control().release_capacity(data.len());
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?;
    Ok(Answer { head: Response::from_parts(head, ()), body: body.into(), trailers })
}
