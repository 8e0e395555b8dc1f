//! The direction of dependencies: reads `src/` and fails on an arrow against the order that the
//! documentation of `src/lib.rs` names.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// What stages of the pipeline may share: these name no stage.
const SHARED_BY_STAGES: [&str; 5] = ["plan", "authority", "path", "coding", "console"];

/// A module, as names from the crate's root: `["pipeline", "admit", "route"]`.
type Module = Vec<String>;

/// Rooms from left to right; those at the same place never name each other.
struct Order(Vec<Vec<String>>);

impl Order {
    /// The block of the crate's documentation that begins with `main →`.
    fn documented() -> Self {
        let text = fs::read_to_string(source().join("lib.rs")).unwrap();
        let lines = text.lines().map(|line| line.trim_start_matches("//!").trim());
        let block = lines.skip_while(|line| !line.starts_with("main →"));
        Self::parse(&block.take_while(|line| !line.starts_with("```")).collect::<String>())
    }

    fn parse(text: &str) -> Self {
        let names = |step: &str| {
            let step = step.trim().trim_matches(['{', '}']);
            step.split(',').map(|name| name.trim().to_owned()).collect()
        };
        Self(text.split('→').map(names).collect())
    }

    fn place(&self, room: &str) -> Option<usize> {
        self.0.iter().position(|step| step.iter().any(|name| name == room))
    }

    /// What is wrong with `from` naming `to`.
    fn objection(&self, from: &[String], to: &[String]) -> Option<String> {
        let (Some(room), Some(other)) = (from.first(), to.first()) else { return None };
        if room == other {
            return stages(from, to);
        }
        let tests = from.iter().any(|name| name == "tests");
        if room == "standin" {
            return Some("the stand-in names no room".to_owned());
        }
        if other == "standin" {
            let may = room == "command" || tests;
            return (!may).then(|| "only commands and tests name the stand-in".to_owned());
        }
        match (self.place(room), self.place(other)) {
            (Some(left), Some(right)) if left < right => None,
            (Some(left), Some(right)) if left == right => {
                Some(format!("{room} and {other} never name each other"))
            }
            (Some(_), Some(_)) => Some(format!("{other} comes before {room}")),
            _ => Some(format!("{room} or {other} has no place in the order of src/lib.rs")),
        }
    }
}

fn stages(from: &[String], to: &[String]) -> Option<String> {
    let [room, stage, ..] = from else { return None };
    let other = to.get(1).filter(|name| name.starts_with(|first: char| first.is_lowercase()))?;
    let apart = room == "pipeline" && stage != other && !SHARED_BY_STAGES.contains(&other.as_str());
    apart.then(|| format!("the stage {stage} names the stage {other}"))
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Path,
    Open,
    Close,
    Comma,
    Other,
}

/// Tokens with their lines, without comments, texts and lifetimes.
fn tokens(source: &str) -> Vec<(usize, Token)> {
    let bytes = source.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
    let line = |index: usize| source[..index].matches('\n').count() + 1;
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let mut found = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        let start = i;
        let token = match at(i) {
            b'/' if at(i + 1) == b'/' => {
                i = source[i..].find('\n').map_or(bytes.len(), |end| i + end);
                continue;
            }
            b'/' if at(i + 1) == b'*' => {
                i = block_comment_end(bytes, i);
                continue;
            }
            b'"' => {
                i = text_end(bytes, i);
                continue;
            }
            b'\'' => {
                i = match (at(i + 1), at(i + 2)) {
                    (b'\\', _) => i + 3 + source[i + 3..].find('\'').unwrap_or(0) + 1,
                    (_, b'\'') => i + 3,
                    _ => i + 1,
                };
                continue;
            }
            byte if byte.is_ascii_whitespace() => {
                i += 1;
                continue;
            }
            byte if word(byte) => {
                while word(at(i)) {
                    i += 1;
                }
                let text = &source[start..i];
                if let Some(end) = raw_text_end(source, text, i) {
                    i = end;
                    continue;
                }
                Token::Word(text.to_owned())
            }
            b':' if at(i + 1) == b':' => Token::Path,
            b'{' => Token::Open,
            b'}' => Token::Close,
            b',' => Token::Comma,
            _ => Token::Other,
        };
        i = match token {
            Token::Word(_) => i,
            Token::Path => i + 2,
            _ => i + 1,
        };
        found.push((line(start), token));
    }
    found
}

fn block_comment_end(bytes: &[u8], mut i: usize) -> usize {
    let mut depth = 0;
    while i < bytes.len() {
        match &bytes[i..bytes.len().min(i + 2)] {
            b"/*" => (depth, i) = (depth + 1, i + 2),
            b"*/" => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

fn text_end(bytes: &[u8], mut i: usize) -> usize {
    i += 1;
    while i < bytes.len() && bytes[i] != b'"' {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    i + 1
}

/// Where a raw text ends that `word` (`r`, `br`) begins; `None` if it begins none.
fn raw_text_end(source: &str, word: &str, after: usize) -> Option<usize> {
    let rest = source.get(after..)?.trim_start_matches('#');
    if !matches!(word, "r" | "br") || !rest.starts_with('"') {
        return None;
    }
    let inside = source.len() - rest.len() + 1;
    let close = format!("\"{}", "#".repeat(inside - 1 - after));
    Some(inside + source[inside..].find(&close)? + close.len())
}

/// Every path of this crate that a source names, with its line and the module that names it.
fn names(source: &str, file: &[String]) -> Vec<(usize, Module, Module)> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    let (mut module, mut inline, mut depth) = (file.to_vec(), Vec::new(), 0_usize);
    for (i, (line, token)) in tokens.iter().enumerate() {
        match token {
            Token::Open => {
                depth += 1;
                if let [.., (_, Token::Word(keyword)), (_, Token::Word(name))] = &tokens[..i]
                    && keyword == "mod"
                {
                    module.push(name.clone());
                    inline.push(depth);
                }
            }
            Token::Close => {
                if inline.last() == Some(&depth) {
                    inline.pop();
                    module.pop();
                }
                depth = depth.saturating_sub(1);
            }
            Token::Word(word) => {
                let first = i == 0 || tokens[i - 1].1 != Token::Path;
                let leads = tokens.get(i + 1).is_some_and(|(_, next)| *next == Token::Path);
                // The binary names its library by the crate's name.
                let root = word == "crate" || (word == "ravelin" && file == ["main"]);
                if first && leads && (root || word == "super" || word == "self") {
                    let mut base = if root { Vec::new() } else { module.clone() };
                    if word == "super" {
                        base.pop();
                    }
                    let mut paths = Vec::new();
                    tree(&tokens, i + 2, base, &mut paths);
                    found.extend(paths.into_iter().map(|path| (*line, module.clone(), path)));
                }
            }
            _ => {}
        }
    }
    found
}

/// The paths of a use tree that begins at `i`, below `prefix`; where it ends.
fn tree(
    tokens: &[(usize, Token)],
    mut i: usize,
    mut prefix: Module,
    found: &mut Vec<Module>,
) -> usize {
    loop {
        match tokens.get(i).map(|(_, token)| token) {
            Some(Token::Word(word)) => {
                match word.as_str() {
                    "self" => {}
                    "super" => drop(prefix.pop()),
                    word => prefix.push(word.to_owned()),
                }
                i += 1;
                if tokens.get(i).is_some_and(|(_, token)| *token == Token::Path) {
                    i += 1;
                    continue;
                }
            }
            Some(Token::Open) => {
                i += 1;
                while !matches!(tokens.get(i), None | Some((_, Token::Close))) {
                    i = tree(tokens, i, prefix.clone(), found);
                    // `as name`, then the comma.
                    while !matches!(tokens.get(i), None | Some((_, Token::Comma | Token::Close))) {
                        i += 1;
                    }
                    if matches!(tokens.get(i), Some((_, Token::Comma))) {
                        i += 1;
                    }
                }
                return i + 1;
            }
            _ => {}
        }
        found.push(prefix);
        return i;
    }
}

/// The objections to one source.
fn objections(order: &Order, file: &[&str], source: &str) -> Vec<String> {
    let file: Module = file.iter().map(ToString::to_string).collect();
    let judged = names(source, &file).into_iter().filter_map(|(line, from, to)| {
        let objection = order.objection(&from, &to)?;
        Some(format!("{}:{line}: {}: {objection}", file.join("/"), to.join("::")))
    });
    judged.collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![source()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn no_arrow_points_against_the_documented_order() {
    let order = Order::documented();
    let mut wrong = Vec::new();
    let mut arrows = 0;
    for path in sources() {
        let inside = path.strip_prefix(source()).unwrap().with_extension("");
        let module: Vec<_> = inside.iter().map(|part| part.to_str().unwrap()).collect();
        if module == ["lib"] {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let owned: Module = module.iter().map(ToString::to_string).collect();
        arrows += names(&text, &owned).len();
        wrong.extend(objections(&order, &module, &text));
    }
    assert!(arrows > 300, "only {arrows} paths were found: is the checker blind?");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_room_has_a_place_in_the_order_and_the_other_way_round() {
    let order = Order::documented();
    let text = fs::read_to_string(source().join("lib.rs")).unwrap();
    let rooms: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'))
        .filter(|room| *room != "standin")
        .collect();
    for room in &rooms {
        assert!(order.place(room).is_some(), "{room} is not in the order");
    }
    let known: Vec<_> = order.0.iter().flatten().filter(|room| *room != "main").collect();
    assert_eq!(known, rooms, "src/lib.rs lists its rooms in the order");
}

#[test]
fn no_file_is_called_mod_rs() {
    let wrong: Vec<_> = sources().into_iter().filter(|path| path.ends_with("mod.rs")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The checker itself, on sources that it must not let pass.
#[cfg(test)]
mod checker {
    use super::*;

    fn order() -> Order {
        Order::parse("main → command → server → {admin, downstream, pipeline} → upstream → error")
    }

    fn caught(file: &[&str], source: &str) -> usize {
        objections(&order(), file, source).len()
    }

    #[test]
    fn a_planted_arrow_backwards_is_caught_however_it_is_written() {
        for (file, source) in [
            (&["upstream", "pool"][..], "use crate::downstream::plan::Limits;"),
            (&["upstream"], "use crate::{error::Error, server::Server};"),
            (&["upstream"], "use crate::{\n    error::{self, Kind as K},\n    server as s,\n};"),
            (&["upstream", "pool"], "use super::super::server;"),
            (&["upstream", "pool"], "mod inside { fn f() { super::super::super::admin::f() } }"),
            (&["error"], "pub fn f() -> crate::upstream::Pool { todo!() }"),
            (&["downstream", "a"], "use crate::pipeline::plan::RoutePlan;"),
            (&["server"], "use crate::standin::Standin;"),
            (&["standin", "grpc"], "use crate::error::Error;"),
            (&["upstream"], "use crate::unheard_of::Room;"),
        ] {
            assert_eq!(caught(file, source), 1, "{source}");
        }
    }

    #[test]
    fn a_planted_arrow_between_stages_is_caught() {
        for source in [
            "use super::admit::route::rest_after;",
            "use super::{admit::route::rest_after, plan::Timeouts};",
            "use crate::pipeline::admit;",
        ] {
            assert_eq!(caught(&["pipeline", "forward"], source), 1, "{source}");
        }
        assert_eq!(caught(&["pipeline", "forward", "x"], "use super::super::admit::y;"), 1);
        assert_eq!(caught(&["pipeline", "authority"], "use super::admit::y;"), 1);
        assert_eq!(caught(&["pipeline"], "use self::{admit::a, forward::b};"), 0);
        assert_eq!(caught(&["pipeline", "forward"], "use super::plan::Timeouts;"), 0);
    }

    #[test]
    fn arrows_forward_and_mere_words_pass() {
        for (file, source) in [
            (&["main"][..], "fn main() { ravelin::command::main() }"),
            (&["command", "demo"], "use crate::standin::Standin;\nuse crate::server;"),
            (&["upstream", "tests"], "use crate::standin::Standin;"),
            (&["upstream"], "//! see crate::server\n/* crate::server /* x */ crate::server */"),
            (
                &["upstream"],
                "const A: &str = \"crate::server\\\"\"; const B: &str = r#\"crate::server\"#;",
            ),
            (&["upstream"], "fn f<'a>(a: &'a str) { let c = '\"'; pub(crate) struct S; self.x() }"),
            (&["upstream", "pool"], "use super::plan::X;\nuse crate::error::{Error, Kind};"),
        ] {
            assert_eq!(objections(&order(), file, source), [""; 0], "{source}");
        }
    }
}
