//! What the command line calls `RECIPE[@TARGET]`.

use anyhow::Result;
use builder::{Node, Project};

/// `RECIPE` and `RECIPE@TARGET` as nodes; a recipe alone means all its targets.
///
/// # Errors
/// There is no such recipe or target; the message names the nearest.
pub fn goals(project: &Project, texts: &[String]) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for text in texts {
        let (name, target) = text.split_once('@').map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
        let recipe = project.recipe(name)?;
        match target {
            Some(target) => nodes.push(Node::new(&recipe.name, &recipe.target(target)?.triple)),
            None => nodes.extend(recipe.targets.iter().map(|target| Node::new(&recipe.name, &target.triple))),
        }
    }
    Ok(nodes)
}
