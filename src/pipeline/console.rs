//! What a single-page application refers to: read out of its index, its styles and its scripts,
//! without running them. Shared by the stages, and by the command that makes variants ahead of time.
//!
//! Made for ZITADEL's Console (zitadel.md §3.8: Angular, whose runtime script names the lazy chunks
//! in a table) and for what Angular's newer builder writes (chunks named by their imports).

use std::sync::LazyLock;

use regex::Regex;

use super::path::resolve;

/// A file that something refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Its absolute path, with its query.
    pub path: String,
    /// What it is, as `Link: …; as=` says it.
    pub kind: Kind,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A script that is run as it is.
    Script,
    /// A script that is a module.
    Module,
    /// A style sheet.
    Style,
    /// A font.
    Font,
    /// Anything else: icons, the manifest, images.
    Other,
}

/// Scripts and styles of the first screen that are hinted at, at most.
const FIRST: usize = 16;

static COMMENT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?s)<!--.*?-->").ok());
// Names in any case, told apart where they are read: `(?i)` takes tables that Ravelin lacks.
static TAG: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"<([A-Za-z]+)\b((?:[^>"']|"[^"]*"|'[^']*')*)>"#).ok());
static ATTRIBUTE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"([A-Za-z-]+)\s*(?:=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?"#).ok()
});
/// webpack: `…+"."+{76:"0a1b…",…}[e]+".js"`.
static TABLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pairs = r#"(?:\s*"?[\w-]+"?\s*:\s*"[0-9A-Za-z_-]+"\s*,?)+"#;
    let text = format!(r#"\+\s*"\."\s*\+\s*\(?\{{({pairs})\}}\)?\[\w+\]\s*\+\s*"(\.js|\.css)""#);
    Regex::new(&text).ok()
});
static PAIR: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#""?([\w-]+)"?\s*:\s*"([\w-]+)""#).ok());
/// webpack: `76===e?"common":e`.
static CHOICE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(\d+)\s*===\s*\w+\s*\?\s*"([\w-]+)""#).ok());
/// Modules: `import("./chunk-X.js")`, `from"./chunk-X.js"`.
static IMPORT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"\b(?:import|from)\s*\(?\s*["'](\.{1,2}/[\w./-]+\.m?js)["']"#).ok()
});
static URL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"\burl\(\s*["']?([^"')\s]+)["']?\s*\)"#).ok());

/// How far before a table of chunks the names of some of them may stand, in bytes.
const NAMES: usize = 4_096;

/// Everything that the document at `at` (an absolute path) refers to, in its order, each once:
/// scripts, styles, preloads, manifest and icons, on the same host.
pub fn index(html: &str, at: &str) -> Vec<Reference> {
    read(html, at, |_, _| true)
}

/// What the document at `at` loads before it shows anything, at most `FIRST`: its scripts and
/// styles. Those with `crossorigin` or `integrity` are left out, since a hint that is silent about
/// them would load them twice.
pub fn first_screen(html: &str, at: &str) -> Vec<Reference> {
    let mut found = read(html, at, |tag, attributes| {
        let plain = !attributes.has("crossorigin") && !attributes.has("integrity");
        let loads = tag.eq_ignore_ascii_case("script") || attributes.link() == Kind::Style;
        plain && loads
    });
    found.truncate(FIRST);
    found
}

fn read(html: &str, at: &str, wanted: impl Fn(&str, &Attributes<'_>) -> bool) -> Vec<Reference> {
    let mut found = Vec::new();
    let (Some(comment), Some(tag)) = (COMMENT.as_ref(), TAG.as_ref()) else { return found };
    let html = comment.replace_all(html, "");
    let mut base = at.to_owned();
    for tag in tag.captures_iter(&html) {
        let (Some(name), Some(attributes)) = (tag.get(1), tag.get(2)) else { continue };
        let attributes = Attributes(attributes.as_str());
        let is_base = name.as_str().eq_ignore_ascii_case("base");
        if !is_base && !wanted(name.as_str(), &attributes) {
            continue;
        }
        let (path, kind) = match name.as_str().to_ascii_lowercase().as_str() {
            "base" => {
                base = attributes.get("href").and_then(|to| resolve(&base, &to)).unwrap_or(base);
                continue;
            }
            "script" => {
                let module = attributes.get("type").is_some_and(|kind| kind == "module");
                (attributes.get("src"), if module { Kind::Module } else { Kind::Script })
            }
            "link" => (attributes.get("href"), attributes.link()),
            _ => continue,
        };
        let Some(path) = path.and_then(|path| resolve(&base, &path)) else { continue };
        add(&mut found, Reference { path, kind });
    }
    found
}

/// The chunks that the script at `at` names: those of webpack's table and those that it imports.
pub fn chunks(script: &str, at: &str) -> Vec<Reference> {
    let mut found = Vec::new();
    for table in TABLE.iter().flat_map(|table| table.captures_iter(script)) {
        let (Some(whole), Some(pairs), Some(end)) = (table.get(0), table.get(1), table.get(2))
        else {
            continue;
        };
        let names = names(script, whole.start());
        let kind = if end.as_str() == ".css" { Kind::Style } else { Kind::Script };
        for (id, hash) in pairs_of(PAIR.as_ref(), pairs.as_str()) {
            let named = names.iter().find(|(known, _)| *known == id);
            let stem = named.map_or(id, |(_, name)| name);
            let path = resolve(at, &format!("{stem}.{hash}{}", end.as_str()));
            found.extend(path.map(|path| (path, kind)));
        }
    }
    for import in IMPORT.iter().flat_map(|import| import.captures_iter(script)) {
        let path = import.get(1).and_then(|path| resolve(at, path.as_str()));
        found.extend(path.map(|path| (path, Kind::Module)));
    }
    let mut once = Vec::new();
    for (path, kind) in found {
        add(&mut once, Reference { path, kind });
    }
    once
}

/// The files that the style sheet at `at` refers to.
pub fn style(sheet: &str, at: &str) -> Vec<Reference> {
    let mut found = Vec::new();
    for url in URL.iter().flat_map(|url| url.captures_iter(sheet)) {
        let Some(path) = url.get(1).and_then(|url| resolve(at, url.as_str())) else { continue };
        let file = path.split('?').next().unwrap_or_default();
        let font =
            [".woff", ".woff2", ".ttf", ".otf", ".eot"].iter().any(|end| file.ends_with(end));
        add(&mut found, Reference { path, kind: if font { Kind::Font } else { Kind::Other } });
    }
    found
}

/// Whether a file's name holds the hash of its content, as Angular writes it
/// (`main.a7aea975099f25cf.js`, `chunk-4ZKXF2QJ.js`): it never changes then.
pub fn is_hashed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let Some((stem, _)) = name.rsplit_once('.') else { return false };
    let webpack = stem.rsplit_once('.').is_some_and(|(_, hash)| {
        hash.len() >= 16 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    });
    let esbuild = stem.rsplit_once('-').is_some_and(|(_, hash)| {
        hash.len() == 8 && hash.bytes().all(|b| matches!(b, b'2'..=b'7' | b'A'..=b'Z'))
    });
    webpack || esbuild
}

/// Whether a path is the application's own: its index, or a route of it, which is the index too.
pub fn is_page(path: &str) -> bool {
    !path.rsplit('/').next().unwrap_or_default().contains('.')
}

fn add(found: &mut Vec<Reference>, new: Reference) {
    if !found.iter().any(|known| known.path == new.path) {
        found.push(new);
    }
}

/// The names that stand between a function's arrow and its table at `end`.
fn names(script: &str, end: usize) -> Vec<(&str, &str)> {
    let mut start = end.saturating_sub(NAMES);
    while !script.is_char_boundary(start) {
        start += 1;
    }
    let before = script.get(start..end).unwrap_or_default();
    let before = before.rsplit_once("=>").map_or(before, |(_, after)| after);
    let mut names = pairs_of(CHOICE.as_ref(), before);
    names.extend(pairs_of(PAIR.as_ref(), before));
    names
}

fn pairs_of<'a>(pattern: Option<&Regex>, text: &'a str) -> Vec<(&'a str, &'a str)> {
    let all = pattern.into_iter().flat_map(|pattern| pattern.captures_iter(text));
    all.filter_map(|pair| Some((pair.get(1)?.as_str(), pair.get(2)?.as_str()))).collect()
}

/// The attributes of a tag.
struct Attributes<'a>(&'a str);

impl Attributes<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let all = ATTRIBUTE.as_ref()?.captures_iter(self.0);
        let mut all = all.filter(|one| {
            one.get(1).is_some_and(|known| known.as_str().eq_ignore_ascii_case(name))
        });
        let one = all.next()?;
        let value = one.get(2).or_else(|| one.get(3)).or_else(|| one.get(4))?;
        Some(value.as_str().replace("&amp;", "&"))
    }

    /// Whether an attribute is there, with a value or without.
    fn has(&self, name: &str) -> bool {
        let named = |one: regex::Captures<'_>| {
            one.get(1).is_some_and(|known| known.as_str().eq_ignore_ascii_case(name))
        };
        ATTRIBUTE.iter().any(|all| all.captures_iter(self.0).any(named))
    }

    /// What a link's target is.
    fn link(&self) -> Kind {
        let rel = self.get("rel").unwrap_or_default().to_ascii_lowercase();
        let mut rel = rel.split_ascii_whitespace();
        match rel.find(|rel| matches!(*rel, "stylesheet" | "modulepreload" | "preload")) {
            Some("stylesheet") => Kind::Style,
            Some("modulepreload") => Kind::Module,
            Some("preload") => match self.get("as").as_deref() {
                Some("script") => Kind::Script,
                Some("style") => Kind::Style,
                Some("font") => Kind::Font,
                _ => Kind::Other,
            },
            _ => Kind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(found: &[Reference]) -> Vec<(&str, Kind)> {
        found.iter().map(|one| (one.path.as_str(), one.kind)).collect()
    }

    #[test]
    fn an_index_of_angular_is_read() {
        let html = r#"<!doctype html><html><head><base href="/ui/console/">
            <!-- <script src="gone.js"></script> -->
            <link rel="icon" href='favicon.ico'><link rel=manifest href=manifest.webmanifest>
            <link rel="preload" href="a.woff2" as="font" crossorigin>
            <link rel="modulepreload" href="chunk-A.js">
            <link rel="stylesheet" href="styles.0a1b.css" media="print" onload="this.media='all'">
            <noscript><link rel="stylesheet" href="styles.0a1b.css"></noscript>
            <link rel="preconnect" href="https://elsewhere.example/">
            </head><body><cnsl-root></cnsl-root>
            <script src="runtime.0a1b.js" type="module"></script>
            <script src="scripts.0a1b.js?v=1&amp;w=2" defer></script>
            <SCRIPT SRC="/other/main.js#x"></SCRIPT><script>inline("src=a.js")</script>
            <script src="//elsewhere.example/a.js"></script></body></html>"#;
        assert_eq!(
            paths(&index(html, "/ui/console/users/1")),
            [
                ("/ui/console/favicon.ico", Kind::Other),
                ("/ui/console/manifest.webmanifest", Kind::Other),
                ("/ui/console/a.woff2", Kind::Font),
                ("/ui/console/chunk-A.js", Kind::Module),
                ("/ui/console/styles.0a1b.css", Kind::Style),
                ("/ui/console/runtime.0a1b.js", Kind::Module),
                ("/ui/console/scripts.0a1b.js?v=1&w=2", Kind::Script),
                ("/other/main.js", Kind::Script),
            ]
        );
    }

    #[test]
    fn what_the_first_screen_loads_is_told_from_the_rest() {
        let html = r#"<base href="/c/"><link rel="icon" href="i.svg">
            <link rel=stylesheet href=s.css><link rel=stylesheet href=t.css crossorigin>
            <link rel="modulepreload" href="lazy.js"><script src="m.js" type="module"></script>
            <script src="n.js" integrity="sha256-x"></script><script src="o.js"></script>"#;
        let first = first_screen(html, "/c/users");
        assert_eq!(
            paths(&first),
            [("/c/s.css", Kind::Style), ("/c/m.js", Kind::Module), ("/c/o.js", Kind::Script)]
        );
    }

    #[test]
    fn names_with_a_hash_are_told_from_others() {
        for (path, expected) in [
            ("/ui/console/main.a7aea975099f25cf.js", true),
            ("/ui/console/622.df29f19487cf47c8.js", true),
            ("/ui/console/la-solid.a7aea975099f25cf.ttf", true),
            ("/ui/console/chunk-4ZKXF2QJ.js", true),
            ("/ui/console/main.js", false),
            ("/ui/console/main.min.js", false),
            ("/ui/console/assets/i18n/en.json", false),
            ("/ui/console/assets/icon-settings.svg", false),
            ("/ui/console/a7aea975099f25cf.js", false),
            ("/ui/console/a7aea975099f25cf/x.js", false),
            ("/ui/console/", false),
        ] {
            assert_eq!(is_hashed(path), expected, "{path}");
        }
        assert!(is_page("/ui/console/") && is_page("/ui/console/users/1"));
        assert!(!is_page("/ui/console/main.js"));
    }

    #[test]
    fn the_chunks_of_a_webpack_runtime_are_named() {
        let script = r#"(()=>{"use strict";var e,v={},l=t=>v[t];l.e=t=>Promise.all([]),l.u=e=>(76===e?"common":e)+"."+{76:"0a1b2c3d4e5f6071",117:"1111111111111111",592:"2222222222222222"}[e]+".js",l.miniCssF=e=>(({8:"extra"})[e]||e)+"."+{8:"3333333333333333"}[e]+".css",l.o=1})();"#;
        assert_eq!(
            paths(&chunks(script, "/ui/console/runtime.x.js")),
            [
                ("/ui/console/common.0a1b2c3d4e5f6071.js", Kind::Script),
                ("/ui/console/117.1111111111111111.js", Kind::Script),
                ("/ui/console/592.2222222222222222.js", Kind::Script),
                ("/ui/console/extra.3333333333333333.css", Kind::Style),
            ]
        );
    }

    #[test]
    fn the_chunks_that_modules_import_are_named() {
        let script = r#"import{a as b}from"./chunk-AAAA.js";import"./polyfills-B.js";
            const r=[{loadComponent:()=>import("./chunk-CCCC.js").then(m=>m.X)},
            {loadChildren:()=>import( '../x/chunk-DDDD.mjs' )}];from("elsewhere.js");import("https://x/y.js")"#;
        assert_eq!(
            paths(&chunks(script, "/ui/console/main.js")),
            [
                ("/ui/console/chunk-AAAA.js", Kind::Module),
                ("/ui/console/polyfills-B.js", Kind::Module),
                ("/ui/console/chunk-CCCC.js", Kind::Module),
                ("/ui/x/chunk-DDDD.mjs", Kind::Module),
            ]
        );
        assert_eq!(chunks("const a={b:\"c\"}[d]+\"x\";", "/main.js"), []);
    }

    #[test]
    fn the_files_of_a_style_sheet_are_named() {
        let sheet = r#"@font-face{src:url("la.0a1b.ttf?v=1#iefix") format("truetype"),url(la.woff2)}
            .a{background:url('data:image/png;base64,xx')}.b{background:url(../img/b.svg)}"#;
        assert_eq!(
            paths(&style(sheet, "/ui/console/styles.css")),
            [
                ("/ui/console/la.0a1b.ttf?v=1", Kind::Font),
                ("/ui/console/la.woff2", Kind::Font),
                ("/ui/img/b.svg", Kind::Other),
            ]
        );
    }
}
