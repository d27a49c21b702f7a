//! The graph of what has to be built.

use crate::{
    drawing::{Box, Drawing, Shape},
    node::Node,
    project::Project,
};
use anyhow::{Result, bail};

/// Nodes in an order in which every node stands after its dependencies.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// For each node the indices of its dependencies.
    pub dependencies: Vec<Vec<usize>>,
}

impl Plan {
    /// Everything that the goals need. Errors: a recipe or target that does not exist, a cycle (the way round is named).
    pub fn new(project: &Project, goals: &[Node]) -> Result<Self> {
        let mut plan = Self::default();
        for goal in goals {
            plan.add(project, goal, &mut Vec::new())?;
        }
        Ok(plan)
    }

    fn add(&mut self, project: &Project, node: &Node, path: &mut Vec<Node>) -> Result<usize> {
        if let Some(index) = self.nodes.iter().position(|known| known == node) {
            return Ok(index);
        }
        if let Some(start) = path.iter().position(|above| above == node) {
            let mut round: Vec<_> = path[start..].iter().map(ToString::to_string).collect();
            round.push(node.to_string());
            bail!("recipes depend on each other in a circle: {}", round.join(" -> "));
        }
        path.push(node.clone());
        let (_, target) = project.node(node)?;
        let mut dependencies = Vec::new();
        for name in &target.dependencies {
            let dependency = Node::new(name, &node.target);
            dependencies.push(self.add(project, &dependency, path)?);
        }
        path.pop();
        self.nodes.push(node.clone());
        self.dependencies.push(dependencies);
        Ok(self.nodes.len() - 1)
    }

    /// The graph in Graphviz's language.
    pub fn to_dot(&self) -> String {
        let mut text =
            String::from("digraph plan {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
        for (node, dependencies) in self.nodes.iter().zip(&self.dependencies) {
            text += &format!("  \"{node}\" [label=\"{}\\n{}\"];\n", node.recipe, node.target);
            for &dependency in dependencies {
                text += &format!("  \"{}\" -> \"{node}\";\n", self.nodes[dependency]);
            }
        }
        text + "}\n"
    }

    /// How many steps each node stands after the first ones; the columns of a drawing.
    pub fn levels(&self) -> Vec<usize> {
        let mut levels: Vec<usize> = Vec::new();
        for dependencies in &self.dependencies {
            levels.push(dependencies.iter().map(|&dependency| levels[dependency] + 1).max().unwrap_or(0));
        }
        levels
    }

    /// The graph as a picture. What a recipe is, is told by where it stands.
    pub fn to_svg(&self, project: &Project) -> String {
        let shape = |node: &Node| match project.recipe(&node.recipe).map(|recipe| recipe.file.as_str()) {
            Ok(file) if file.starts_with("recipes/checks/") => Shape::Check,
            Ok(file) if file.starts_with("recipes/toolchain/") => Shape::Tool,
            _ => Shape::Shipped,
        };
        let node = |node: &Node| Box {
            title: node.recipe.to_string(),
            subtitle: node.target.to_string(),
            shape: shape(node),
        };
        let nodes = self.nodes.iter().map(node).collect();
        Drawing { nodes, dependencies: self.dependencies.clone() }.to_svg("What is built from what")
    }
}
