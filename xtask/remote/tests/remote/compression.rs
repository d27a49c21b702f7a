//! Blobs go and come as zstd where the server offers it.

use crate::stub::{Lie, start};
use remote::Connection;
use std::sync::atomic::Ordering;
use store::Store;

#[test]
fn blobs_go_and_come_compressed() {
    let server = start(Lie::Squeezes, 0, None);
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (sender, receiver) = (Store::open(one.path()).unwrap(), Store::open(two.path()).unwrap());
    let noise: Vec<u8> =
        (0..5_000_000u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8).collect();
    let contents = [b"x".to_vec(), vec![7; 3_000_000], vec![8; 9_000_000], noise];
    let blobs = contents.map(|content| sender.put_bytes(&content).unwrap());
    let connection = Connection::open(&server.options).unwrap();
    connection.send(&sender, &connection.missing(&blobs).unwrap()).unwrap();
    assert!(connection.missing(&blobs).unwrap().is_empty());
    assert_eq!(server.memory.streams.load(Ordering::Relaxed), 2);
    let batch = server.memory.batch.load(Ordering::Relaxed);
    assert!(batch < 10_000, "{batch} bytes of zeros");
    connection.receive(&receiver, &blobs).unwrap();
    for blob in &blobs {
        assert_eq!(receiver.read(blob).unwrap(), sender.read(blob).unwrap());
    }
}
