//! Lets a body in: from upstream into the buffer that everybody reads, hashed and coded as it comes,
//! and at its end into the store. Goes on when the client that asked has left.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use http_body::SizeHint;

use super::Cache;
use super::content::{Coded, Content, Hash, Variant};
use super::entry::{Entry, Head};
use super::fill::{Fill, Wanted};
use super::flight::Lead;
use super::store::Reserved;
use crate::body::{Body, Frames};
use crate::error::Error;
use crate::message::Frame;
use crate::pipeline::coding::load::Load;
use crate::pipeline::coding::stream::Encoder;
use crate::pipeline::coding::{Coding, Level, media};

/// Bodies up to this are waited for, so that their first reader has a validator too; in bytes.
pub(super) const SMALL: u64 = 64 * 1024;
/// How much is hashed, copied and coded before others of the worker have their turn: less than a
/// millisecond.
const PIECE: usize = 32 * 1024;
/// After so long a silence what the encoders hold back is let out.
const SILENCE: Duration = Duration::from_millis(50);

/// What is left of a body that became too large to be kept: its reader goes on with it.
pub(super) type Past = Rc<RefCell<Option<Body>>>;

/// One body on its way in.
pub(super) struct Drive {
    pub(super) cache: Arc<Cache>,
    pub(super) address: String,
    pub(super) fill: Arc<Fill>,
    pub(super) body: Body,
    pub(super) lead: Lead,
    pub(super) room: Arc<Reserved>,
    pub(super) past: Past,
    /// The worker's time for coding.
    pub(super) load: Rc<Load>,
}

/// Tells the readers of a body that it broke off, unless it has come to its end.
struct OrFail(Arc<Fill>);

impl Drop for OrFail {
    fn drop(&mut self) {
        self.0.fail();
    }
}

impl Drive {
    /// To the end; `None`: it broke off, or is not kept.
    pub(super) async fn run(mut self) -> Option<(Arc<Entry>, Arc<Content>)> {
        let _or_fail = OrFail(Arc::clone(&self.fill));
        let (plain, hash) = self.read().await?;
        let (plain, mut encoders) = plain;
        self.fill.end(Coding::Identity);
        let variants = encoders.finish(&self.fill, &plain, &hash).await;
        let content = Content::new(hash, plain, variants.into());
        let content = self.cache.store.put_content(content);
        let entry = Arc::new(Entry::new(Head::clone(&self.fill.head), &content));
        self.cache.store.put(&self.address, Arc::clone(&entry));
        if self.fill.head.codable {
            self.cache.variants.want(&content);
        }
        self.lead.kept(&entry, &content);
        Some((entry, content))
    }

    /// Reads the body to its end.
    async fn read(&mut self) -> Option<((Bytes, Encoders), Hash)> {
        let known = self.fill.length.and_then(|length| usize::try_from(length).ok());
        let mut whole = BytesMut::with_capacity(known.unwrap_or(0));
        let mut digest = digest::Context::new(&digest::SHA256);
        let mut encoders = Encoders::new(&self.load);
        while let Some(frame) = encoders.next(&mut self.body, &self.fill).await {
            // Trailers are not kept.
            let Ok(mut data) = frame.ok()?.into_data() else { continue };
            if known.is_some_and(|known| whole.len() + data.len() > known) {
                return None;
            }
            if known.is_none() && !self.room.grow(data.len() as u64) {
                self.let_past(data);
                return None;
            }
            while !data.is_empty() {
                let piece = data.split_to(data.len().min(PIECE));
                digest.update(&piece);
                whole.extend_from_slice(&piece);
                self.fill.push(Coding::Identity, piece);
                encoders.catch_up(&self.fill, &whole).await;
                tokio::task::coop::consume_budget().await;
            }
        }
        if known.is_some_and(|known| whole.len() != known) {
            return None;
        }
        Some(((whole.freeze(), encoders), finished(digest)))
    }

    /// Its one reader goes on with the rest.
    fn let_past(&mut self, data: Bytes) {
        self.fill.push(Coding::Identity, data);
        self.past.replace(Some(std::mem::take(&mut self.body)));
        self.fill.end(Coding::Identity);
        self.cache.store.pass(&self.address);
    }
}

/// The codings that readers want, each made once.
struct Encoders {
    all: Vec<Coder>,
    load: Rc<Load>,
}

struct Coder {
    coding: Coding,
    level: Level,
    /// `None`: it has failed.
    encoder: Option<Encoder>,
    /// How much of the body it has taken.
    taken: usize,
    coded: BytesMut,
    digest: digest::Context,
}

impl Encoders {
    fn new(load: &Rc<Load>) -> Self {
        Self { all: Vec::new(), load: Rc::clone(load) }
    }

    /// The next frame; where there is none for a while, what is held back goes out.
    async fn next(&mut self, body: &mut Body, fill: &Fill) -> Option<Result<Frame, Error>> {
        if !self.all.is_empty() {
            if let Ok(frame) = tokio::time::timeout(SILENCE, body.frame()).await {
                return frame;
            }
            for coder in &mut self.all {
                coder.step(fill, &self.load, Encoder::flush);
            }
        }
        body.frame().await
    }

    /// Codes what is there and not yet coded, in every coding that is wanted by now.
    async fn catch_up(&mut self, fill: &Fill, whole: &[u8]) {
        self.all.extend(fill.wanted().into_iter().map(Coder::new));
        for coder in &mut self.all {
            while let Some(rest) = whole.get(coder.taken..).filter(|rest| !rest.is_empty()) {
                let piece = rest.get(..PIECE).unwrap_or(rest);
                coder.taken += piece.len();
                coder.step(fill, &self.load, |encoder| encoder.push(piece));
                tokio::task::yield_now().await;
            }
        }
    }

    /// Brings every coding to its end; those that pay.
    async fn finish(&mut self, fill: &Fill, whole: &[u8], hash: &Hash) -> Vec<Variant> {
        loop {
            self.catch_up(fill, whole).await;
            if fill.close() {
                break;
            }
        }
        let mut variants = Vec::with_capacity(self.all.len());
        for coder in self.all.drain(..) {
            let (coding, level) = (coder.coding, coder.level);
            if let Some((coded, own)) = coder.finish(fill, &self.load)
                && media::pays(whole.len() as u64, coded.len() as u64)
            {
                let coded = Some(Coded::new(hash, coding, coded, &own));
                variants.push(Variant { coding, level, coded });
            }
            tokio::task::yield_now().await;
        }
        variants
    }
}

impl Coder {
    fn new(wanted: Wanted) -> Self {
        let Wanted { coding, level, encoder } = wanted;
        let digest = digest::Context::new(&digest::SHA256);
        Self { coding, level, encoder: Some(encoder), taken: 0, coded: BytesMut::new(), digest }
    }

    /// One step of the encoder.
    fn step(
        &mut self,
        fill: &Fill,
        load: &Load,
        step: impl FnOnce(&mut Encoder) -> io::Result<Bytes>,
    ) {
        let Some(mut encoder) = self.encoder.take() else { return };
        let started = Instant::now();
        let coded = step(&mut encoder);
        load.spent(started, Instant::now());
        if self.took(fill, coded) {
            self.encoder = Some(encoder);
        }
    }

    /// The whole, and its hash; `None` where the encoder has failed.
    fn finish(mut self, fill: &Fill, load: &Load) -> Option<(Bytes, Hash)> {
        let encoder = self.encoder.take()?;
        let started = Instant::now();
        let rest = encoder.finish();
        load.spent(started, Instant::now());
        self.took(fill, rest).then(|| {
            fill.end(self.coding);
            (self.coded.freeze(), finished(self.digest))
        })
    }

    /// Hands out what the encoder gave; where it has failed, those who read this coding are told.
    fn took(&mut self, fill: &Fill, coded: io::Result<Bytes>) -> bool {
        match coded {
            Ok(coded) => {
                self.digest.update(&coded);
                self.coded.extend_from_slice(&coded);
                fill.push(self.coding, coded);
                true
            }
            Err(error) => {
                tracing::warn!(%error, coding = self.coding.name(), "coding failed");
                fill.break_off(self.coding);
                false
            }
        }
    }
}

fn finished(digest: digest::Context) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest.finish().as_ref());
    hash
}

/// The body of an answer whose length is not known: what is being stored, and where that became too
/// much, the rest of it.
pub(super) struct Along {
    stored: Body,
    past: Past,
    rest: Option<Body>,
}

impl Along {
    pub(super) fn new(stored: Body, past: Past) -> Self {
        Self { stored, past, rest: None }
    }
}

impl Frames for Along {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Error>>> {
        if let Some(rest) = &mut self.rest {
            return Pin::new(rest).poll_frame(cx);
        }
        match Pin::new(&mut self.stored).poll_frame(cx) {
            Poll::Ready(None) => {
                let Some(mut rest) = self.past.take() else { return Poll::Ready(None) };
                let frame = Pin::new(&mut rest).poll_frame(cx);
                self.rest = Some(rest);
                frame
            }
            other => other,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
