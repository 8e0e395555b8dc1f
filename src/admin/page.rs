//! The status page: plain HTML, no script, readable on a phone and in the dark.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use super::Phase;
use super::status::Status;

/// A certificate with fewer days left is marked: half of what ACME clients renew at.
const DAYS_SHORT: f64 = 14.0;

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Ravelin</title><style>\
:root{color-scheme:light dark;--line:#8884;--dim:#777}\
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.4rem;margin:0}h2{font-size:1rem;margin:2rem 0 .3rem}p{margin:.2rem 0}\
.dim{color:var(--dim)}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
th{font-weight:500;color:var(--dim)}td{overflow-wrap:anywhere}\
.n{text-align:right;font-variant-numeric:tabular-nums}\
.good{color:#18794e}.bad{color:#cd2b31;font-weight:600}\
.warn{border-left:4px solid #cd2b31;padding:.5rem .8rem;margin:1rem 0;background:#cd2b3118}\
@media(prefers-color-scheme:dark){.good{color:#4cc38a}.bad{color:#ff6369}}\
</style></head><body>";

/// The page.
pub(super) fn render(status: &Status, phase: Phase) -> String {
    let mut out = String::from(HEAD);
    put(&mut out, format_args!("<h1>Ravelin {}</h1>", Escaped(&status.version)));
    let tone = if phase == Phase::Ready { "good" } else { "bad" };
    put(
        &mut out,
        format_args!(
            "<p><span class=\"{tone}\">{}</span> <span class=\"dim\">· up {} · {} in flight · \
             <a href=\"/metrics\">metrics</a></span></p>",
            phase.label(),
            uptime(status.uptime),
            status.in_flight,
        ),
    );
    for warning in &status.warnings {
        put(&mut out, format_args!("<p class=\"warn\">{}</p>", Escaped(warning)));
    }
    listeners(&mut out, status);
    routes(&mut out, status);
    clusters(&mut out, status);
    certificates(&mut out, status);
    out.push_str("</body></html>\n");
    out
}

fn listeners(out: &mut String, status: &Status) {
    table(out, "Listeners", &["Name", "Address", "Speaks", "#Connections"], |out| {
        for listener in &status.listeners {
            row(out, &[&listener.name, &listener.address, &listener.transport]);
            put(out, format_args!("<td class=\"n\">{}</td></tr>", listener.connections));
        }
    });
}

fn routes(out: &mut String, status: &Status) {
    table(out, "Routes", &["Name", "When", "Then"], |out| {
        for route in &status.routes {
            row(out, &[&route.name, &route.when, &route.action]);
            out.push_str("</tr>");
        }
    });
}

fn clusters(out: &mut String, status: &Status) {
    table(out, "Clusters", &["Cluster", "Endpoint", "State", "#Connections"], |out| {
        for cluster in &status.clusters {
            for endpoint in &cluster.endpoints {
                row(out, &[&cluster.name, &endpoint.address]);
                let tone = if endpoint.usable { "good" } else { "bad" };
                let (state, open) = (Escaped(&endpoint.state), endpoint.connections);
                put(
                    out,
                    format_args!(
                        "<td class=\"{tone}\">{state}</td><td class=\"n\">{open}</td></tr>"
                    ),
                );
            }
        }
    });
}

fn certificates(out: &mut String, status: &Status) {
    table(out, "Certificates", &["Listener", "Names", "#Days left"], |out| {
        for certificate in &status.certificates {
            row(out, &[&certificate.listener, &certificate.names.join(", ")]);
            let tone = if certificate.days_left < DAYS_SHORT { " bad" } else { "" };
            let days = certificate.days_left.floor();
            put(out, format_args!("<td class=\"n{tone}\">{days}</td></tr>"));
        }
    });
}

/// A headed table; a column whose name begins with `#` holds numbers.
fn table(out: &mut String, title: &str, columns: &[&str], rows: impl FnOnce(&mut String)) {
    put(out, format_args!("<h2>{title}</h2><table><thead><tr>"));
    for column in columns {
        match column.strip_prefix('#') {
            Some(number) => put(out, format_args!("<th class=\"n\" scope=\"col\">{number}</th>")),
            None => put(out, format_args!("<th scope=\"col\">{column}</th>")),
        }
    }
    out.push_str("</tr></thead><tbody>");
    let before = out.len();
    rows(out);
    if out.len() == before {
        put(
            out,
            format_args!("<tr><td class=\"dim\" colspan=\"{}\">none</td></tr>", columns.len()),
        );
    }
    out.push_str("</tbody></table>");
}

/// Begins a row.
fn row(out: &mut String, cells: &[&str]) {
    out.push_str("<tr>");
    for cell in cells {
        put(out, format_args!("<td>{}</td>", Escaped(cell)));
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a string cannot fail.
    let _ = out.write_fmt(text);
}

fn uptime(uptime: Duration) -> impl Display {
    humantime::format_duration(Duration::from_secs(uptime.as_secs()))
}

/// Text within HTML.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}
