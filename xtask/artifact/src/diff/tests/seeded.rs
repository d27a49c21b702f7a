//! Archives in archives that are made by chance, with one change somewhere in one member: it is named where it is, with its section,
//! symbol and byte, and nothing else is.

use super::*;

/// The seeds that run always.
const SEEDS: u64 = 150;

/// A sequence that is the same everywhere (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % below
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}

/// Both sides of a file, and what has to be named.
struct Pair {
    left: Vec<u8>,
    right: Vec<u8>,
    /// The members that lead to it.
    path: String,
    place: String,
    /// What, where it is not a number of bytes.
    what: Option<String>,
    symbol: Option<String>,
}

/// An object with one byte of code or data that differs.
fn objects(random: &mut Random) -> Pair {
    let format = [BinaryFormat::Elf, BinaryFormat::Coff][random.below(2)];
    let (mut code, mut data) = (random.bytes(64), random.bytes(96));
    let left = object(format, &code, &data);
    let (at, change) = (random.below(64), 1 + random.below(255) as u8);
    let is_code = random.below(2) == 0;
    match is_code {
        true => code[at] ^= change,
        false => data[at] ^= change,
    }
    let symbol = if at == 0 { "greet".to_owned() } else { format!("greet+{at:#x}") };
    Pair {
        left,
        right: object(format, &code, &data),
        path: String::new(),
        place: if is_code { "section .text" } else { "section .rdata" }.to_owned(),
        what: None,
        symbol: is_code.then_some(symbol),
    }
}

fn dlls(random: &mut Random) -> Pair {
    let mut data = random.bytes(0x180);
    let left = pe(0, 0, &data);
    data[random.below(0x180)] ^= 1 + random.below(255) as u8;
    Pair {
        left,
        right: pe(0, 0, &data),
        path: String::new(),
        place: "section .rdata".to_owned(),
        what: None,
        symbol: None,
    }
}

fn libraries(random: &mut Random) -> Pair {
    let inner = objects(random);
    let others: Vec<Vec<u8>> =
        (0..1 + random.below(4)).map(|_| object(BinaryFormat::Elf, b"\xc3", b"x")).collect();
    let at = random.below(others.len() + 1);
    let names: Vec<String> = (0..=others.len()).map(|index| format!("{index}.o")).collect();
    let side = |changed: &Vec<u8>| {
        let mut members: Vec<&[u8]> = others.iter().map(Vec::as_slice).collect();
        members.insert(at, changed);
        let members: Vec<_> = names.iter().zip(members).map(|(name, it)| (name.as_str(), "0", it)).collect();
        library(&members)
    };
    let (left, right) = (side(&inner.left), side(&inner.right));
    Pair { left, right, path: format!(" > {at}.o (member {})", at + 1), ..inner }
}

fn texts(random: &mut Random) -> Pair {
    let mut lines: Vec<String> =
        (0..1 + random.below(30)).map(|index| format!("line {index} of words")).collect();
    let at = random.below(lines.len());
    let text = |lines: &[String]| (lines.join("\n") + "\n").into_bytes();
    let left = text(&lines);
    lines[at].push_str(", and more");
    Pair {
        left,
        right: text(&lines),
        path: String::new(),
        place: "lines".to_owned(),
        what: Some(format!("line {}", at + 1)),
        symbol: None,
    }
}

fn values(random: &mut Random) -> Pair {
    let count = 1 + random.below(9);
    let (at, below) = (random.below(count), random.below(3));
    let json = |changed: &str| {
        let values = (0..count).map(|index| {
            let value = if index == at { changed } else { "same" };
            let nested = (0..below).fold(serde_json::json!(value), |it, _| serde_json::json!({ "in": it }));
            (format!("key{index}"), nested)
        });
        serde_json::Value::Object(values.collect()).to_string().into_bytes()
    };
    Pair {
        left: json("one"),
        right: json("two"),
        path: String::new(),
        place: "values".to_owned(),
        what: Some(format!("/key{at}{}", "/in".repeat(below))),
        symbol: None,
    }
}

/// Puts both sides into an archive beside others that are the same.
fn packed(random: &mut Random, inner: Pair) -> Pair {
    let others: Vec<Vec<u8>> = (0..random.below(5)).map(|_| random.bytes(40)).collect();
    let at = random.below(others.len() + 1);
    let names: Vec<String> = (0..=others.len()).map(|index| format!("directory/{index}.x")).collect();
    let kind = random.below(4);
    let side = |changed: &Vec<u8>| {
        let mut contents: Vec<&[u8]> = others.iter().map(Vec::as_slice).collect();
        contents.insert(at, changed);
        let members: Vec<_> = names.iter().map(String::as_str).zip(contents).collect();
        match kind {
            0 => tar(&members, |_| ()),
            1 => gzip(&tar(&members, |_| ()), 0),
            2 => zip(&members, plain()),
            _ => zip(&members, plain().compression_method(zip::CompressionMethod::Stored)),
        }
    };
    let (left, right) = (side(&inner.left), side(&inner.right));
    Pair { left, right, path: format!(" > {}{}", names[at], inner.path), ..inner }
}

#[test]
fn one_change_by_chance_is_named_where_it_is_and_nothing_else() {
    let seeds = std::env::var("MLC_REPRO_SEEDS").map_or(SEEDS, |text| text.parse().unwrap());
    for seed in 0..seeds {
        let random = &mut Random(seed);
        let kinds = [objects, dlls, libraries, texts, values];
        let kind = random.below(kinds.len());
        let mut pair = kinds[kind](random);
        let (plain_left, plain_right) = (pair.left.clone(), pair.right.clone());
        for _ in 0..random.below(4) {
            pair = packed(random, pair);
        }
        let comparison = compare_bytes("x", &pair.left, &pair.right);
        let all = changes(&comparison);
        let path = format!("x{}", pair.path);
        let fits = |(found, it): &&(String, Change)| {
            *found == path
                && it.place == pair.place
                && (pair.symbol.is_none() || it.symbol == pair.symbol)
                && pair.what.as_ref().is_none_or(|what| *what == it.what)
        };
        let told = || format!("seed {seed}: {path}, {} {:?} in {all:#?}", pair.place, pair.symbol);
        let Some((_, change)) = all.iter().find(fits) else { panic!("{}", told()) };
        // The offset is that of the byte, in the file itself.
        if let (Some(offset), 0 | 1) = (change.offset, kind) {
            let first = plain_left.iter().zip(&plain_right).position(|(a, b)| a != b);
            assert_eq!(Some(offset as usize), first, "{}", told());
        }
        assert!(all.iter().all(|(found, _)| *found == path), "{}", told());
        assert!(compare_bytes("x", &pair.left, &pair.left).same, "seed {seed}");
    }
}
