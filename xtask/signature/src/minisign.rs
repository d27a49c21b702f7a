//! minisign's files (its manual page describes them): keys, and signatures of whole files.

use crate::{Passphrase, PublicKey, SecretKey, secret::random};
use anyhow::{Context, Result, anyhow, ensure};
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use blake2::{Blake2b, Blake2b512, Digest, digest::consts::U32};
use scrypt::{Params, scrypt};
use std::fmt;
use store::hinted;
use zeroize::Zeroizing;

const COMMENT: &str = "untrusted comment: ";
const TRUSTED: &str = "trusted comment: ";

/// Of keys, and of signatures that were made without hashing the file first.
const PLAIN: [u8; 2] = *b"Ed";
/// Of signatures of a file's BLAKE2b-512.
const HASHED: [u8; 2] = *b"ED";

/// What a passphrase costs: libsodium's numbers for 128 MiB of memory, and half a second.
const OPERATIONS: u64 = 1 << 22;
const MEMORY: u64 = 1 << 27;
/// The most memory that a key file may ask for: what minisign itself asks for.
const MOST_MEMORY: u64 = 1 << 30;

/// The longest signature file, in bytes. minisign reads comments of 8,192.
const LARGEST: usize = 32 << 10;

/// A file `NAME.minisig`: a signature of a whole file, and a comment that is signed as well.
#[derive(Clone, PartialEq, Eq)]
pub struct Minisignature {
    id: [u8; 8],
    signature: [u8; 64],
    comment: String,
    /// Of the signature and the comment.
    global: [u8; 64],
}

impl fmt::Debug for Minisignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Minisignature({})", self.key_id())
    }
}

impl Minisignature {
    /// Signs a file's content, hashed first as minisign does. The comment is one line, and is signed.
    ///
    /// # Errors
    /// If the comment is not one line.
    pub fn sign(key: &SecretKey, content: &[u8], comment: &str) -> Result<Self> {
        ensure!(is_line(comment), "the comment of a signature is one line of text");
        let signature = fixed(&key.sign(&Blake2b512::digest(content)))?;
        let global = fixed(&key.sign(&[&signature[..], comment.as_bytes()].concat()))?;
        Ok(Self { id: key.minisign_id(), signature, comment: comment.to_owned(), global })
    }

    /// Reads a signature file.
    ///
    /// # Errors
    /// If it is not one, or of the kind that old versions of minisign made, which do not hash the file first.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(text.len() <= LARGEST, "it is too long for a signature");
        let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
        let [untrusted, first, trusted, second] = lines.as_slice() else {
            anyhow::bail!("it has {} lines, and a signature of minisign has 4", lines.len());
        };
        ensure!(untrusted.starts_with(COMMENT), "its first line is not a comment of minisign");
        let comment = trusted.strip_prefix(TRUSTED).context("its third line is not a trusted comment")?;
        ensure!(is_line(comment) && is_line(untrusted), "its comments are not text");
        let first: [u8; 74] = decoded(first).context("its second line is not a signature")?;
        let global = decoded(second).context("its fourth line is not a signature")?;
        ensure!(
            first[..2] != PLAIN,
            hinted(
                "it is of an old kind, that signs the file without hashing it",
                "sign again with a newer minisign"
            )
        );
        ensure!(first[..2] == HASHED, "it is not of the algorithm ED");
        let (id, signature) = (fixed(&first[2..10])?, fixed(&first[10..])?);
        Ok(Self { id, signature, comment: comment.to_owned(), global })
    }

    /// The file's text, with this comment that is not signed.
    pub fn to_text(&self, untrusted: &str) -> String {
        let first = BASE64.encode([&HASHED[..], &self.id, &self.signature].concat());
        let global = BASE64.encode(self.global);
        format!("{COMMENT}{untrusted}\n{first}\n{TRUSTED}{}\n{global}\n", self.comment)
    }

    /// Whether both signatures are this key's, of the content and of the comment.
    pub fn verifies(&self, key: &PublicKey, content: &[u8]) -> bool {
        key.verifies(&Blake2b512::digest(content), &self.signature)
            && key.verifies(&[&self.signature[..], self.comment.as_bytes()].concat(), &self.global)
    }

    /// The name of the key as minisign shows it; a hint that is not signed.
    pub fn key_id(&self) -> String {
        shown_id(self.id)
    }

    /// The comment, which can be believed once the signature is checked.
    pub fn comment(&self) -> &str {
        &self.comment
    }
}

/// minisign shows the eight bytes as one number.
fn shown_id(id: [u8; 8]) -> String {
    format!("{:016X}", u64::from_le_bytes(id))
}

fn is_line(text: &str) -> bool {
    !text.chars().any(|character| character.is_control() && character != '\t')
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| anyhow!("it has {} bytes, not {N}", bytes.len()))
}

fn decoded<const N: usize>(line: &str) -> Result<[u8; N]> {
    fixed(&BASE64.decode(line).map_err(|_| anyhow!("it is not Base64"))?)
}

/// The line with the key: with a comment before it, or alone.
fn key_line(text: &str) -> Result<&str> {
    const WHY: &str = "it is neither a key in PEM nor one of minisign";
    let lines: Vec<&str> = text.lines().collect();
    match lines.as_slice() {
        [line] => Ok(line.trim()),
        [comment, line] if comment.starts_with(COMMENT) => Ok(line.trim()),
        _ => Err(anyhow!(WHY)),
    }
}

/// Reads a public key of minisign.
pub fn parse_public(text: &str) -> Result<PublicKey> {
    let bytes: [u8; 42] =
        decoded(key_line(text)?).map_err(|_| anyhow!("it is neither a key in PEM nor one of minisign"))?;
    ensure!(bytes[..2] == PLAIN, "it is not a key of minisign for ed25519");
    PublicKey::new(fixed(&bytes[10..])?)
}

/// A public key as minisign writes it.
pub fn public_text(key: &PublicKey, id: [u8; 8]) -> String {
    let line = BASE64.encode([&PLAIN[..], &id, key.bytes()].concat());
    format!("{COMMENT}minisign public key {}\n{line}\n", shown_id(id))
}

/// A secret key of minisign: its seed and its name.
pub fn parse_secret(
    text: &str,
    passphrase: &mut dyn FnMut() -> Result<Passphrase>,
) -> Result<(Zeroizing<[u8; 32]>, [u8; 8])> {
    let line = key_line(text)?;
    ensure!(parse_public(line).is_err(), "it is a public key, and signing needs the secret one");
    let bytes: Zeroizing<[u8; 158]> = decoded(line)
        .map(Zeroizing::new)
        .map_err(|_| anyhow!("it is neither a key in PEM nor one of minisign"))?;
    ensure!(bytes[..2] == PLAIN && &bytes[4..6] == b"B2", "it is not a key of minisign for ed25519");
    let mut secret: Zeroizing<[u8; 104]> = Zeroizing::new(fixed(&bytes[54..])?);
    let is_encrypted = match &bytes[2..4] {
        b"Sc" => true,
        [0, 0] => false,
        _ => anyhow::bail!("it is encrypted in a way that is not known here"),
    };
    if is_encrypted {
        let cost = |from: usize| fixed(&bytes[from..from + 8]).map(u64::from_le_bytes);
        mask(&mut secret, &passphrase()?, &bytes[6..38], (cost(38)?, cost(46)?))?;
    }
    let (id, key, sum) = (&secret[..8], &secret[8..72], &secret[72..]);
    let right = sum_of(&[&PLAIN, id, key]);
    // A plain key of some programs has no sum, and is checked by its public half below.
    ensure!(!is_encrypted || right[..] == *sum, "the passphrase is not the key's");
    let seed = Zeroizing::new(fixed::<32>(&key[..32])?);
    ensure!(SecretKey::from_seed(*seed).public().bytes() == &key[32..], "its halves do not belong together");
    Ok((seed, fixed(id)?))
}

/// A secret key as minisign writes it.
pub fn secret_text(
    seed: &[u8; 32],
    public: &PublicKey,
    id: [u8; 8],
    passphrase: Option<&Passphrase>,
) -> Result<Zeroizing<String>> {
    let sum = sum_of(&[&PLAIN, &id, seed, public.bytes()]);
    let mut secret = Zeroizing::new([0; 104]);
    for (to, from) in secret.iter_mut().zip(id.iter().chain(seed).chain(public.bytes()).chain(&sum)) {
        *to = *from;
    }
    let salt = random::<32>()?;
    let (kind, costs) = match passphrase {
        Some(passphrase) => {
            mask(&mut secret, passphrase, &salt, (OPERATIONS, MEMORY))?;
            (*b"Sc", (OPERATIONS, MEMORY))
        }
        None => ([0, 0], (0, 0)),
    };
    let head = [&PLAIN[..], &kind, b"B2", &salt, &costs.0.to_le_bytes(), &costs.1.to_le_bytes()].concat();
    let line = Zeroizing::new(BASE64.encode(Zeroizing::new([&head, &secret[..]].concat())));
    Ok(Zeroizing::new(format!("{COMMENT}minisign encrypted secret key\n{}\n", *line)))
}

/// What a passphrase is known to be right by.
fn sum_of(parts: &[&[u8]]) -> [u8; 32] {
    let hash = parts.iter().fold(Blake2b::<U32>::new(), |hash, part| hash.chain_update(part));
    hash.finalize().into()
}

/// Encrypts or decrypts with the key stream that scrypt makes of a passphrase. `costs` are libsodium's limits of operations and
/// memory.
fn mask(secret: &mut [u8; 104], passphrase: &Passphrase, salt: &[u8], costs: (u64, u64)) -> Result<()> {
    ensure!(
        costs.1 <= MOST_MEMORY && costs.0 <= 1 << 32,
        "it asks for more work or memory than a key file should"
    );
    let (log_n, parallel) = parameters(costs);
    let parameters =
        Params::new(log_n, 8, parallel).map_err(|_| anyhow!("its limits are none of scrypt's"))?;
    let mut stream = Zeroizing::new([0; 104]);
    scrypt(passphrase.as_bytes(), salt, &parameters, &mut stream[..])
        .map_err(|_| anyhow!("its limits are none of scrypt's"))?;
    secret.iter_mut().zip(stream.iter()).for_each(|(byte, key)| *byte ^= key);
    Ok(())
}

/// libsodium's `pickparams`: the logarithm of N, and p, for r = 8.
fn parameters((operations, memory): (u64, u64)) -> (u8, u32) {
    let operations = operations.max(32768);
    let smallest = |most: u64| (1..63).find(|log| 1_u64 << log > most / 2).unwrap_or(63);
    if operations < memory / 32 {
        return (smallest(operations / 32), 1);
    }
    let log_n = smallest(memory / 1024);
    let most = ((operations / 4) >> log_n).min(0x3fff_ffff);
    (log_n, (most / 8).max(1) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_seed([7; 32])
    }

    #[test]
    fn a_signature_is_of_one_key_one_content_and_one_comment() {
        let signature = Minisignature::sign(&key(), b"content", "release tvm").unwrap();
        let read = Minisignature::parse(&signature.to_text("anything")).unwrap();
        assert_eq!((&read, read.comment()), (&signature, "release tvm"));
        assert!(read.verifies(&key().public(), b"content"));
        assert!(!read.verifies(&key().public(), b"Content"));
        assert!(!read.verifies(&SecretKey::from_seed([8; 32]).public(), b"content"));
        let other = signature.to_text("").replace("release tvm", "release mlc");
        assert!(!Minisignature::parse(&other).unwrap().verifies(&key().public(), b"content"));
    }

    #[test]
    fn what_is_not_a_signature_is_named() {
        let text = Minisignature::sign(&key(), b"content", "comment").unwrap().to_text("x");
        let lines: Vec<&str> = text.lines().collect();
        let with = |at: usize, line: &str| {
            let mut lines = lines.clone();
            lines[at] = line;
            lines.join("\n") + "\n"
        };
        let mut plain = BASE64.decode(lines[1]).unwrap();
        plain[1] = b'd';
        for (text, expected) in [
            (String::new(), "it has 1 lines"),
            (format!("{text}more\n"), "it has 5 lines"),
            (with(0, "comment"), "its first line"),
            (with(1, "AAAA"), "its second line"),
            (with(1, &BASE64.encode(plain)), "it is of an old kind"),
            (with(2, "comment"), "its third line"),
            (with(2, "trusted comment: a\u{1b}[2J"), "its comments are not text"),
            (with(3, lines[1]), "its fourth line"),
            ("x".repeat(LARGEST + 1), "it is too long"),
        ] {
            let error = format!("{:#}", Minisignature::parse(&text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(Minisignature::sign(&key(), b"", "two\nlines").is_err());
    }

    /// libsodium picks these for the limits that minisign writes, and for ours.
    #[test]
    fn limits_are_turned_into_parameters_as_libsodium_does() {
        assert_eq!(parameters((33_554_432, 1_073_741_824)), (20, 1));
        assert_eq!(parameters((524_288, 16_777_216)), (14, 1));
        assert_eq!(parameters((OPERATIONS, MEMORY)), (17, 1));
    }

    #[test]
    fn names_of_keys_are_shown_as_minisign_shows_them() {
        assert_eq!(shown_id([1, 0, 0, 0, 0, 0, 0, 0xab]), "AB00000000000001");
    }
}
