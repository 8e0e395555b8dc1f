//! Fetches a page and, from what it says, everything that belongs to it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode, Uri};

use crate::command::live::ask::{Failure, Most, Reply, fetch};
use crate::pipeline::coding::media;
use crate::pipeline::console::{self, Reference};
use crate::upstream::plan::{EndpointPlan, TlsPlan};

/// For one file.
const MOST: Most = Most { time: Duration::from_secs(60), bytes: 64 << 20 };

/// Files of one Console at most: ZITADEL's first screen has 8, its lazy chunks are some 60.
const FILES: usize = 1_000;

/// A file of the Console.
#[derive(Debug)]
pub(super) struct File {
    /// Its absolute path.
    pub(super) path: String,
    /// Its media type.
    pub(super) content_type: Option<HeaderValue>,
    /// It, plain.
    pub(super) body: Bytes,
}

impl File {
    /// The last segment of its path; the whole path of a folder.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(&self.path)
    }

    /// Whether it is worth coding.
    pub(super) fn shrinks(&self) -> bool {
        self.body.len() as u64 >= media::MIN_SIZE && media::shrinks(self.content_type.as_ref())
    }

    fn is(&self, word: &str) -> bool {
        let kind = self.content_type.as_ref().and_then(|kind| kind.to_str().ok());
        kind.is_some_and(|kind| kind.contains(word))
    }

    /// What it refers to.
    fn references(&self) -> Vec<Reference> {
        let text = String::from_utf8_lossy(&self.body);
        if self.is("text/html") {
            console::index(&text, &self.path)
        } else if self.is("javascript") {
            console::chunks(&text, &self.path)
        } else if self.is("text/css") {
            console::style(&text, &self.path)
        } else {
            Vec::new()
        }
    }
}

/// The page at `path` and all that it leads to. What is named and not there is told on standard
/// error; without the page itself there is nothing.
pub(super) async fn all(
    endpoint: &EndpointPlan,
    tls: &TlsPlan,
    domain: &str,
    path: &str,
) -> Result<Vec<File>, String> {
    let first = one(endpoint, tls, domain, path).await?;
    let mut named = vec![path.to_owned()];
    let mut waiting = first.references();
    let mut files = vec![first];
    while let Some(next) = waiting.pop() {
        if named.contains(&next.path) {
            continue;
        }
        if named.len() >= FILES {
            return Err(format!("{path} leads to more than {FILES} files"));
        }
        named.push(next.path.clone());
        match one(endpoint, tls, domain, &next.path).await {
            Ok(file) => {
                waiting.extend(file.references());
                files.push(file);
            }
            Err(why) => eprintln!("warm: {why}"),
        }
    }
    files.sort_by_key(|file| std::cmp::Reverse(file.body.len()));
    Ok(files)
}

async fn one(
    endpoint: &EndpointPlan,
    tls: &TlsPlan,
    domain: &str,
    path: &str,
) -> Result<File, String> {
    let scheme = if endpoint.protocol.is_tls() { "https" } else { "http" };
    let uri: Uri =
        format!("{scheme}://{domain}{path}").parse().map_err(|error| format!("{path}: {error}"))?;
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let Reply { status, headers, body } =
        fetch(endpoint, tls, &uri, &headers, MOST).await.map_err(|failure| match &failure {
            Failure::Unreachable(why) => format!("cannot be reached: {why}"),
            Failure::Other(why) => format!("{path}: {why}"),
        })?;
    if status != StatusCode::OK {
        return Err(format!("{path} is answered with {}", status.as_u16()));
    }
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(format!("{path} comes coded, though it was asked for plain"));
    }
    Ok(File { path: path.to_owned(), content_type: headers.get(CONTENT_TYPE).cloned(), body })
}
