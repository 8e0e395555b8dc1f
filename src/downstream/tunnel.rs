//! An HTTP/1.1 connection that has become bytes both ways (WebSocket): the client's half.
//!
//! To the pipeline it looks as an extended CONNECT stream does: the request's body is what the
//! client sends, the answer's body is what it receives.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf, ReadHalf};
use tokio::sync::oneshot;

use super::exchange::Delivery;
use crate::body::Frames;
use crate::error::{Error, Kind};
use crate::io::Io;
use crate::message::name::{CONNECTION, UPGRADE};
use crate::message::{Fields, Frame};

/// Bytes taken from the client at once.
const CHUNK: usize = 16 * 1024;

/// Whether a request asks for a protocol other than h2c.
pub fn asked_for(headers: &Fields) -> bool {
    let asks = headers.get_all(CONNECTION).iter().any(|value| {
        value.to_str().is_ok_and(|value| {
            value.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
        })
    });
    asks && headers
        .get(UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// What the client sends once its connection has switched, as a request's body.
pub struct ClientBytes {
    given: Option<oneshot::Receiver<ReadHalf<Io>>>,
    half: Option<ReadHalf<Io>>,
    bytes: Rc<Cell<u64>>,
}

impl ClientBytes {
    /// Nothing comes before `given` does: until then the connection speaks HTTP.
    pub fn new(given: oneshot::Receiver<ReadHalf<Io>>, bytes: Rc<Cell<u64>>) -> Self {
        Self { given: Some(given), half: None, bytes }
    }
}

impl Frames for ClientBytes {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        if let Some(given) = &mut self.given {
            let half = ready!(Pin::new(given).poll(cx));
            self.given = None;
            self.half = half.ok();
        }
        let Some(half) = &mut self.half else { return Poll::Ready(None) };
        let mut chunk = [0; CHUNK];
        let mut buf = ReadBuf::new(&mut chunk);
        let read = ready!(Pin::new(half).poll_read(cx, &mut buf));
        if let Err(error) = read {
            return Poll::Ready(Some(Err(Error::with(Kind::ClientGone, error))));
        }
        let data = Bytes::copy_from_slice(buf.filled());
        if data.is_empty() {
            self.half = None;
            return Poll::Ready(None);
        }
        self.bytes.set(self.bytes.get() + data.len() as u64);
        Poll::Ready(Some(Ok(Frame::Data(data))))
    }
}

/// Carries the answer's bytes to the client until they end; the client's own go through `give`.
pub async fn serve(
    mut io: Io,
    mut delivery: Delivery,
    give: Option<oneshot::Sender<ReadHalf<Io>>>,
) {
    io.flush_at_once();
    let (read, mut write) = tokio::io::split(io);
    if let Some(give) = give {
        let _ = give.send(read);
    }
    while let Some(Ok(frame)) =
        std::future::poll_fn(|cx| Pin::new(&mut delivery).poll_frame(cx)).await
    {
        let Ok(data) = frame.into_data() else { continue };
        if let Err(error) = async {
            write.write_all(&data).await?;
            write.flush().await
        }
        .await
        {
            return delivery.abandoned(&Error::with(Kind::ClientGone, error));
        }
    }
    let _ = write.shutdown().await;
}
