//! `verify DIR`.

use crate::{context::Global, progress::Bars, report::Report, show};
use anyhow::Result;
use builder::Project;
use operation::{Effort, RebuildWatch, ReleaseOutcome};
use release::{Check, Manifest, PROGRAM, Problem, Rebuild, Trust, Verdict};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use store::hinted;

/// Check a release: every file, every checksum, every archive, and the locks of this repository
///
/// Nothing but the directory and this repository is read (Git says which commit fits). With `--rebuild` everything is built again in a fresh store
/// and compared byte by byte; the first difference of each file is shown. With another `--backend` than the one that
/// built it, the rebuild proves that neither has a part in the bytes. With `--policy` enough of the right keys must have
/// signed, by files and keys alone: no network is asked, and no clock. The exit status is 0 only when all is well.
#[derive(clap::Args)]
pub struct Arguments {
    /// The release directory
    directory: PathBuf,
    /// Build it again in a fresh store, with the inputs of the ordinary one, and compare
    #[arg(long)]
    rebuild: bool,
    /// Do not compare with the locks of this repository
    #[arg(long, conflicts_with = "rebuild")]
    no_locks: bool,
    /// With `--rebuild`: what differs, down to the symbol and byte, and why
    #[command(flatten)]
    report: Report,
    /// Whose signatures count, and how many are needed (docs/auditing.md)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Count the signatures that are collected in this directory too, as RELEASE/BUILDER/
    #[arg(long, value_name = "DIR")]
    attestations: Option<PathBuf>,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let directory = &arguments.directory;
    let report = &arguments.report;
    anyhow::ensure!(
        arguments.rebuild || report.report.is_none(),
        hinted(
            "`--report` is about a rebuild",
            "add `--rebuild`; `cargo xtask report DIR` writes a page about the release itself"
        )
    );
    report.check(directory)?;
    let project = if arguments.no_locks { None } else { Some(global.project()?) };
    let trust = arguments.policy.as_deref().map(Trust::load).transpose()?;
    let check = Check {
        project: project.as_ref(),
        trust: trust.as_ref(),
        attestations: arguments.attestations.as_deref(),
    };
    let mut verdict = release::verify_with(directory, &check)?;
    let mut rebuilt_by = None;
    if let (true, Some(project)) = (arguments.rebuild && verdict.passes(), &project) {
        let who = format!("{PROGRAM} on the backend `{}`", global.backend.name());
        let (progress, sha256) = (global.progress(), verdict.manifest.clone());
        let mut watch = Watch { progress: &progress, report, directory, sha256, who: &who };
        verdict.problems = rebuild(global, project, &mut watch)?;
        verdict.unchecked.retain(|what| !what.contains("`verify --rebuild`"));
        rebuilt_by = Some(who);
    }
    if global.json() {
        crate::events::result(&json(&verdict, rebuilt_by.as_deref()))?;
    } else {
        tell(directory, &verdict, rebuilt_by.as_deref());
    }
    Ok(ExitCode::from(verdict.exit_status()))
}

fn json(verdict: &Verdict, rebuilt_by: Option<&str>) -> serde_json::Value {
    serde_json::json!({
        "verdict": if verdict.passes() { "PASS" } else { "FAIL" },
        "manifest_sha256": verdict.manifest,
        "schema": verdict.schema,
        "rebuilt": rebuilt_by.is_some(),
        "rebuilt_by": rebuilt_by,
        "checked": verdict.counts,
        "not_checked": verdict.unchecked,
        "notes": verdict.notes,
        "signed": verdict.signed,
        "problems": verdict.problems,
    })
}

/// The verdict, and what it is worth.
fn tell(directory: &Path, verdict: &Verdict, rebuilt_by: Option<&str>) {
    for problem in &verdict.problems {
        println!("FAIL  {problem}");
    }
    let directory = directory.display();
    match (verdict.problems.len(), rebuilt_by) {
        (0, None) => println!("PASS  {directory} is what its manifest says; it was not rebuilt"),
        (0, Some(who)) => println!("PASS  {directory} was rebuilt to the same bytes by {who}"),
        (count, _) => println!("FAIL  {directory} has {count} problem{}", if count == 1 { "" } else { "s" }),
    }
    let Some(manifest) = &verdict.manifest else { return };
    println!("  release.json: sha256 {manifest}");
    let counts = &verdict.counts;
    println!(
        "  checked: {} files, {} archives with {} members, {} models, {} steps; against the checkout {} inputs and {} files",
        counts.files,
        counts.artifacts,
        counts.members,
        counts.models,
        counts.steps,
        counts.inputs,
        counts.repository
    );
    for line in show::signed(&verdict.signed) {
        println!("  {line}");
    }
    for what in &verdict.unchecked {
        println!("  not checked: {what}");
    }
    for note in &verdict.notes {
        println!("  note: {note}");
    }
}

/// Writes what differs between a release and its rebuild, if that is asked for.
fn write_report(
    report: &Report,
    (directory, rebuilt): (&Path, &Path),
    manifest: &Manifest,
    sha256: Option<String>,
    who: &str,
) -> Result<()> {
    if report.report.is_none() {
        return Ok(());
    }
    let rebuild = Rebuild::new((directory, rebuilt), manifest, sha256, who)?;
    let json = serde_json::to_value(&rebuild)?;
    report.write(&json, &release::rebuild_page(&rebuild), (directory, rebuilt))
}

/// Tells what became of a rebuild, and writes the report about it.
struct Watch<'a> {
    progress: &'a Bars,
    report: &'a Report,
    directory: &'a Path,
    sha256: Option<String>,
    who: &'a str,
}

impl RebuildWatch for Watch<'_> {
    fn made(&mut self, name: &str, outcome: &ReleaseOutcome) {
        show::release(self.progress, name, Effort::Stop, outcome);
    }

    fn look(&mut self, rebuilt: &Path, manifest: &Manifest) -> Result<()> {
        write_report(self.report, (self.directory, rebuilt), manifest, self.sha256.clone(), self.who)
    }
}

fn rebuild(global: &Global, project: &Project, watch: &mut Watch<'_>) -> Result<Vec<Problem>> {
    let store = global.open_store()?;
    let open = global.opener();
    let session = global.session(project, &store, watch.progress, &open);
    let directory = watch.directory;
    operation::rebuild(&session, directory, watch)
}
