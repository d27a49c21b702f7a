//! Standard output. A reader that has seen enough (`| head`) ends the program, as it ends others; the standard library's macros
//! would panic.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write as _};
use std::process;

/// 128 and the number of SIGPIPE: what a shell reports of a program that the signal ended.
const BROKEN_PIPE: i32 = 141;

macro_rules! print {
    ($($argument:tt)*) => { $crate::output::write(format_args!($($argument)*)) };
}

macro_rules! println {
    () => { $crate::output::write(format_args!("\n")) };
    ($($argument:tt)*) => { $crate::output::write(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Writes to standard output. Does not return when it can't: exits with 141 where nobody reads, and with 1 otherwise.
pub fn write(text: Arguments) {
    if let Err(error) = io::stdout().write_fmt(text) {
        if error.kind() == ErrorKind::BrokenPipe {
            process::exit(BROKEN_PIPE);
        }
        eprintln!("error: cannot write to standard output: {error}");
        process::exit(1);
    }
}
