//! How access records leave: every worker writes into a buffer of its own, batches go to one
//! writer thread.
//!
//! A worker never waits: when the writer is behind by `QUEUE_BYTES`, batches are dropped and
//! their records counted. [`AccessLog::flush`], called from time to time, sends what a quiet worker
//! still holds. How a record looks is decided in [`record`], what is hidden in
//! [`super::redact`].

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::telemetry::plan::{AccessPlan, Format};

mod text;
mod writer;

pub mod record;

pub use record::{Record, write_json, write_text};

use writer::{Message, Sink};

/// A worker's buffer is sent when it is larger than this. Each wakes the writer and is one write: at
/// 8 KiB these were half of what a record costs (`benches/README.md`).
const BATCH_BYTES: usize = 64 * 1024;
/// How much may wait for the writer, all workers together.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// How long the output may take for the last records: a pipe that nobody reads holds its writer for ever.
const LAST_RECORDS: Duration = Duration::from_secs(2);

/// The writer thread and the way to it. One for the process.
#[derive(Debug)]
pub struct AccessWriter {
    format: Format,
    queue: Queue,
    /// Hung up on when the thread has ended.
    ended: Option<Receiver<()>>,
}

#[derive(Clone, Debug)]
struct Queue {
    sender: Sender<Message>,
    /// Bytes on their way.
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

impl AccessWriter {
    /// Opens the output and starts the thread; `dropped` counts the records that were lost.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread cannot be started.
    pub fn spawn(plan: &AccessPlan, dropped: Arc<AtomicU64>) -> io::Result<Self> {
        let (sender, receiver) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let queue = Queue { sender, waiting: Arc::clone(&waiting), dropped: Arc::clone(&dropped) };
        let ended = if plan.format == Format::Off {
            None
        } else {
            let mut sink = Sink::open(plan.output.clone(), waiting, dropped)?;
            let (runs, ended) = channel();
            let run = move || {
                let _runs = runs;
                sink.run(&receiver);
            };
            std::thread::Builder::new().name("access".into()).spawn(run)?;
            Some(ended)
        };
        Ok(Self { format: plan.format, queue, ended })
    }

    /// A handle for one worker; made where the writer is, then moved to the worker's thread.
    pub fn log(&self) -> AccessLog {
        AccessLog {
            format: self.format,
            queue: self.queue.clone(),
            buffer: RefCell::new(Vec::new()),
            records: Cell::new(0),
        }
    }

    /// Opens the file anew (SIGHUP, after it was moved away). The old one stays where that fails.
    pub fn reopen(&self) {
        let _ = self.queue.sender.send(Message::Reopen);
    }

    /// Writes all that was handed over and ends the thread; blocks for that, two seconds at most. Workers
    /// must have dropped their handles, or called [`AccessLog::flush`], before.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.queue.sender.send(Message::Close);
        let ended = self.ended.take().map(|ended| ended.recv_timeout(LAST_RECORDS));
        if ended == Some(Err(RecvTimeoutError::Timeout)) {
            tracing::warn!("the last access records are lost: their output takes nothing");
        }
    }
}

impl Drop for AccessWriter {
    fn drop(&mut self) {
        self.end();
    }
}

/// One worker's way to the access record. `Send`, but not `Sync`: it belongs to one thread.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    queue: Queue,
    buffer: RefCell<Vec<u8>>,
    records: Cell<u64>,
}

impl AccessLog {
    /// Whether records are kept at all; where not, none need be made.
    pub fn enabled(&self) -> bool {
        self.format != Format::Off
    }

    /// Writes one record. Never waits.
    pub fn write(&self, record: &Record<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        match self.format {
            Format::Off => return,
            Format::Json => write_json(record, &mut buffer),
            Format::Text => write_text(record, &mut buffer),
        }
        self.records.set(self.records.get() + 1);
        if buffer.len() > BATCH_BYTES {
            self.send(&mut buffer);
        }
    }

    /// Sends what is there; to be called about every 100 ms.
    pub fn flush(&self) {
        self.send(&mut self.buffer.borrow_mut());
    }

    fn send(&self, buffer: &mut Vec<u8>) {
        if buffer.is_empty() {
            return;
        }
        let (records, length) = (self.records.take(), buffer.len());
        // Two workers may both see room for the last batch: the bound is soft by a batch each.
        let mut sent = self.queue.waiting.load(Ordering::Relaxed) + length <= QUEUE_BYTES;
        if sent {
            self.queue.waiting.fetch_add(length, Ordering::Relaxed);
            let message = Message::Batch { bytes: taken(buffer), records };
            sent = self.queue.sender.send(message).is_ok();
        }
        if !sent {
            self.queue.dropped.fetch_add(records, Ordering::Relaxed);
        }
        buffer.clear();
    }
}

/// What is in a buffer. A full one is given away; of a short batch of a quiet worker, a copy as long
/// as it is.
fn taken(buffer: &mut Vec<u8>) -> Vec<u8> {
    if buffer.len() < buffer.capacity() / 2 {
        return buffer.clone();
    }
    let next = Vec::with_capacity(buffer.capacity());
    std::mem::replace(buffer, next)
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::telemetry::plan::Output;

    fn writer(path: &Path) -> (AccessWriter, Arc<AtomicU64>) {
        let dropped = Arc::new(AtomicU64::new(0));
        let plan = AccessPlan { format: Format::Json, output: Output::File(path.to_owned()) };
        (AccessWriter::spawn(&plan, Arc::clone(&dropped)).unwrap(), dropped)
    }

    fn lines(path: &Path) -> usize {
        std::fs::read_to_string(path).unwrap().lines().count()
    }

    #[test]
    fn nothing_is_lost_at_the_end_with_several_workers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let (writer, dropped) = writer(&path);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let log = writer.log();
                scope.spawn(move || (0..500).for_each(|_| log.write(&Record::default())));
            }
        });
        writer.close();
        assert_eq!(lines(&path), 1500);
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("old.log"));
        let (writer, _) = writer(&path);
        let log = writer.log();
        log.write(&Record::default());
        log.flush();
        std::fs::rename(&path, &old).unwrap();
        writer.reopen();
        log.write(&Record::default());
        log.write(&Record::default());
        drop(log);
        writer.close();
        assert_eq!((lines(&old), lines(&path)), (1, 2));
    }

    #[test]
    fn records_are_dropped_and_counted_when_the_writer_is_behind() {
        // A queue without a reader at its end, which is as far behind as a writer can be.
        let (sender, receiver) = channel();
        let queue = Queue { sender, waiting: Arc::default(), dropped: Arc::default() };
        let log = AccessLog {
            format: Format::Text,
            queue: queue.clone(),
            buffer: RefCell::default(),
            records: Cell::new(0),
        };
        let path = "x".repeat(64 * 1024);
        for _ in 0..100 {
            log.write(&Record { path: &path, ..Record::default() });
        }
        let kept: u64 = receiver
            .try_iter()
            .map(|message| match message {
                Message::Batch { records, .. } => records,
                Message::Reopen | Message::Close => 0,
            })
            .sum();
        let dropped = queue.dropped.load(Ordering::Relaxed);
        assert!(dropped > 0 && kept > 0, "{kept} kept");
        assert_eq!(dropped + kept, 100);
        assert!(queue.waiting.load(Ordering::Relaxed) <= QUEUE_BYTES);
    }

    #[test]
    fn a_log_that_is_off_makes_nothing() {
        let plan = AccessPlan { format: Format::Off, output: Output::Stdout };
        let writer = AccessWriter::spawn(&plan, Arc::default()).unwrap();
        let log = writer.log();
        log.write(&Record::default());
        assert!(!log.enabled() && log.buffer.borrow().is_empty());
        drop(log);
        writer.close();
    }
}
