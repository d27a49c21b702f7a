//! Standard output and standard error, whose readers may go away (`| head`); the standard library's macros would panic. Nobody
//! at standard output ends the program, as it ends others. Standard error says how the work goes, which goes on unseen.
//!
//! Whatever is printed comes by way of here, so that no name out of a stranger's file reaches the terminal as a command.

use crate::{error::error_text, place::Place};
use std::fmt::{self, Arguments};
use std::io::{self, ErrorKind, Write as _};
use std::process;
use store::printable_lines;

/// 128 and the number of SIGPIPE: what a shell reports of a program that the signal ended.
const BROKEN_PIPE: i32 = 141;

macro_rules! print {
    ($($argument:tt)*) => { $crate::output::write(format_args!($($argument)*)) };
}

macro_rules! println {
    () => { $crate::output::write(format_args!("\n")) };
    ($($argument:tt)*) => { $crate::output::write(format_args!("{}\n", format_args!($($argument)*))) };
}

macro_rules! eprint {
    ($($argument:tt)*) => { $crate::output::tell(format_args!($($argument)*)) };
}

macro_rules! eprintln {
    ($($argument:tt)*) => { $crate::output::tell(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Writes to standard error, if it can.
pub fn tell(text: Arguments) {
    let _ = Printable(io::stderr().lock()).write(text);
}

/// Writes to standard error as it is: what a place for progress wants, made by [`Place`] out of printable text.
pub fn tell_raw(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Writes an error to standard error, in colour where that is on.
pub fn tell_error(place: Place, error: &anyhow::Error) {
    let text = place.quoted(&error_text(error));
    if place != Place::Terminal || !console::colors_enabled_stderr() {
        return tell_raw(&text);
    }
    let painted: String = text.lines().map(|line| paint(line) + "\n").collect();
    tell_raw(&painted);
}

/// The word that begins a line of an error, in its colour.
fn paint(line: &str) -> String {
    for (word, colour) in [("error:", "1;31"), ("  caused by:", "1"), ("  hint:", "1;36")] {
        if let Some(rest) = line.strip_prefix(word) {
            return format!("\x1b[{colour}m{word}\x1b[0m{rest}");
        }
    }
    line.to_owned()
}

/// Writes to standard output. Does not return when it can't: exits with 141 where nobody reads, and with 1 otherwise.
pub fn write(text: Arguments) {
    let result = Printable(io::stdout().lock()).write(text);
    if let Err(error) = result {
        if error.kind() == ErrorKind::BrokenPipe {
            process::exit(BROKEN_PIPE);
        }
        eprintln!("error: cannot write to standard output: {error}");
        process::exit(1);
    }
}

/// Where what `tracing` says goes.
pub struct Traces;

impl io::Write for Traces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        eprint!("{}", String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Escapes what passes through it, a piece of text at a time; characters come whole.
struct Printable<W>(W);

impl<W: io::Write> Printable<W> {
    fn write(mut self, text: Arguments) -> io::Result<()> {
        let mut pieces = Pieces { writer: &mut self.0, result: Ok(()) };
        let _ = fmt::write(&mut pieces, text);
        pieces.result
    }
}

struct Pieces<'a, W> {
    writer: &'a mut W,
    result: io::Result<()>,
}

impl<W: io::Write> fmt::Write for Pieces<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.result = write!(self.writer, "{}", printable_lines(text));
        if self.result.is_ok() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_colours_at_the_start_of_lines() {
        assert_eq!(paint("error: x error: y"), "\x1b[1;31merror:\x1b[0m x error: y");
        assert_eq!(paint("  hint: x"), "\x1b[1;36m  hint:\x1b[0m x");
        assert_eq!(paint("plain error: x"), "plain error: x");
    }

    #[test]
    fn what_is_printed_commands_no_terminal() {
        let mut bytes = Vec::new();
        Printable(&mut bytes).write(format_args!("PASS  {}\n", "a\u{1b}[2Jb\u{202e}c\u{9b}")).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "PASS  a\\u001b[2Jb\\u202ec\\u009b\n");
    }
}
