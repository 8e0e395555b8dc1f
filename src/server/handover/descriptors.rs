//! Descriptors through a Unix socket (`SCM_RIGHTS`, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Descriptors of one message; Linux takes 253.
const BATCH: usize = 64;
const SPACE: usize = rustix::cmsg_space!(ScmRights(BATCH));

/// Received descriptors are not for programs that we start.
#[cfg(any(target_os = "linux", target_os = "android"))]
const RECEIVE: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const RECEIVE: RecvFlags = RecvFlags::empty();

/// Sends them all, each batch with one byte.
///
/// # Errors
/// As the socket's.
pub(super) fn send(stream: &UnixStream, all: &[BorrowedFd<'_>]) -> io::Result<()> {
    for batch in all.chunks(BATCH) {
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(batch)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let byte = [IoSlice::new(b"+")];
        retry_on_intr(|| sendmsg(stream, &byte, &mut control, SendFlags::NOSIGNAL))?;
    }
    Ok(())
}

/// Receives so many.
///
/// # Errors
/// As the socket's; where there are fewer, or more.
pub(super) fn receive(stream: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::new();
    while all.len() < count {
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut bytes = [IoSliceMut::new(&mut byte)];
        let read = retry_on_intr(|| recvmsg(stream, &mut bytes, &mut control, RECEIVE))?;
        if read.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = all.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(batch) = message {
                all.extend(batch);
            }
        }
        if all.len() == before {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    if all.len() == count { Ok(all) } else { Err(io::ErrorKind::InvalidData.into()) }
}
