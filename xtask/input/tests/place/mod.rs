//! A directory of a test's own, with a store in it.

use store::Store;

pub struct Place {
    pub directory: tempfile::TempDir,
    pub store: Store,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        Self { directory, store }
    }
}
