//! The command line: commands, flags, variables, and what of a configuration they override.

mod flags;
mod text;

use std::path::{Path, PathBuf};

use clap::builder::styling::{AnsiColor, Styles};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use self::flags::{FLAGS, Flag};
use self::text::{DEMO, DEV, EXAMPLES, PRECEDENCE, WARM};
use crate::admin;
use crate::config::{Override, Overrides, Source};

/// Where the file is looked for, in this order.
const FILES: [&str; 2] = ["ravelin.yaml", "/etc/ravelin/ravelin.yaml"];

/// The whole command line.
pub fn command() -> Command {
    let styles = Styles::styled()
        .header(AnsiColor::Green.on_default().bold())
        .usage(AnsiColor::Green.on_default().bold())
        .literal(AnsiColor::Cyan.on_default())
        .error(AnsiColor::Red.on_default().bold());
    let command = Command::new("ravelin")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The HTTP/2 front-end made for ZITADEL")
        .after_help(EXAMPLES)
        .styles(styles)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommand(configured(
            Command::new("run").about("Serve (also without a command)").after_help(PRECEDENCE),
        ))
        .subcommand(demo())
        .subcommand(dev())
        .subcommand(check())
        .subcommand(schema())
        .subcommand(warm())
        .subcommand(health())
        .subcommand(purge())
        .subcommand(reload())
        .subcommand(drain())
        .subcommand(undrain())
        .subcommand(completions());
    configured(command)
}

fn demo() -> Command {
    let port = Arg::new("port")
        .long("port")
        .value_name("PORT")
        .default_value("8443")
        .value_parser(value_parser!(u16))
        .help("Where to serve https; another free one if it is taken");
    Command::new("demo")
        .about("Serve a built-in stand-in for ZITADEL, to try Ravelin")
        .after_help(DEMO)
        .arg(port)
}

fn dev() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name);
    let switch = |name, help| flag(name).action(ArgAction::SetTrue).help(help);
    let port = flag("port").value_name("PORT").value_parser(value_parser!(u16));
    let name =
        flag("name").value_name("HOST").action(ArgAction::Append).value_parser(super::dev::name);
    let folder = |name| flag(name).value_name("FOLDER").value_parser(value_parser!(PathBuf));
    let every = flag("check-every").value_parser(|text: &str| humantime::parse_duration(text));
    Command::new("dev")
        .about("Serve trusted https on this machine before a ZITADEL on it")
        .after_help(DEV)
        .arg(
            Arg::new("zitadel")
                .long("upstream")
                .value_name("URL")
                .default_value("h2c://127.0.0.1:8080")
                .help("Where ZITADEL is"),
        )
        .arg(flag("login").value_name("URL").help(
            "Where its login is, if it is a container of its own, such as http://127.0.0.1:3000",
        ))
        .arg(port.default_value("8443").help("Where to serve https; 0: any"))
        .arg(
            name.help("A further host or address for the certificate, such as id.test; repeatable"),
        )
        .arg(folder("dir").default_value("certs").help("Where the CA and its certificates are"))
        .arg(switch("trust", "Make this machine and its browsers trust the CA, then serve"))
        .arg(switch("untrust", "Undo that, and end").conflicts_with("trust"))
        // For tests.
        .arg(folder("root").default_value("/").hide(true))
        .arg(every.default_value("1h").hide(true))
}

fn check() -> Command {
    let explain = Arg::new("explain")
        .long("explain")
        .value_name("HOW")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("concise")
        .value_parser(["concise", "full"])
        .help("Print the effective configuration without secrets: what differs from the defaults, or with =full all of it");
    let live = Arg::new("live")
        .long("live")
        .action(ArgAction::SetTrue)
        .conflicts_with("explain")
        .help("Ask ZITADEL and its login too: exit code 1 and one line for each disagreement");
    let check = Command::new("check").about("Report every fault of a configuration");
    configured(check.arg(explain).arg(live).after_help(PRECEDENCE))
}

fn warm() -> Command {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("warm")
        .about("Make the best coded variants of a Console ahead of time")
        .after_help(WARM)
        .arg(flag("upstream", "URL", "Where ZITADEL is: h2c://host:8080").required(true))
        .arg(flag("domain", "HOST", "A public host of it").required(true))
        .arg(
            flag("into", "DIR", "The folder that the variants go into")
                .required(true)
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(flag("path", "PATH", "The page to begin with").default_value("/ui/console/"))
        .arg(
            flag(
                "ca",
                "FILE",
                "The CA of ZITADEL's certificate, with h2:// [default: the system's]",
            )
            .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            flag("jobs", "N", "How many are coded at once [default: one for each processor]")
                .value_parser(value_parser!(u16).range(1..)),
        )
}

fn schema() -> Command {
    let reference = Arg::new("reference")
        .long("reference")
        .action(ArgAction::SetTrue)
        .help("Print the configuration reference (Markdown) instead");
    Command::new("schema").about("Print the configuration's JSON schema").arg(reference)
}

fn health() -> Command {
    calling("health", "Ask a running Ravelin whether it is ready: exit code 0 or 1")
        .after_help("Example: HEALTHCHECK CMD [\"ravelin\", \"health\"]")
}

fn reload() -> Command {
    calling(
        "reload",
        "Make a running Ravelin read its configuration again; prints what has changed",
    )
    .after_help("Exit code 64 where this command finds the faults itself, 1 where the running process does; the old configuration stays.")
}

fn drain() -> Command {
    let flag = |name: &'static str, value| Arg::new(name).long(name).value_name(value);
    let all = Arg::new("all").long("all").action(ArgAction::SetTrue);
    let what = ArgGroup::new("what").args(["cluster", "endpoint", "all"]);
    meant(calling("drain", "Give endpoints nothing new, and wait until nothing is in flight there"))
        .arg(all.conflicts_with_all(["cluster", "endpoint"]).help("Every endpoint of every cluster"))
        .group(what.multiple(true).required(true))
        .arg(flag("delay", "DURATION").help("Serve on for this long first [default: 0s]"))
        .arg(flag("timeout", "DURATION").help("How long to wait [default: 30s]"))
        .arg(
            flag("for", "DURATION")
                .help("When to take one back that does not go away [default: 10m]"),
        )
        .after_help(
            "Exit code 0 when nothing is in flight, 1 when the time is over before.\n\
             An endpoint that goes away and comes back is taken back by itself; `ravelin undrain` does it\n\
             at once. A cluster that has no endpoint left is warned of: its clients are told 503.",
        )
}

fn undrain() -> Command {
    meant(calling("undrain", "Take drained endpoints back"))
}

/// Which endpoints a call is about.
fn meant(command: Command) -> Command {
    let flag = |name: &'static str, value| Arg::new(name).long(name).value_name(value);
    command
        .arg(flag("cluster", "NAME").help("A cluster [default: all]"))
        .arg(flag("endpoint", "URL").help("An endpoint, as it is configured [default: all]"))
}

/// A command that calls a running Ravelin's admin listener.
fn calling(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).arg(config()).args(asking())
}

fn purge() -> Command {
    let address = |text: &str| {
        admin::purge::address(text).ok_or("expected an address such as https://id.example.com/x")
    };
    let name = |text: &str| {
        admin::purge::host(text)
            .ok_or("expected a host such as id.example.com, perhaps with a port")
    };
    let url = Arg::new("url").long("url").value_name("URL").value_parser(address);
    let host = Arg::new("host").long("host").value_name("HOST").value_parser(name);
    let generation = Arg::new("generation").long("generation").value_name("ID");
    let all = Arg::new("all").long("all").action(ArgAction::SetTrue);
    Command::new("purge")
        .about("Tell a running Ravelin to forget what its cache holds; says how much that was")
        .after_help("Example: ravelin purge --host id.example.com")
        .arg(url.help("One address, such as https://id.example.com/ui/console/"))
        .arg(host.help("Every address of a host: with its port, or whatever its port"))
        .arg(generation.help(
            "The hashed files of one generation of an application, as the log calls it, or \"old\": \
             of all that are no longer served",
        ))
        .arg(all.help("Everything"))
        .group(ArgGroup::new("what").args(["url", "host", "generation", "all"]).required(true))
        .arg(config())
        .args(asking())
}

fn completions() -> Command {
    let shell = Arg::new("shell").required(true).value_parser(value_parser!(Shell));
    Command::new("completions").about("Print completions for a shell").arg(shell)
}

fn config() -> Arg {
    Arg::new("config")
        .long("config")
        .short('c')
        .env("RAVELIN_CONFIG")
        .hide_env_values(true)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The configuration (YAML) [default: ravelin.yaml, /etc/ravelin/ravelin.yaml]")
}

fn configured(command: Command) -> Command {
    command.arg(config()).args(FLAGS.iter().map(flag))
}

/// What a command takes that needs no more than the admin listener's address. The rest is not for it to
/// say, but a file may be whole only with what variables add.
fn asking() -> impl Iterator<Item = Arg> {
    FLAGS.iter().map(|known| flag(known).hide(known.name != "admin"))
}

fn flag(flag: &Flag) -> Arg {
    // What a variable holds at the moment has no place in a help text.
    let arg = Arg::new(flag.name).long(flag.name).env(flag.env).hide_env_values(true);
    arg.value_name(flag.value).help(flag.help)
}

/// The configuration that arguments and variables name.
pub fn source(matches: &ArgMatches) -> Source {
    let given = matches.get_one::<PathBuf>("config").filter(|path| !path.as_os_str().is_empty());
    let file = given
        .cloned()
        .or_else(|| FILES.iter().map(Path::new).find(|path| path.exists()).map(Path::to_owned));
    Source { file, overrides: overrides(matches) }
}

fn overrides(matches: &ArgMatches) -> Overrides {
    let given = FLAGS.iter().filter_map(|flag| {
        let value = matches.try_get_one::<String>(flag.name).ok().flatten()?;
        let variable = matches.value_source(flag.name) == Some(ValueSource::EnvVariable);
        // An empty variable is how container files say that there is none.
        if variable && value.is_empty() {
            return None;
        }
        let origin = if variable { flag.env.to_owned() } else { format!("--{}", flag.name) };
        Some(Override { key: flag.key, value: value.clone(), origin })
    });
    Overrides(given.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn run_is_what_is_done_without_a_command() {
        for line in [&["ravelin", "--workers", "3"][..], &["ravelin", "run", "--workers", "3"]] {
            let matches = command().try_get_matches_from(line).unwrap();
            let below = matches.subcommand_matches("run").unwrap_or(&matches);
            let expected =
                Override { key: "workers", value: "3".into(), origin: "--workers".into() };
            assert_eq!(source(below).overrides.0, [expected]);
        }
    }
}
