//! Java class files (JVM specification, chapter 4): version, names, constants, fields, methods and attributes.

use super::{
    Comparison,
    cause::Cause,
    fact::{self, Facts},
};
use store::Digest;

/// Compares two classes.
pub fn compare(comparison: &mut Comparison, expected: &[u8], found: &[u8]) {
    match (read(expected), read(found)) {
        (Some(left), Some(right)) => fact::compare(comparison, &left, &right),
        _ => comparison.notes.push("can't be taken apart: the class is damaged".to_owned()),
    }
}

/// A reader that ends where the bytes do.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u1(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u2(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u4(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
}

/// What a constant is, as far as names are made of it.
#[derive(Clone)]
enum Constant {
    Text(String),
    Class(u16),
    Other,
}

fn read(bytes: &[u8]) -> Option<Facts> {
    let mut reader = Reader(bytes);
    let mut facts = Facts::default();
    reader.take(4)?;
    let (minor, major) = (reader.u2()?, reader.u2()?);
    facts.add_with(Cause::Tool, "headers", "version", format!("{major}.{minor}"));
    let constants = constants(&mut reader, &mut facts)?;
    let text = |index: u16| match constants.get(usize::from(index)) {
        Some(Constant::Text(text)) => text.clone(),
        Some(Constant::Class(name)) => match constants.get(usize::from(*name)) {
            Some(Constant::Text(text)) => text.clone(),
            _ => "?".to_owned(),
        },
        _ => String::new(),
    };
    facts.add("headers", "access", format!("{:#06x}", reader.u2()?));
    facts.add("headers", "class", text(reader.u2()?));
    facts.add("headers", "superclass", text(reader.u2()?));
    for _ in 0..reader.u2()? {
        facts.name("interfaces", text(reader.u2()?).as_bytes());
    }
    for place in ["fields", "methods"] {
        for _ in 0..reader.u2()? {
            let access = reader.u2()?;
            let name = format!("{} {}", text(reader.u2()?), text(reader.u2()?));
            facts.add(place, &*name, format!("access {access:#06x}"));
            for _ in 0..reader.u2()? {
                let (attribute, value) = attribute(&mut reader, &text)?;
                facts.add(place, format!("{name}: {attribute}"), value);
            }
        }
    }
    for _ in 0..reader.u2()? {
        let (attribute, value) = attribute(&mut reader, &text)?;
        facts.add("attributes", attribute, value);
    }
    Some(facts)
}

fn constants(reader: &mut Reader, facts: &mut Facts) -> Option<Vec<Constant>> {
    let count = usize::from(reader.u2()?);
    let mut constants = vec![Constant::Other];
    while constants.len() < count {
        let tag = reader.u1()?;
        let constant = match tag {
            1 => {
                let length = usize::from(reader.u2()?);
                let text = String::from_utf8_lossy(reader.take(length)?).into_owned();
                facts.name("constants", text.as_bytes());
                Constant::Text(text)
            }
            7 => Constant::Class(reader.u2()?),
            3 | 4 => {
                facts.name("constants", format!("number {:#x}", reader.u4()?).as_bytes());
                Constant::Other
            }
            5 | 6 => {
                let (high, low) = (reader.u4()?, reader.u4()?);
                facts.name(
                    "constants",
                    format!("number {:#x}", u64::from(high) << 32 | u64::from(low)).as_bytes(),
                );
                Constant::Other
            }
            8 | 16 | 19 | 20 => {
                reader.take(2)?;
                Constant::Other
            }
            9..=12 | 17 | 18 => {
                reader.take(4)?;
                Constant::Other
            }
            15 => {
                reader.take(3)?;
                Constant::Other
            }
            _ => return None,
        };
        constants.push(constant);
        // Numbers of eight bytes take two places (4.4.5).
        if matches!(tag, 5 | 6) {
            constants.push(Constant::Other);
        }
    }
    Some(constants)
}

fn attribute(reader: &mut Reader, text: &impl Fn(u16) -> String) -> Option<(String, String)> {
    let name = text(reader.u2()?);
    let length = reader.u4()? as usize;
    let content = reader.take(length)?;
    let value = match (name.as_str(), content) {
        ("SourceFile" | "Signature", [high, low]) => text(u16::from_be_bytes([*high, *low])),
        _ => format!("{length} bytes, sha256 {}…", &Digest::of(content).hex()[..16]),
    };
    Some((name, value))
}
