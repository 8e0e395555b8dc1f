//! The thread that writes access records to their output.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use crate::telemetry::plan::Output;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Message {
    /// Whole lines, and how many.
    Batch {
        /// The lines.
        bytes: Vec<u8>,
        /// Their number.
        records: u64,
    },
    /// Open the file anew.
    Reopen,
    /// Write what is there and end.
    Close,
}

/// The output.
pub(super) struct Sink {
    output: Output,
    to: Box<dyn Write + Send>,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
    failing: bool,
    /// The output ends in the midst of a line.
    midst: bool,
}

impl Sink {
    pub(super) fn open(
        output: Output,
        waiting: Arc<AtomicUsize>,
        dropped: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let to = open(&output)?;
        Ok(Self { output, to, waiting, dropped, failing: false, midst: false })
    }

    /// Until it is closed, or until nobody is left who could send.
    pub(super) fn run(&mut self, receiver: &Receiver<Message>) {
        while let Ok(message) = receiver.recv() {
            match message {
                Message::Batch { bytes, records } => self.write(&bytes, records),
                Message::Reopen => self.reopen(),
                Message::Close => break,
            }
        }
        // Batches that overtook the order to close still count.
        for message in receiver.try_iter() {
            if let Message::Batch { bytes, records } = message {
                self.write(&bytes, records);
            }
        }
    }

    fn write(&mut self, bytes: &[u8], records: u64) {
        self.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
        // A full disk may have taken half of a line: the next begins on one of its own.
        let begun = if self.midst { self.put(b"\n") } else { Ok(()) };
        match begun.and_then(|()| self.put(bytes)).and_then(|()| self.to.flush()) {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.dropped.fetch_add(records, Ordering::Relaxed);
                // Said once: a full disk must not fill the diagnostics too.
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "access records cannot be written");
                }
            }
        }
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.to.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => {
                    let (taken, rest) = bytes.split_at(taken.min(bytes.len()));
                    self.midst = !taken.ends_with(b"\n");
                    bytes = rest;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn reopen(&mut self) {
        match open(&self.output) {
            Ok(to) => {
                self.to = to;
                self.midst = false;
            }
            Err(error) => tracing::warn!(%error, "the access log cannot be opened anew"),
        }
    }
}

fn open(output: &Output) -> io::Result<Box<dyn Write + Send>> {
    Ok(match output {
        Output::Stdout => Box::new(io::stdout()),
        Output::File(path) => {
            let file: File = OpenOptions::new().create(true).append(true).open(path)?;
            Box::new(file)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Takes half of the second write, and then nothing until there is room again.
    struct Full(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            let taken = bytes.len().min(disk.1);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.1 -= taken;
            disk.0.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_took_half_of_spoils_no_line_after_it() {
        let disk = Arc::new(Mutex::new((Vec::new(), 6)));
        let mut sink = Sink {
            output: Output::Stdout,
            to: Box::new(Full(Arc::clone(&disk))),
            waiting: Arc::new(AtomicUsize::new(20)),
            dropped: Arc::default(),
            failing: false,
            midst: false,
        };
        sink.write(b"one\n", 1);
        sink.write(b"two\n", 1);
        sink.write(b"three\n", 1);
        disk.lock().unwrap().1 = 100;
        sink.write(b"four\n", 1);
        assert_eq!(disk.lock().unwrap().0, b"one\ntw\nfour\n");
        assert_eq!(sink.dropped.load(Ordering::Relaxed), 2);
    }
}
