//! How far a build is, by what it says.

use store::Meter;

/// Shows ninja's `[12/71]` as progress, and the last line as a message.
pub(crate) fn follow(line: &mut Vec<u8>, bytes: &[u8], meter: &dyn Meter) {
    for &byte in bytes {
        if byte != b'\n' && byte != b'\r' {
            // A line longer than a screen is of no use here.
            if line.len() < 400 {
                line.push(byte);
            }
            continue;
        }
        let text = String::from_utf8_lossy(line);
        if let Some((position, total, rest)) = step(&text) {
            meter.set(position, total);
            meter.message(rest);
        }
        line.clear();
    }
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
