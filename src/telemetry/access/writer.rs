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
}

impl Sink {
    pub(super) fn open(
        output: Output,
        waiting: Arc<AtomicUsize>,
        dropped: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let to = open(&output)?;
        Ok(Self { output, to, waiting, dropped, failing: false })
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
        match self.to.write_all(bytes).and_then(|()| self.to.flush()) {
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

    fn reopen(&mut self) {
        match open(&self.output) {
            Ok(to) => self.to = to,
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
