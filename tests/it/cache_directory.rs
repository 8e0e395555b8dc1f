//! Best variants in a directory: made once, whoever asks, however often the process starts.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Request;

use crate::support::faults::{get, http1, with, within};
use crate::support::h2::Answer;
use crate::support::origin::{Origin, answer};
use crate::support::raw::until;
use crate::support::{Ravelin, config_before};

const FIELDS: &str = "cache-control: max-age=60\r\ncontent-type: text/javascript\r\n";

fn script() -> String {
    (0..2_000).map(|i| format!("const value{i} = call({i});\n")).collect()
}

async fn origin() -> Origin {
    Origin::start(|_, _| answer(200, FIELDS, script())).await
}

fn before(origin: &Origin, directory: &Path) -> Ravelin {
    let config = config_before(&format!("http://{}", origin.address()));
    let config = config.replace("to: up", "to: up, cache: true");
    Ravelin::start(&format!("{config}cache: {{directory: \"{}\"}}\n", directory.display()))
}

async fn ask(ravelin: &Ravelin, coding: &str) -> Answer {
    let request: Request<Bytes> = with(get("a", "/main.js"), "accept-encoding", coding);
    let request = with(request, "connection", "close");
    within(5.0, "an answer", http1(ravelin.plain(), request)).await.unwrap()
}

/// Waits until each coding is served at its best; how many were made, and how many read.
async fn best(ravelin: &Ravelin) -> (f64, f64) {
    ask(ravelin, "br").await;
    let count =
        |source| ravelin.metric(&format!("ravelin_cache_variants_total{{source=\"{source}\""));
    let pending = || ravelin.metric("ravelin_cache_variants_pending");
    let three = |(made, read, pending): &(f64, f64, f64)| made + read == 3.0 && *pending == 0.0;
    let (made, read, _) = until(async || (count("made"), count("read"), pending()), three).await;
    (made, read)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_second_process_makes_none_anew() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("variants");
    let origin = origin().await;
    let first = before(&origin, &directory);
    assert!(!directory.exists(), "nothing is made before it is needed");
    assert_eq!(best(&first).await, (3.0, 0.0));
    until(async || files(&directory), |files| files.len() == 3).await;
    let made = ask(&first, "br").await;
    // Both at once, as two replicas would.
    let second = before(&origin, &directory);
    assert_eq!(best(&second).await, (0.0, 3.0));
    let read = ask(&second, "br").await;
    assert_eq!((read.header("etag"), &read.body), (made.header("etag"), &made.body));
    assert_eq!(files(&directory).len(), 3);
}

#[tokio::test]
async fn what_is_not_whole_is_made_anew_and_foreign_files_are_let_alone() {
    let folder = tempfile::tempdir().unwrap();
    let origin = origin().await;
    let first = before(&origin, folder.path());
    best(&first).await;
    let whole = until(async || files(folder.path()), |files| files.len() == 3).await;
    let cut = &whole[0];
    let bytes = fs::read(cut).unwrap();
    fs::write(cut, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(folder.path().join("README"), "mine").unwrap();
    let second = before(&origin, folder.path());
    assert_eq!(best(&second).await, (1.0, 2.0));
    until(async || fs::read(cut).unwrap_or_default(), |now| *now == bytes).await;
    assert_eq!(fs::read(folder.path().join("README")).unwrap(), b"mine");
    assert_eq!(files(folder.path()).len(), 4);
}

/// A disk that takes nothing: here a file has come into the directory's place.
#[tokio::test]
async fn a_directory_that_takes_nothing_costs_nothing_but_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("variants");
    let origin = origin().await;
    let ravelin = before(&origin, &directory);
    fs::write(&directory, "").unwrap();
    assert_eq!(best(&ravelin).await, (3.0, 0.0));
    assert_eq!(fs::read(&directory).unwrap(), b"");
}
