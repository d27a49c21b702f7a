//! The graph of what has to be built.

use crate::{node::Node, project::Project};
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

    /// The graph as a picture: one column a level, one box a node.
    pub fn to_svg(&self) -> String {
        const WIDTH: usize = 220;
        const HEIGHT: usize = 44;
        const GAP: (usize, usize) = (70, 20);
        let levels = self.levels();
        let mut rows = vec![0; levels.iter().max().map_or(0, |level| level + 1)];
        let boxes: Vec<(usize, usize)> = levels
            .iter()
            .map(|&level| {
                rows[level] += 1;
                (20 + level * (WIDTH + GAP.0), 20 + (rows[level] - 1) * (HEIGHT + GAP.1))
            })
            .collect();
        let width = 20 + rows.len() * (WIDTH + GAP.0);
        let height = 20 + rows.iter().max().unwrap_or(&0) * (HEIGHT + GAP.1);
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n"
        );
        for (index, dependencies) in self.dependencies.iter().enumerate() {
            let (x, y) = boxes[index];
            for &dependency in dependencies {
                let (from_x, from_y) = boxes[dependency];
                let (x1, y1, y2) = (from_x + WIDTH, from_y + HEIGHT / 2, y + HEIGHT / 2);
                text += &format!(
                    "<path d=\"M{x1} {y1} C{} {y1} {} {y2} {x} {y2}\" fill=\"none\" stroke=\"#888\"/>\n",
                    x1 + GAP.0 / 2,
                    x - GAP.0 / 2
                );
            }
        }
        for (node, (x, y)) in self.nodes.iter().zip(&boxes) {
            text += &format!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\" fill=\"#eef3fa\" stroke=\"#456\"/>\n\
                 <text x=\"{tx}\" y=\"{t1}\" font-weight=\"bold\">{}</text><text x=\"{tx}\" y=\"{t2}\" fill=\"#555\">{}</text>\n",
                node.recipe,
                node.target,
                tx = x + 10,
                t1 = y + 18,
                t2 = y + 34
            );
        }
        text + "</svg>\n"
    }
}
