//! Two directories of the same release: where they differ first.

use crate::Problem;
use anyhow::{Context, Result};
use artifact::first_difference;
use std::{collections::BTreeSet, path::Path};

/// Compares a release with its rebuild, file by file, going by both manifests' lists and the names of both checksums.
pub fn compare(given: &Path, rebuilt: &Path) -> Result<Vec<Problem>> {
    let names = |directory: &Path| -> Result<BTreeSet<String>> {
        let path = directory.join("SHA256SUMS");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.lines().filter_map(|line| Some(line.split_once("  ")?.1.to_owned())).collect())
    };
    let (left, right) = (names(given)?, names(rebuilt)?);
    let mut problems = Vec::new();
    for name in left.union(&right) {
        let problem = match (std::fs::read(given.join(name)), std::fs::read(rebuilt.join(name))) {
            (Ok(expected), Ok(found)) => {
                first_difference(name, &expected, &found).map(|difference| difference.to_string())
            }
            (Ok(_), Err(_)) => Some("was not made by the rebuild".to_owned()),
            (Err(_), _) => Some("is made by the rebuild, but not in the release".to_owned()),
        };
        problems.extend(problem.map(|problem| Problem { file: name.clone(), problem }));
    }
    Ok(problems)
}
