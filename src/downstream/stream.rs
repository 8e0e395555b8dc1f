//! What the bytes of a client come from: a TCP or Unix socket, and a look at the first bytes that
//! does not take them away from whoever reads next.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// The socket of one client.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => Pin::new(stream).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}

/// A stream whose first bytes may be looked at before they are read.
///
/// Reading returns what was looked at and not consumed, then what comes from the stream. Writing
/// goes straight through.
#[derive(Debug)]
pub struct Replay<S> {
    seen: Bytes,
    inner: S,
}

impl<S> Replay<S> {
    /// Nothing has been looked at yet.
    pub const fn new(inner: S) -> Self {
        Self { seen: Bytes::new(), inner }
    }

    /// The bytes that were looked at and will be read next.
    pub fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Takes the first `count` of the seen bytes away; all of them where there are fewer.
    pub fn consume(&mut self, count: usize) {
        self.seen.advance(count.min(self.seen.len()));
    }

    /// The stream below.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: AsyncRead + Unpin> Replay<S> {
    /// Looks further: reads once, at most `limit` bytes in one go, and adds them to the seen ones.
    /// Returns how many came; 0 is the end of the stream. Safe to drop half-way: nothing is lost.
    pub async fn look(&mut self, limit: usize) -> io::Result<usize> {
        let mut fresh = BytesMut::with_capacity(limit);
        let count = self.inner.read_buf(&mut bytes::BufMut::limit(&mut fresh, limit)).await?;
        if self.seen.is_empty() {
            self.seen = fresh.freeze();
        } else {
            let mut all = BytesMut::with_capacity(self.seen.len() + count);
            all.extend_from_slice(&self.seen);
            all.extend_from_slice(&fresh);
            self.seen = all.freeze();
        }
        Ok(count)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replay<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.seen.is_empty() {
            return Pin::new(&mut this.inner).poll_read(context, buffer);
        }
        let part = this.seen.split_to(this.seen.len().min(buffer.remaining()));
        buffer.put_slice(&part);
        if this.seen.is_empty() {
            // An empty view would keep the whole buffer alive as long as the connection lives.
            this.seen = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replay<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::Replay;

    #[tokio::test]
    async fn what_was_looked_at_is_read_again_in_order() {
        let (mut peer, stream) = tokio::io::duplex(64);
        let mut stream = Replay::new(stream);
        peer.write_all(b"abcdef").await.unwrap();
        assert_eq!(stream.look(2).await.unwrap(), 2);
        assert_eq!(stream.look(2).await.unwrap(), 2);
        assert_eq!(stream.seen(), b"abcd");
        stream.consume(1);
        drop(peer.write_all(b"gh").await);
        drop(peer);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"bcdefgh");
        assert_eq!(stream.look(1).await.unwrap(), 0);
        stream.consume(5);
    }
}
