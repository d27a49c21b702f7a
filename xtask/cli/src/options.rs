//! Which of the options of all commands a command reads. The others are refused, and stay out of its help.

use crate::events::{self, Json};
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches, error::ErrorKind, parser::ValueSource};

const STORE: &[&str] = &["store"];
const HASHING: &[&str] = &["verify_inputs", "verify_age"];
const FETCHING: &[&str] = &["offline", "vendored", "mirrors", "accept_license"];
const JOBS: &[&str] = &["jobs"];
const BACKEND: &[&str] = &["backend", "limits"];
const REMOTE: &[&str] = &[
    "remote",
    "remote_jobs",
    "remote_properties",
    "remote_instance",
    "remote_header_file",
    "tls_ca",
    "tls_certificate",
    "tls_key",
    "remote_retries",
    "remote_timeout",
];
const SYSROOT: &[&str] = &["sysroot"];
const JSON: &[&str] = &["json"];
/// What every command reads.
const ALWAYS: [&str; 3] = ["progress", "quiet", "verbose"];

/// Commands by their names, with what they read. One that is not here, nor any above it, reads everything.
const READS: &[(&str, &[&[&str]])] = &[
    ("fetch", &[STORE, FETCHING, SYSROOT, JSON]),
    ("vendor", &[STORE, HASHING, FETCHING, SYSROOT, JSON]),
    ("lock check", &[STORE, FETCHING, SYSROOT, JSON]),
    ("lock update", &[STORE, FETCHING, JSON]),
    ("environment list", &[JSON]),
    ("environment build", &[STORE, HASHING, FETCHING, JSON]),
    ("environment shell", &[STORE, HASHING, FETCHING, JOBS, BACKEND]),
    ("environment export", &[STORE, HASHING, FETCHING, JSON]),
    ("store gc", &[STORE, JSON]),
    ("store fsck", &[STORE, JSON]),
    ("store path", &[STORE, JSON]),
    ("store du", &[STORE, JSON]),
    ("attest", &[SYSROOT, JSON]),
    ("graph", &[SYSROOT, JSON]),
    ("matrix", &[JSON]),
    ("patch", &[STORE, JSON]),
    ("model", &[STORE, HASHING, FETCHING, JOBS, JSON]),
    ("publish", &[STORE, HASHING, FETCHING, JOBS, BACKEND, REMOTE, SYSROOT, JSON]),
    ("log", &[STORE, JSON]),
    ("explain", &[STORE, SYSROOT, JSON]),
    ("artifact", &[JSON]),
    ("doctor", &[STORE, HASHING, FETCHING, BACKEND, REMOTE, SYSROOT, JSON]),
    ("ci", &[JSON]),
    ("completions", &[]),
    ("complete", &[]),
    ("man", &[]),
];

/// The command line, as it is parsed and described.
pub fn command_line() -> Command {
    let command = crate::Arguments::command();
    let options: Vec<Arg> =
        command.get_arguments().filter(|option| option.is_global_set()).cloned().collect();
    unset_empty(hide(command, "", &options))
}

/// A variable that is empty counts as one that is not set: CI services set what has no value so.
fn unset_empty(command: Command) -> Command {
    let is_empty =
        |option: &Arg| option.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    let empty: Vec<String> = command
        .get_arguments()
        .filter(|option| is_empty(option))
        .map(|option| option.get_id().to_string())
        .collect();
    let command = empty
        .iter()
        .fold(command, |command, id| command.mut_arg(id, |option| option.env(None::<&'static str>)));
    command.mut_subcommands(unset_empty)
}

/// Reads the arguments of this process, and which command they name. What is wrong with them ends it, with status 2.
pub fn parse() -> (crate::Arguments, String) {
    let mut command = command_line();
    let matches = match command.try_get_matches_from_mut(std::env::args_os()) {
        Ok(matches) => matches,
        Err(error) => end(&error),
    };
    let name = innermost(&matches).0;
    let arguments =
        refuse_foreign(&mut command, &matches).and_then(|()| crate::Arguments::from_arg_matches(&matches));
    match arguments {
        Ok(arguments) => (arguments, name),
        Err(error) => end(&error.format(&mut command)),
    }
}

/// Ends this process with what clap says: help and versions are no errors.
fn end(error: &clap::Error) -> ! {
    if error.use_stderr() {
        tell_usage(error);
    }
    error.exit()
}

/// Tells programs of a wrong command line, where `--json` stands in it.
fn tell_usage(error: &clap::Error) {
    let is_named = |name: &str| std::env::args_os().any(|word| word == *name);
    let json = match (is_named("--json=events"), is_named("--json") || is_named("--json=document")) {
        (true, _) => Json::Events,
        (_, true) => Json::Document,
        _ => return,
    };
    let text = error.render().to_string();
    let text = anyhow::anyhow!("{}", text.trim().trim_start_matches("error: "));
    events::open(Some(json), "");
    events::finish(Some(json), Err(&text));
}

/// The command that is run: its names, and its own arguments.
fn innermost(matches: &ArgMatches) -> (String, &ArgMatches) {
    let (mut path, mut level) = (String::new(), matches);
    while let Some((name, below)) = level.subcommand() {
        (path, level) = (join(&path, name), below);
    }
    (path, level)
}

/// Hides the options that the command at `path`, or all that stand below it, do not read.
fn hide(command: Command, path: &str, options: &[Arg]) -> Command {
    command.mut_subcommands(|mut below| {
        let path = join(path, below.get_name());
        let leaves = leaves(&below, &path);
        for option in options {
            if leaves.iter().all(|leaf| !is_read(leaf, option.get_id().as_str())) {
                // What stands here already is not taken over from above.
                below = below.arg(option.clone().hide(true));
            }
        }
        hide(below, &path, options)
    })
}

/// The commands that can be run at or below a path.
fn leaves(command: &Command, path: &str) -> Vec<String> {
    let mut below = command.get_subcommands().peekable();
    if below.peek().is_none() {
        return vec![path.to_owned()];
    }
    below.flat_map(|command| leaves(command, &join(path, command.get_name()))).collect()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path} {name}") }
}

fn is_read(path: &str, option: &str) -> bool {
    let is_above =
        |name: &str| path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    match READS.iter().find(|(name, _)| is_above(name)) {
        Some((_, read)) => ALWAYS.contains(&option) || read.iter().any(|options| options.contains(&option)),
        None => true,
    }
}

/// Errors: an option is given to a command that does not read it.
fn refuse_foreign(command: &mut Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let options: Vec<Arg> =
        command.get_arguments().filter(|option| option.is_global_set()).cloned().collect();
    let (path, level) = innermost(matches);
    for option in options {
        let id = option.get_id().as_str();
        let is_given = level.value_source(id) == Some(ValueSource::CommandLine);
        if is_given && !is_read(&path, id) {
            let long = option.get_long().unwrap_or(id);
            let text = format!("`{path}` does not take `--{long}`, since it would change nothing");
            return Err(command.error(ErrorKind::UnknownArgument, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(words: &[&str]) -> Option<String> {
        let mut command = command_line();
        let matches = command.try_get_matches_from_mut([&["xtask"], words].concat()).unwrap();
        refuse_foreign(&mut command, &matches).err().map(|error| error.to_string())
    }

    #[test]
    fn an_option_that_a_command_does_not_read_is_refused() {
        for (words, option) in [
            (&["graph", "--offline"][..], "--offline"),
            (&["--offline", "graph"], "--offline"),
            (&["store", "du", "--backend", "nix"], "--backend"),
            (&["environment", "shell", "linux", "--json"], "--json"),
            (&["environment", "list", "-j", "2"], "--jobs"),
            (&["completions", "bash", "--json=events"], "--json"),
        ] {
            let error = refused(words).unwrap_or_else(|| panic!("{words:?} is taken"));
            assert!(error.contains(&format!("does not take `{option}`")), "{error}");
        }
        for words in [
            &["graph", "--json"][..],
            &["--json", "store", "du", "--store", "/x"],
            &["release", "--offline", "--backend", "nix", "-j", "2", "--json", "-v"],
            &["environment", "shell", "linux", "-j", "2"],
            &["model", "verify", "x", "--json", "--quiet"],
        ] {
            assert_eq!(refused(words), None, "{words:?}");
        }
    }

    #[test]
    fn help_shows_what_is_read_alone() {
        let mut command = command_line();
        command.build();
        let mut help = |path: &[&str]| {
            let found = path.iter().fold(&mut command, |at, name| at.find_subcommand_mut(name).unwrap());
            found.clone().render_long_help().to_string()
        };
        let graph = help(&["graph"]);
        assert!(
            graph.contains("--json") && graph.contains("--sysroot") && !graph.contains("--offline"),
            "{graph}"
        );
        let shell = help(&["environment", "shell"]);
        assert!(shell.contains("--jobs") && !shell.contains("--json"), "{shell}");
        assert!(help(&["release"]).contains("--offline"));
    }

    #[test]
    fn the_table_names_commands_and_options_that_there_are() {
        let command = crate::Arguments::command();
        for (path, read) in READS {
            let found = path.split(' ').try_fold(&command, |at, name| at.find_subcommand(name));
            assert!(found.is_some(), "there is no `{path}`");
            for id in read.iter().flat_map(|options| options.iter()).chain(&ALWAYS) {
                assert!(
                    command.get_arguments().any(|option| option.get_id() == id),
                    "there is no option {id}"
                );
            }
        }
    }
}
