//! How fast trees are hashed, imported and laid out: `cargo bench -p store`.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark; a panic is the report")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::{hint::black_box, path::Path};
use store::{Digest, Store, Tree};

/// A source tree with some libraries: 2000 files of 16 kB and 4 of 16 MB. Gives the number of bytes.
fn make(directory: &Path) -> u64 {
    for number in 0..2000_u32 {
        let path = directory.join(format!("{}/{}", number % 50, number));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, number.to_le_bytes().repeat(4000)).unwrap();
    }
    for number in 0..4_u32 {
        std::fs::write(directory.join(number.to_string() + ".so"), number.to_be_bytes().repeat(4_000_000))
            .unwrap();
    }
    2000 * 16_000 + 4 * 16_000_000
}

fn trees(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    let bytes = make(&source);
    let store = Store::open(&directory.path().join("store")).unwrap();
    let tree = store.import(&source).unwrap();
    let root = tree.write(&store).unwrap();

    let mut group = criterion.benchmark_group("tree");
    group.sample_size(10).throughput(Throughput::Bytes(bytes));
    group.bench_function("hash", |bencher| {
        bencher.iter(|| Tree::of_directory(&source).unwrap().digest().unwrap());
    });
    group.bench_function("import, all known", |bencher| bencher.iter(|| store.import(&source).unwrap()));
    group.bench_function("import, all new", |bencher| {
        let fresh = || tempfile::tempdir_in(directory.path()).unwrap();
        bencher.iter_batched(
            fresh,
            |place| Store::open(place.path()).unwrap().import(&source).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("Nix archive", |bencher| bencher.iter(|| store.nar_hash(&tree).unwrap()));
    group.bench_function("lay out", |bencher| {
        bencher.iter_batched(
            || tempfile::tempdir_in(directory.path()).unwrap(),
            |place| {
                store.materialise(&tree, &place.path().join("tree")).unwrap();
                place
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    criterion.bench_function("tree/read", |bencher| bencher.iter(|| Tree::read(&store, &root).unwrap()));
}

fn blobs(criterion: &mut Criterion) {
    let bytes = vec![7; 64 << 20];
    let mut group = criterion.benchmark_group("blob");
    group.sample_size(20).throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("SHA-256 in memory", |bencher| bencher.iter(|| Digest::of(black_box(&bytes))));
}

criterion_group!(benches, trees, blobs);
criterion_main!(benches);
