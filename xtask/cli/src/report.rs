//! What commands write about differences.

use anyhow::{Context, Result, ensure};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use store::{hinted, write_output};

/// Where to write about differences.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Report {
    /// Write report.json and report.html, a page that needs nothing else, into this directory
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Run diffoscope as well, where it is installed; its page goes into the directory of `--report`
    #[arg(long, requires = "report")]
    pub diffoscope: bool,
}

impl Report {
    /// Writes the report, if it is asked for. `sides` are for diffoscope.
    pub fn write(&self, json: &serde_json::Value, html: &str, sides: (&Path, &Path)) -> Result<()> {
        let Some(directory) = &self.report else { return Ok(()) };
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        write_output(
            &directory.join("report.json"),
            (serde_json::to_string_pretty(json)? + "\n").as_bytes(),
        )?;
        write_output(&directory.join("report.html"), html.as_bytes())?;
        if self.diffoscope {
            diffoscope(sides, &directory.join("diffoscope.html"))?;
        }
        Ok(())
    }

    /// Fails when the report would go into what it is about.
    pub fn check(&self, about: &Path) -> Result<()> {
        let inside = |directory: &PathBuf| is_inside(directory, about);
        ensure!(
            !self.report.as_ref().is_some_and(inside),
            hinted(
                format!("the report may not go into {}", about.display()),
                "choose a directory outside of it"
            )
        );
        Ok(())
    }
}

/// Whether a path, which may not be there yet, is a directory or below it.
pub fn is_inside(path: &Path, directory: &Path) -> bool {
    let Ok(directory) = directory.canonicalize() else { return false };
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute
        .ancestors()
        .find_map(|above| above.canonicalize().ok())
        .is_some_and(|above| above.starts_with(&directory))
}

/// Runs diffoscope. It exits with 1 when there is a difference. Errors: it can't be run, or fails.
fn diffoscope((left, right): (&Path, &Path), page: &Path) -> Result<()> {
    let status = Command::new("diffoscope").arg("--html").arg(page).arg("--").args([left, right]).status();
    match status {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("diffoscope is not installed, so {} is not written", page.display());
            Ok(())
        }
        Err(error) => Err(error).context("cannot run diffoscope"),
        Ok(status) if matches!(status.code(), Some(0 | 1)) => Ok(()),
        Ok(status) => anyhow::bail!("diffoscope failed: {status}"),
    }
}
