//! Whether our Clang may read the C++ standard library of a version of Microsoft's build tools.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use store::hinted;

const TABLE: &str = include_str!("stl.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stl {
    ours: u32,
    tools: Vec<Tools>,
}

/// Tools from this version on ask for this Clang.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tools {
    version: String,
    clang: u32,
}

/// Checks the version of a C runtime, as its packages are named (`14.43.17.13`: tools 14.43 of Visual Studio 17.13).
/// Errors: it is none; its headers refuse our Clang; it is newer than what is known, which they most likely do as well.
pub fn check(crt: &str) -> Result<()> {
    let table: Stl = toml::from_str(TABLE).context("microsoft/stl.toml is malformed")?;
    let is_version = crt.split('.').count() == 4 && crt.split('.').all(|part| part.parse::<u16>().is_ok());
    ensure!(is_version, "`{}` is not a version of the C runtime, such as 14.43.17.13", crt.escape_debug());
    let asked = number(crt)?;
    let (mut newest, mut needed) = ("", 0);
    for tools in &table.tools {
        if tools.clang <= table.ours {
            newest = tools.version.as_str();
        }
        if number(&tools.version)? <= asked {
            needed = tools.clang;
        }
    }
    if needed > table.ours {
        bail!(hinted(
            format!(
                "Clang {} is refused by the STL of {crt}, which asks for Clang {needed} (error STL1000)",
                table.ours
            ),
            format!("{newest} is the newest that takes it, such as 14.43.17.13")
        ));
    }
    Ok(())
}

/// Major and minor version.
fn number(version: &str) -> Result<(u16, u16)> {
    let mut parts = version.split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => bail!("`{version}` is not a version"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refuses_our_clang_is_refused_by_name() {
        for fine in ["14.38.17.8", "14.39.17.9", "14.42.17.12", "14.43.17.13"] {
            check(fine).unwrap();
        }
        for (crt, clang) in [("14.44.17.14", 19), ("14.49.18.0", 19), ("14.51.18.1", 20), ("15.0.19.0", 20)] {
            let error = store::full_text(&check(crt).unwrap_err());
            let expected = format!("Clang 18 is refused by the STL of {crt}, which asks for Clang {clang}");
            assert!(error.starts_with(&expected) && error.contains("14.43"), "{error}");
        }
        for wrong in ["", "14.43", "latest", "14.43.17.x", "14.43.17.13/.."] {
            assert!(check(wrong).unwrap_err().to_string().contains("is not a version"), "{wrong}");
        }
    }
}
