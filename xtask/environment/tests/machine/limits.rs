//! What one action may take at most.

use super::{machine, run, try_run};
use environment::{Backend, Exit, Limits};
use std::os::unix::fs::MetadataExt;
use store::Entry;

fn limits(setting: &str) -> Limits {
    let mut limits = Limits::default();
    limits.set(setting).unwrap();
    limits
}

/// An action that takes more than it may is ended, and the log says why. `with` makes a backend with limits.
pub fn keeps_to_limits(with: &dyn Fn(Limits) -> Box<dyn Backend>) {
    // None of these ends by itself before it is seen: who is slow to look at it only waits longer.
    let ran = run(with(limits("time=1s")).as_ref(), "echo begun; sleep 10000");
    assert_eq!(ran.exit, Exit::Signalled(9), "{}", ran.output);
    assert!(ran.output.starts_with("begun\n") && ran.output.contains("the limit `time`"), "{}", ran.output);

    let ran =
        run(with(limits("memory=100M")).as_ref(), "x=$(head -c 300M /dev/zero | tr '\\0' x); sleep 10000");
    assert_eq!(ran.exit, Exit::Signalled(9), "{}", ran.output);
    assert!(
        ["the limit `memory`", "for want of memory", "Killed"].iter().any(|why| ran.output.contains(why)),
        "{}",
        ran.output
    );

    // What is in memory, though it looks like a file, is bounded too.
    let ran = run(
        with(limits("memory=100M")).as_ref(),
        "head -c 300M /dev/zero > /tmp/x || head -c 300M /dev/zero > /dev/shm/x",
    );
    assert!(!ran.exit.success(), "{}", ran.output);

    let script = "i=0; while [ $i -lt 200 ]; do sleep 10000 & i=$((i+1)); done; wait";
    let backend = with(limits("processes=50"));
    let ran =
        try_run(backend.as_ref(), &["/bin/sh", "-c", script], &[("PATH", "/usr/bin")], &mut |_| {}).unwrap();
    assert!(!ran.exit.success(), "{}", ran.output);
    assert!(["the limit `processes`", "fork"].iter().any(|why| ran.output.contains(why)), "{}", ran.output);

    let script = |backend: &dyn Backend, script| {
        try_run(backend, &["/bin/bash", "-ec", script], &[("PATH", "/usr/bin")], &mut |_| {})
    };
    let backend = with(limits("outputs=1M"));
    let error = format!("{:#}", script(backend.as_ref(), "head -c 2M /dev/zero > ../out/x").unwrap_err());
    assert!(error.contains("too large"), "{error}");
    assert!(script(backend.as_ref(), "head -c 900K /dev/zero > ../out/x").unwrap().exit.success());

    // What no disk holds is refused before it is read, and a sparse file that fits stays sparse.
    let backend = with(Limits::default());
    let error = format!("{:#}", script(backend.as_ref(), "truncate -s 8T ../out/huge").unwrap_err());
    assert!(error.contains("too large"), "{error}");
    let ran = script(backend.as_ref(), "truncate -s 64M ../out/sparse").unwrap();
    let Some(Entry::File { digest, .. }) = ran.outputs.get("sparse") else { panic!("{:?}", ran.outputs) };
    let blob = std::fs::metadata(machine().store.blob_path(digest, false).unwrap()).unwrap();
    assert!(blob.len() == 64 << 20 && blob.blocks() * 512 < 1 << 20, "{} blocks", blob.blocks());
}
