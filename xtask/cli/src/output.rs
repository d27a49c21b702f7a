//! Standard output and standard error, whose readers may go away (`| head`); the standard library's macros would panic. Nobody
//! at standard output ends the program, as it ends others. Standard error says how the work goes, which goes on unseen.

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

macro_rules! eprint {
    ($($argument:tt)*) => { $crate::output::tell(format_args!($($argument)*)) };
}

macro_rules! eprintln {
    ($($argument:tt)*) => { $crate::output::tell(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Writes to standard error, if it can.
pub fn tell(text: Arguments) {
    let _ = io::stderr().write_fmt(text);
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
