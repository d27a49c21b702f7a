//! Static and import libraries (the `ar` format): headers of members, then the members.

use super::{
    Change, Comparison, Work,
    cause::Cause,
    fact::{self, Facts},
    inside,
};
use object::read::archive::ArchiveFile;

/// Members that are looked at.
const MOST_MEMBERS: usize = 1 << 18;

struct Member<'a> {
    name: String,
    data: &'a [u8],
}

/// Compares two libraries.
pub fn compare(comparison: &mut Comparison, expected: &[u8], found: &[u8], work: &mut Work, depth: usize) {
    let (Some((left, left_facts)), Some((right, right_facts))) = (read(expected), read(found)) else {
        comparison.notes.push("can't be taken apart: its members are damaged".to_owned());
        return;
    };
    fact::compare(comparison, &left_facts, &right_facts);
    // Members of import libraries all have the DLL's name, so they are told apart by their number.
    let mut used = vec![false; right.len()];
    for (index, member) in left.iter().enumerate() {
        let other = match right.get(index).filter(|other| other.name == member.name) {
            Some(_) => Some(index),
            None => right.iter().enumerate().position(|(at, other)| !used[at] && other.name == member.name),
        };
        let Some(other) = other else { continue };
        used[other] = true;
        if member.data != right[other].data {
            let name = format!("{} (member {})", member.name, index + 1);
            comparison.members.push(inside(&name, member.data, right[other].data, work, depth + 1));
        }
    }
    if comparison.changes.is_empty() && comparison.members.is_empty() {
        comparison.add(Change {
            place: "container".to_owned(),
            what: "index of symbols, padding or names".to_owned(),
            cause: Some(Cause::Compression),
            ..Change::default()
        });
    }
}

fn read(bytes: &[u8]) -> Option<(Vec<Member<'_>>, Facts)> {
    let archive = ArchiveFile::parse(bytes).ok()?;
    let (mut members, mut facts) = (Vec::new(), Facts::default());
    for member in archive.members().take(MOST_MEMBERS) {
        let member = member.ok()?;
        let name = String::from_utf8_lossy(member.name()).into_owned();
        facts.name("members", member.name());
        let mut number = |cause, what: &str, value: Option<u64>| {
            let value = value.unwrap_or_default();
            // Modes are read in octal digits.
            let value = if cause == Cause::Permissions { format!("{value:04o}") } else { value.to_string() };
            facts.add_with(cause, fact::MEMBER_HEADERS, format!("{name}: {what}"), value);
        };
        number(Cause::TimeStamp, "time stamp", member.date());
        number(Cause::UserName, "owner", member.uid());
        number(Cause::UserName, "group", member.gid());
        number(Cause::Permissions, "mode", member.mode());
        members.push(Member { name, data: member.data(bytes).ok()? });
    }
    Some((members, facts))
}
