//! The console's files: made once, the same in every run, with hashed names like Angular's; or
//! those of a real build.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use bytes::Bytes;

/// One file of the console.
#[derive(Clone)]
pub(super) struct File {
    /// Its name below `/ui/console/`.
    pub(super) name: String,
    pub(super) content_type: &'static str,
    pub(super) content: Bytes,
}

/// All files of a console; `index.html` first.
pub(super) type Files = Cow<'static, [File]>;

/// What the stand-in brings itself.
static BUILT_IN: LazyLock<Vec<File>> = LazyLock::new(build);

/// The files of the build in `folder`, or those that the stand-in brings itself.
///
/// # Errors
/// When a file cannot be read, or there is no `index.html`.
pub(super) fn files(folder: Option<&Path>) -> io::Result<Files> {
    let Some(folder) = folder else { return Ok(Cow::Borrowed(BUILT_IN.as_slice())) };
    let mut files = Vec::new();
    read(folder, "", &mut files)?;
    let index = files.iter().position(|file| file.name == "index.html");
    let missing = || io::Error::new(io::ErrorKind::NotFound, "index.html is missing");
    files.swap(0, index.ok_or_else(missing)?);
    Ok(Cow::Owned(files))
}

fn read(folder: &Path, below: &str, files: &mut Vec<File>) -> io::Result<()> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            read(&entry.path(), &format!("{name}/"), files)?;
        } else {
            let content = std::fs::read(entry.path())?.into();
            files.push(File { content_type: content_type(&name), name, content });
        }
    }
    Ok(())
}

/// As Go's file server says by the name's ending.
fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("ttf") => "font/ttf",
        Some("wasm") => "application/wasm",
        _ => "text/plain; charset=utf-8",
    }
}

/// The file with this name below `/ui/console/`.
pub(super) fn find<'a>(files: &'a Files, name: &str) -> Option<&'a File> {
    files.iter().find(|file| file.name == name)
}

/// `index.html`.
pub(super) fn index(files: &Files) -> &File {
    &files[0]
}

fn build() -> Vec<File> {
    const JS: &str = "text/javascript; charset=utf-8";
    let scripts = [
        ("runtime", 4_000),
        ("polyfills", 60_000),
        ("scripts", 30_000),
        ("main", 700_000),
        ("120", 90_000),
    ];
    let mut files: Vec<File> =
        scripts.iter().map(|(name, size)| hashed(name, "js", JS, script(name, *size))).collect();
    files.push(hashed("styles", "css", "text/css; charset=utf-8", styles()));
    let named = |stem: &str| {
        let found = files.iter().find(|file| file.name.starts_with(stem));
        found.map(|file| file.name.clone()).unwrap_or_default()
    };
    let tags: String = ["runtime", "polyfills", "scripts", "main"]
        .iter()
        .map(|stem| format!("<script src=\"{}\" type=\"module\"></script>", named(stem)))
        .collect();
    let index = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>ZITADEL • Console</title>\
         <base href=\"/ui/console/\"><link rel=\"manifest\" href=\"manifest.webmanifest\">\
         <link rel=\"stylesheet\" href=\"{}\"></head><body><cnsl-root></cnsl-root>{tags}</body></html>\n",
        named("styles")
    );
    let file = |name: &str, content_type, content: Vec<u8>| File {
        name: name.to_owned(),
        content_type,
        content: content.into(),
    };
    files.insert(0, file("index.html", "text/html; charset=utf-8", index.into_bytes()));
    files.push(file(
        "manifest.webmanifest",
        "text/plain; charset=utf-8",
        b"{\"name\":\"ZITADEL\",\"display\":\"standalone\"}".to_vec(),
    ));
    files.push(file("assets/i18n/en.json", "application/json", translations("en")));
    files.push(file("assets/i18n/de.json", "application/json", translations("de")));
    let logo = b"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 8 8\"><path d=\"M0 0h8v8H0z\"/></svg>".to_vec();
    files.push(file("assets/images/zitadel-logo-dark.svg", "image/svg+xml", logo));
    files.push(file("assets/fonts/lato.woff2", "font/woff2", noise(24_000)));
    files
}

fn hashed(stem: &str, extension: &str, content_type: &'static str, content: Vec<u8>) -> File {
    // FNV-1a: a name that changes with the content, no more.
    let hash = content.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    File { name: format!("{stem}.{hash:016x}.{extension}"), content_type, content: content.into() }
}

/// Text that compresses about as well as minified code does.
fn script(name: &str, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(size as u64);
    let mut text = format!(
        "\"use strict\";/* {name} */(self.webpackChunkconsole=self.webpackChunkconsole||[]).push([[\"{name}\"],{{"
    );
    while text.len() < size {
        let (a, b) = (random.u32(..) % 9_973, random.u16(..));
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{a}:(e,t,n)=>{{n.d(t,{{m{b:x}:()=>c}});var r=n({});class c{{constructor(i){{this.v=i}}}}}},",
            b % 997
        );
    }
    text.push_str("}]);\n");
    text.into_bytes()
}

fn styles() -> Vec<u8> {
    let rules =
        (0..3_000).map(|n| format!(".c{n}{{margin:{}px;color:#{:06x}}}\n", n % 64, n * 4_099));
    rules.collect::<String>().into_bytes()
}

fn translations(language: &str) -> Vec<u8> {
    let lines: Vec<String> =
        (0..2_500).map(|n| format!("\"KEY{n}\":\"{language} text number {n}\"")).collect();
    format!("{{{}}}", lines.join(",")).into_bytes()
}

fn noise(size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(8);
    let mut bytes = b"wOF2".to_vec();
    bytes.extend((4..size).map(|_| random.u8(..)));
    bytes
}
