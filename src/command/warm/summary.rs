//! What the codings save, as a table.

use std::fmt::Write as _;

use super::Sizes;
use super::fetch::File;
use crate::pipeline::coding::Coding;

/// Files with a line of their own; the others share one.
const LINES: usize = 12;

/// Columns, from left to right.
const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Zstd, Coding::Brotli];

/// The largest files, all others, and the sum; `files` are sorted, the largest first.
pub(super) fn table(files: &[File], sizes: &Sizes) -> String {
    let row = |range: std::ops::Range<usize>| {
        let plain: usize = files.iter().skip(range.start).take(range.len()).map(plain).sum();
        let coded = CODINGS.map(|coding| {
            let each = range.clone().zip(files.iter().skip(range.start));
            each.map(|(index, file)| *sizes.get(&(index, coding)).unwrap_or(&file.body.len())).sum()
        });
        (plain, coded)
    };
    let mut text = format!("{:<40} {:>9}", "", "plain");
    for coding in CODINGS {
        let _ = write!(text, " {:>15}", coding.name());
    }
    text.push('\n');
    for (index, file) in files.iter().enumerate().take(LINES) {
        line(&mut text, file.name(), row(index..index + 1));
    }
    if let Some(more) = files.len().checked_sub(LINES).filter(|more| *more > 0) {
        line(&mut text, &format!("{more} more"), row(LINES..files.len()));
    }
    line(&mut text, &format!("{} files", files.len()), row(0..files.len()));
    text
}

fn plain(file: &File) -> usize {
    file.body.len()
}

fn line(text: &mut String, name: &str, (plain, coded): (usize, [usize; 3])) {
    let short: String = name.chars().take(40).collect();
    let _ = write!(text, "{short:<40} {:>9}", size(plain));
    for coded in coded {
        let share = (coded * 100).checked_div(plain).unwrap_or(100);
        let _ = write!(text, " {:>9} {share:>4}%", size(coded));
    }
    text.push('\n');
}

/// A number of bytes for people.
pub(super) fn size(bytes: usize) -> String {
    let part = |unit: usize| format!("{}.{:02}", bytes / unit, bytes % unit * 100 / unit);
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", part(1_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_count_what_was_not_coded_as_it_is() {
        let file = |path: &str, size: usize| File {
            path: path.to_owned(),
            content_type: None,
            body: vec![0; size].into(),
        };
        let files = [file("/ui/main.js", 2_000_000), file("/ui/a.woff2", 24_000)];
        let mut sizes = Sizes::new();
        for (coding, size) in CODINGS.into_iter().zip([300_000, 250_000, 200_000]) {
            sizes.insert((0, coding), size);
        }
        let text = table(&files, &sizes);
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["plain", "gzip", "zstd", "br"]);
        let expected = "main.js 2.00 MB 300 kB 15% 250 kB 12% 200 kB 10%";
        assert_eq!(lines[1].join(" "), expected);
        assert_eq!(lines[2].join(" "), "a.woff2 24 kB 24 kB 100% 24 kB 100% 24 kB 100%");
        assert_eq!(lines[3].join(" "), "2 files 2.02 MB 324 kB 16% 274 kB 13% 224 kB 11%");
    }
}
