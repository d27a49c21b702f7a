//! Files of PyTorch: sound ones, hostile ones, and broken ones. Nothing of them is ever run.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

use model::Checkpoint;
use std::{
    fs,
    io::{Cursor, Write},
};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

/// What PyTorch 2.15 wrote.
const SAVED: &[u8] = include_bytes!("torch/saved.bin");

/// Opens a checkpoint of this file alone.
fn open(bytes: &[u8]) -> anyhow::Result<Checkpoint> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("pytorch_model.bin"), bytes).unwrap();
    Checkpoint::open_tensors(directory.path())
}

fn refused(bytes: &[u8], expected: &str) {
    let found = format!("{:#}", open(bytes).err().unwrap());
    assert!(found.contains(expected), "{found}");
}

fn zipped(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A pickle beside a storage of 16 bytes.
fn stored(pickle: &[u8]) -> Vec<u8> {
    zipped(&[("a/data.pkl", pickle), ("a/data/0", &[7; 16])], CompressionMethod::Stored)
}

/// A dictionary with one tensor of two rows and three columns, as `torch.save` writes it.
fn sound() -> Vec<u8> {
    [
        &b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01(X\x01\0\0\0aq\x02ctorch._utils\n_rebuild_tensor_v2\nq\x03("[..],
        b"(X\x07\0\0\0storageq\x04ctorch\nHalfStorage\nq\x05X\x01\0\0\x000q\x06X\x03\0\0\0cpuq\x07K\x08tq\x08Q",
        b"K\x02K\x02K\x03\x86q\x09K\x03K\x01\x86q\x0a\x89h\x00)Rq\x0btq\x0cRq\x0dX\x01\0\0\0bNu.",
    ]
    .concat()
}

fn replaced(from: &[u8], to: &[u8]) -> Vec<u8> {
    let bytes = sound();
    let position = bytes.windows(from.len()).position(|window| window == from).unwrap();
    [&bytes[..position], to, &bytes[position + from.len()..]].concat()
}

#[test]
fn safetensors_beside_pickles_are_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("pytorch_model.bin"), SAVED).unwrap();
    assert_eq!(Checkpoint::open_tensors(directory.path()).unwrap().passed_over(), None);
    // It is not even read.
    fs::write(directory.path().join("model.safetensors"), "").unwrap();
    let checkpoint = Checkpoint::open_tensors(directory.path()).unwrap();
    assert_eq!(checkpoint.passed_over(), Some("model.safetensors"));
    assert_eq!(checkpoint.files.len(), 1);
}

#[test]
fn what_pytorch_wrote_is_found() {
    let found = open(SAVED).unwrap();
    let expected: [(&str, &str, &[u64]); 6] = [
        ("half", "float16", &[2, 3]),
        ("bf16", "bfloat16", &[2]),
        ("rows", "float32", &[2, 4]),
        ("whole", "float32", &[3, 4]),
        ("parameter", "float32", &[1]),
        ("number", "int64", &[]),
    ];
    let tensor = |name: &str| found.tensor(name).unwrap();
    let told: Vec<_> =
        found.order().map(|name| (name, tensor(name).dtype.name(), &tensor(name).shape[..])).collect();
    assert_eq!(told, expected);
    let floats = |name: &str| -> Vec<f32> {
        let bytes = found.bytes(tensor(name)).chunks_exact(4);
        bytes.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    };
    assert_eq!(floats("rows"), [4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
    assert_eq!(floats("parameter"), [7.0]);
    assert_eq!(found.bytes(tensor("bf16")), [0x80, 0x3f, 0, 0xc0]);
    assert_eq!(open(include_bytes!("torch/linear.bin")).unwrap().order().count(), 2);
    let found = open(&stored(&sound())).unwrap();
    assert_eq!(found.order().collect::<Vec<_>>(), ["a"]);
    assert_eq!(found.bytes(found.tensor("a").unwrap()), [7; 12]);
}

#[test]
fn other_things_that_pytorch_wrote_are_named() {
    refused(include_bytes!("torch/transposed.bin"), "do not follow one another");
    refused(include_bytes!("torch/nested.bin"), "`model` is not a tensor");
    refused(include_bytes!("torch/module.bin"), "which is not done");
    refused(include_bytes!("torch/old.bin"), "before version 1.6");
}

/// A checkpoint of which only the safetensors were downloaded often has the other index, too.
#[test]
fn an_index_without_its_files_does_not_hide_safetensors() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    let named = |found: &Checkpoint| found.order().map(str::to_owned).collect::<Vec<_>>();
    write("pytorch_model.bin.index.json", br#"{"weight_map": {"half": "pytorch_model-00001-of-00001.bin"}}"#);
    let found = Checkpoint::open_tensors(directory.path()).unwrap();
    assert!(found.tensor("half").is_none());
    write(
        "model.safetensors",
        b"\x37\0\0\0\0\0\0\0{\"s\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}} \0\0",
    );
    assert_eq!(named(&Checkpoint::open_tensors(directory.path()).unwrap()), ["s"]);
    write("pytorch_model-00001-of-00001.bin", SAVED);
    let found = Checkpoint::open_tensors(directory.path()).unwrap();
    assert_eq!((named(&found), found.files.len()), (vec!["half".to_owned()], 1));
    assert!(found.tensor("half").is_some());
}

#[test]
fn nothing_is_run() {
    for (program, expected) in [
        (&b"cos\nsystem\n(X\x02\0\0\0lstR."[..], "wants to run `os.system`"),
        (b"cbuiltins\neval\n.", "wants to run `builtins.eval`"),
        (b"X\x08\0\0\0builtinsX\x04\0\0\0eval\x93.", "wants to run `builtins.eval`"),
        (b"ctorch\nload\n.", "wants to run `torch.load`"),
        (b"(ios\nsystem\n.", "the instruction 0x69"),
        (b"(cos\nsystem\no.", "wants to run"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "calls a function with other values"),
        (b"X\x01\0\0\0a)R.", "calls what is not a function"),
    ] {
        refused(&stored(program), expected);
    }
}

#[test]
fn pickles_that_are_not_sound_are_refused() {
    assert_eq!(open(&stored(b"}.")).unwrap().order().count(), 0);
    for (pickle, expected) in [
        (sound()[..40].to_vec(), "it ends too early"),
        (b"K\x01.".to_vec(), "it is not a dictionary"),
        (b".".to_vec(), "takes a value where there is none"),
        (b"}(K\x01u.".to_vec(), "a key has no value"),
        (b"}K\x01K\x02s.".to_vec(), "a name in the dictionary is not text"),
        (b"}X\x01\0\0\0aK\x02s.".to_vec(), "`a` is not a tensor"),
        (b"h\x07.".to_vec(), "recalls what it did not remember"),
        (b"]]b.".to_vec(), "gives attributes"),
        (b"K\x01K\x02a.".to_vec(), "appends to what is not a list"),
        (b"X\xff\xff\xff\xffa.".to_vec(), "ends too early"),
        (b"\x8a\x09123456789.".to_vec(), "a number of 9 bytes"),
        (replaced(b"K\x02K\x02K\x03", b"K\x03K\x02K\x03"), "ends after its storage"),
        (replaced(b"K\x03K\x01\x86", b"K\x01K\x02\x86"), "do not follow one another"),
        (replaced(b"K\x02K\x02K\x03", b"K\x02J\xff\xff\xff\xffK\x03"), "a size is negative"),
        (replaced(b"HalfStorage", b"QUInt8Storage"), "wants to run `torch.QUInt8Storage`"),
        (replaced(b"HalfStorage", b"LongStorage"), "its elements are not all there"),
    ] {
        refused(&stored(&pickle), expected);
    }
}

#[test]
fn archives_that_lie_are_refused() {
    let pickle = {
        let mut archive = ZipArchive::new(Cursor::new(SAVED)).unwrap();
        let file = archive.by_name("saved/data.pkl").unwrap();
        let (start, size) = (file.data_start().unwrap(), file.size());
        &SAVED[start as usize..(start + size) as usize]
    };
    let stored = |entries: &[(&str, &[u8])]| zipped(entries, CompressionMethod::Stored);
    for (bytes, expected) in [
        (b"PK\x03\x04".to_vec(), "not a sound ZIP file"),
        (SAVED[..SAVED.len() - 40].to_vec(), "not a sound ZIP file"),
        (stored(&[]), "0 files data.pkl"),
        (stored(&[("a/data.pkl", pickle), ("b/data.pkl", pickle)]), "2 files data.pkl"),
        (stored(&[("a/data.pkl", pickle)]), "its elements are missing"),
        (stored(&[("a/data.pkl", pickle), ("a/data/0", b"1")]), "its elements are not all there"),
        (stored(&[("a/data.pkl", pickle), ("a/byteorder", b"big")]), "not little-endian"),
        (zipped(&[("a/data.pkl", pickle)], CompressionMethod::Deflated), "is compressed"),
    ] {
        refused(&bytes, expected);
    }
}

/// Opens it, and touches all that it says it has.
fn touch(bytes: &[u8]) {
    let Ok(checkpoint) = open(bytes) else { return };
    for name in checkpoint.order() {
        let tensor = checkpoint.tensor(name).unwrap();
        assert!(checkpoint.bytes(tensor).len() <= bytes.len());
    }
}

#[test]
fn every_cut_and_every_changed_byte_is_answered() {
    for position in 0..SAVED.len() {
        for change in [0, 0xff, SAVED[position] ^ 1] {
            let mut changed = SAVED.to_vec();
            changed[position] = change;
            touch(&changed);
        }
    }
    let bytes = sound();
    for length in 0..bytes.len() {
        refused(&stored(&bytes[..length]), "");
        for change in [0, 0x2e, 0x52, 0x75, 0xff] {
            let mut changed = bytes.clone();
            changed[length] = change;
            touch(&stored(&changed));
        }
    }
}
