//! Digests of a directory, for measuring against other programs (docs/performance.md):
//! `tree hash DIR`, `tree nar STORE DIR`, `tree import STORE DIR`.

use anyhow::{Result, bail};
use std::path::Path;
use store::{Store, Tree};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["hash", directory] => println!("{}", Tree::of_directory(Path::new(directory))?.digest()?),
        ["import", store, directory] => {
            let store = Store::open(Path::new(store))?;
            println!("{}", store.import(Path::new(directory))?.write(&store)?);
        }
        ["nar", store, directory] => {
            let store = Store::open(Path::new(store))?;
            println!("{}", store.nar_hash(&store.import(Path::new(directory))?)?);
        }
        _ => bail!("usage: tree hash DIR | tree import STORE DIR | tree nar STORE DIR"),
    }
    Ok(())
}
