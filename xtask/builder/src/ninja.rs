//! How far a build is, by what it says.

use store::{Lines, Meter};

/// Shows ninja's `[12/71]` as progress, and the last line as a message.
pub(crate) fn follow(lines: &mut Lines, bytes: &[u8], meter: &dyn Meter) {
    lines.take(bytes, |line| {
        if let Some((position, total, rest)) = step(line) {
            meter.set(position, total);
            meter.message(rest);
        }
    });
}

/// `[12/71] Building x` to `(12, 71, "Building x")`.
fn step(line: &str) -> Option<(u64, u64, &str)> {
    let (counter, rest) = line.strip_prefix('[')?.split_once("] ")?;
    let (position, total) = counter.split_once('/')?;
    Some((position.trim().parse().ok()?, total.trim().parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ninja_steps_are_understood() {
        assert_eq!(step("[12/71] Building x"), Some((12, 71, "Building x")));
        assert_eq!(step("[info] no step"), None);
        assert_eq!(step("plain"), None);
    }
}
