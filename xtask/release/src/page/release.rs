//! The page for a release: what it holds, what that was made of, and what is known of it.

use super::{attestation, code, exact_size, page, pairs, prose, size, table, text};
use crate::{Artifact, BOM, Manifest, Model, Verdict, bom::purl};
use builder::drawing::{Box, Drawing, Shape};
use std::{collections::BTreeMap, path::Path};

/// The page for a release directory, after `verdict` of [`crate::verify`].
pub fn release_page(directory: &Path, manifest: &Manifest, verdict: &Verdict) -> String {
    let mut html = intro(manifest, verdict);
    html += "<h2>Artifacts</h2>\n";
    html += &manifest.artifacts.iter().map(artifact).collect::<String>();
    if !manifest.models.is_empty() {
        html += "<h2>Models</h2>\n";
        html += &manifest.models.iter().map(model).collect::<String>();
    }
    if !manifest.missing.is_empty() {
        html += "<h2>What is missing</h2>\n<p>The release is partial: it lacks what waits for inputs that could not be had.</p>\n<ul>\n";
        for missing in &manifest.missing {
            let waits = missing.waits_for.iter().map(|name| code(name)).collect::<Vec<_>>().join(", ");
            html += &format!("<li>{} waits for {waits}</li>\n", text(&missing.wanted.to_string()));
        }
        html += "</ul>\n";
    }
    html += &attestation::section(directory);
    html += &graph(manifest);
    html += &inputs(manifest);
    html += &environments(manifest);
    html += &licenses(manifest);
    html += &other_files(manifest);
    page(&format!("Release {}", manifest.name), &html)
}

fn intro(manifest: &Manifest, verdict: &Verdict) -> String {
    let program = manifest.program.as_deref().unwrap_or("a version that is not named");
    let mut html = match verdict.passes() {
        true => "<p class=\"good\">Every file is what the manifest says. The release was not built again for this page.</p>\n"
            .to_owned(),
        false => format!("<p class=\"bad\">{} problems were found.</p>\n", verdict.problems.len()),
    };
    if !verdict.passes() {
        let row = |problem: &crate::Problem| vec![code(&problem.file), prose(&problem.problem)];
        html += &table(
            "Problems",
            &["file", "problem"],
            &verdict.problems.iter().take(200).map(row).collect::<Vec<_>>(),
        );
    }
    let counts = &verdict.counts;
    html += &pairs(&[
        ("release.json", code(verdict.manifest.as_deref().unwrap_or("?"))),
        ("written by", text(program)),
        (
            "checked",
            format!(
                "{} files, {} archives with {} members, {} models, {} steps",
                counts.files, counts.artifacts, counts.members, counts.models, counts.steps
            ),
        ),
    ]);
    if !verdict.unchecked.is_empty() || !verdict.notes.is_empty() {
        html += "<details><summary>What was not checked</summary>\n<ul>\n";
        for line in verdict.unchecked.iter().chain(&verdict.notes) {
            html += &format!("<li>{}</li>\n", prose(line));
        }
        html += "</ul>\n</details>\n";
    }
    html
}

fn artifact(artifact: &Artifact) -> String {
    let mut html = format!("<section class=\"card\">\n<h3>{}</h3>\n", text(&artifact.archive.path));
    let none = || "none".to_owned();
    let list = |names: &[String]| {
        if names.is_empty() { none() } else { names.iter().map(|it| text(it)).collect::<Vec<_>>().join(", ") }
    };
    let libraries = |libraries: &BTreeMap<String, String>| {
        libraries
            .iter()
            .map(|(name, version)| text(&format!("{name} {version}")))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut facts = vec![
        ("SHA-256", code(&artifact.archive.sha256)),
        ("size", exact_size(artifact.archive.size)),
        ("version", text(&artifact.version)),
        ("target", text(&artifact.step.target)),
        ("license", text(&artifact.license)),
        ("sysroot", artifact.sysroot.as_deref().map_or_else(none, text)),
        (
            "policy",
            artifact
                .policy
                .as_ref()
                .map_or_else(none, |it| format!("{}, {}", text(&it.name), code(&it.text.to_string()))),
        ),
        ("checked by", list(&artifact.checked_by)),
        ("action", code(&artifact.step.action.to_string())),
        ("outputs", code(&artifact.step.outputs.to_string())),
    ];
    facts.extend((!artifact.contains.is_empty()).then(|| ("contains", libraries(&artifact.contains))));
    facts.extend((!artifact.needs.is_empty()).then(|| ("needs", libraries(&artifact.needs))));
    facts.extend(artifact.step.imported.as_ref().map(|from| ("imported from", text(from))));
    html += &pairs(&facts);
    if !artifact.parts.is_empty() {
        let row = |part: &crate::Part| {
            vec![
                text(&part.name),
                text(&part.license),
                part.input.as_deref().map_or_else(|| "this project, or its environments".to_owned(), code),
            ]
        };
        html += &table(
            &format!("Parts of {}", artifact.archive.path),
            &["part", "license", "out of"],
            &artifact.parts.iter().map(row).collect::<Vec<_>>(),
        );
    }
    html += &files(&artifact.archive.path, &artifact.files);
    html + "</section>\n"
}

fn files(whose: &str, files: &[crate::File]) -> String {
    let row = |file: &crate::File| vec![code(&file.path), size(file.size), code(&file.sha256)];
    let rows: Vec<_> = files.iter().map(row).collect();
    let list = table(&format!("Files of {whose}"), &["file", "size", "SHA-256"], &rows);
    format!("<details><summary>{} files</summary>\n{list}</details>\n", files.len())
}

fn model(model: &Model) -> String {
    let title = model.conversion.title();
    let facts = pairs(&[
        ("outputs", code(&model.outputs.to_string())),
        ("architecture", text(&model.architecture)),
        ("quantization", text(&model.conversion.quantization)),
        ("license", text(&model.license)),
        ("size", size(model.files.iter().map(|file| file.size).fold(0, u64::saturating_add))),
    ]);
    format!(
        "<section class=\"card\">\n<h3>{}</h3>\n{facts}{}</section>\n",
        text(&title),
        files(&title, &model.files)
    )
}

/// The steps as a picture, and as a list for whoever can't see it.
fn graph(manifest: &Manifest) -> String {
    let of = |steps: Vec<&crate::Step>, shape| {
        steps.into_iter().map(move |step| (step.clone(), shape)).collect::<Vec<_>>()
    };
    let mut open = of(manifest.intermediates.iter().collect(), Shape::Tool);
    open.extend(of(manifest.artifacts.iter().map(|it| &it.step).collect(), Shape::Shipped));
    open.extend(of(manifest.checks.iter().collect(), Shape::Check));
    let mut drawing = Drawing::default();
    let mut places: BTreeMap<(String, String), usize> = BTreeMap::new();
    // Each behind its dependencies. What a stranger's manifest makes go in circles comes last, without arrows.
    while !open.is_empty() {
        let is_ready = |step: &crate::Step| {
            step.dependencies.iter().all(|name| places.contains_key(&(name.clone(), step.target.clone())))
        };
        let (ready, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(|(step, _)| is_ready(step));
        let (ready, rest) = if ready.is_empty() { (rest, Vec::new()) } else { (ready, rest) };
        let known = places.clone();
        for (step, shape) in ready {
            let of = |name: &String| known.get(&(name.clone(), step.target.clone())).copied();
            drawing.dependencies.push(step.dependencies.iter().filter_map(of).collect());
            let (title, subtitle) = (super::printable(&step.recipe), super::printable(&step.target));
            drawing.nodes.push(Box { title, subtitle, shape });
            places.insert((step.recipe, step.target), drawing.nodes.len() - 1);
        }
        open = rest;
    }
    let svg = drawing.to_svg("What is built from what");
    let row = |step: &crate::Step| {
        vec![
            text(&format!("{}@{}", step.recipe, step.target)),
            text(&step.environment),
            step.dependencies.iter().chain(&step.inputs).map(|it| text(it)).collect::<Vec<_>>().join(", "),
            code(&step.action.hex()),
        ]
    };
    let rows: Vec<_> = manifest.steps().map(row).collect();
    let list = table("Steps", &["step", "environment", "made from", "action"], &rows);
    format!(
        "<h2>How it was made</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Graph\">\n{svg}</div>\n\
         <details><summary>The same as a list, with inputs and actions</summary>\n{list}</details>\n"
    )
}

fn inputs(manifest: &Manifest) -> String {
    let row = |(name, facts): (&String, &crate::InputFacts)| {
        vec![
            text(name),
            purl(&facts.source)
                .map_or_else(|| "in this project's own terms, in release.json".to_owned(), |it| code(&it)),
            size(facts.size),
            code(&facts.sha256),
        ]
    };
    let rows: Vec<_> = manifest.inputs.iter().map(row).collect();
    format!("<h2>Inputs</h2>\n{}", table("Inputs", &["input", "package URL", "size", "SHA-256"], &rows))
}

fn environments(manifest: &Manifest) -> String {
    let row = |(name, facts): (&String, &crate::EnvironmentFacts)| {
        vec![text(name), code(&facts.lock.hex()), code(&facts.nar), code(&facts.tree.to_string())]
    };
    let rows: Vec<_> = manifest.environments.iter().map(row).collect();
    let list = table("Environments", &["environment", "SHA-256 of its lock", "Nix archive", "tree"], &rows);
    format!("<h2>Environments</h2>\n<p>The packages of each are in {}.</p>\n{list}", code(BOM))
}

fn licenses(manifest: &Manifest) -> String {
    let row = |file: &crate::File| vec![code(&file.path), code(&file.sha256)];
    let rows: Vec<_> = manifest.licenses.iter().map(row).collect();
    let list = table("License texts", &["file", "SHA-256"], &rows);
    format!(
        "<h2>Licenses</h2>\n<details><summary>{} texts in licenses/</summary>\n{list}</details>\n",
        rows.len()
    )
}

fn other_files(manifest: &Manifest) -> String {
    let row = |file: &crate::File| vec![code(&file.path), size(file.size), code(&file.sha256)];
    let rows: Vec<_> = manifest.bom.iter().chain(&manifest.verifier).map(row).collect();
    format!(
        "<h2>Checking it</h2>\n<p>Compare the SHA-256 of {0} with one that reached you by another way. {1} checks the files without this program, \
         and {2} builds everything again.</p>\n{3}",
        code("release.json"),
        code("python3 verify.py"),
        code("cargo xtask verify --rebuild DIR"),
        table("Files beside the artifacts", &["file", "size", "SHA-256"], &rows)
    )
}
