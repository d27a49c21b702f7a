//! One target of `targets.rs`, which FUZZ_TARGET names, under LLVM's fuzzer. `fuzz/run` builds and starts it.

#![no_main]

mod targets;

use libfuzzer_sys::fuzz_target;
use std::{cell::RefCell, sync::OnceLock};
use targets::{Place, TARGETS, Target};

/// After so many runs the place is made anew: what a store keeps would fill the disk.
const RUNS: u32 = 500;

thread_local! {
    static PLACE: RefCell<(Place, u32)> = RefCell::new((Place::new(), 0));
}

fn target() -> &'static Target {
    static TARGET: OnceLock<&Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        TARGETS.iter().find(|(known, _)| *known == name).expect("FUZZ_TARGET names a target of targets.rs")
    })
}

fuzz_target!(|bytes: &[u8]| {
    PLACE.with_borrow_mut(|(place, runs)| {
        *runs += 1;
        if *runs > RUNS {
            (*place, *runs) = (Place::new(), 0);
        }
        target().1(place, bytes);
    });
});
