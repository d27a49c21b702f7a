//! A graph as a picture (SVG): columns from left to right, arrows between them, none behind a box.
//!
//! Where an arrow passes a column, it has a lane of its own between the boxes there (as in Sugiyama's layered drawings); lanes
//! and boxes are ordered by the middle of their neighbours. It follows from the graph alone.

use std::fmt::Write;

/// What a node is, which gives it its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Something that is shipped: a box with round corners and a thick border.
    Shipped,
    /// Something that others are built with: a box.
    Tool,
    /// A check: a box with pointed ends.
    Check,
}

/// A node of the picture.
#[derive(Clone, Debug)]
pub struct Box {
    /// The first line.
    pub title: String,
    /// The second line, smaller.
    pub subtitle: String,
    /// Its shape.
    pub shape: Shape,
}

/// A graph to be drawn; every node stands behind its dependencies.
#[derive(Clone, Debug, Default)]
pub struct Drawing {
    /// The nodes.
    pub nodes: Vec<Box>,
    /// For each node the indices of its dependencies.
    pub dependencies: Vec<Vec<usize>>,
}

const HEIGHT: usize = 46;
const LANE: usize = 14;
const GAP: (usize, usize) = (64, 16);
const MARGIN: usize = 16;
/// Where the boxes begin: above stands what the shapes mean.
const TOP: usize = 52;
/// Sweeps over the columns that put nodes near their neighbours.
const SWEEPS: usize = 8;

/// A box or a lane in a column.
struct Slot {
    /// The node; of a lane, nothing.
    node: Option<usize>,
    /// Slots of the column before that lead here.
    from: Vec<usize>,
    y: usize,
}

impl Slot {
    fn height(&self) -> usize {
        if self.node.is_some() { HEIGHT } else { LANE }
    }
}

impl Drawing {
    /// The picture. `name` is its title for whoever can't see it.
    pub fn to_svg(&self, name: &str) -> String {
        let columns = self.columns();
        // The average width of a letter at these sizes, and some room: fonts differ.
        let letters = |node: &Box| (node.title.chars().count() * 8).max(node.subtitle.chars().count() * 7);
        let width = self.nodes.iter().map(letters).max().unwrap_or(0).max(120) + 28;
        let x = |column: usize| MARGIN + column * (width + GAP.0);
        let bottom = columns.iter().flatten().map(|slot| slot.y + slot.height()).max().unwrap_or(TOP);
        let size = ((x(columns.len().max(1) - 1) + width + MARGIN).max(3 * 150 + MARGIN), bottom + MARGIN);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\" \
             aria-label=\"{2}\" class=\"graph\">\n<title>{2}</title>\n<style>{STYLE}</style>\n<defs><marker id=\"arrow\" \
             viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
             <path class=\"head\" d=\"M0 0L10 5L0 10z\"/></marker></defs>\n<rect class=\"ground\" width=\"{0}\" height=\"{1}\"/>\n",
            size.0,
            size.1,
            escaped(name)
        );
        legend(&mut svg);
        for (column, slots) in columns.iter().enumerate().skip(1) {
            for slot in slots {
                let (x2, y2) = (x(column), slot.y + slot.height() / 2);
                for from in slot.from.iter().map(|index| &columns[column - 1][*index]) {
                    let (x1, y1) = (x(column - 1) + width, from.y + from.height() / 2);
                    let (middle, end) = ((x1 + x2) / 2, if slot.node.is_some() { x2 } else { x2 + width });
                    let arrow = if slot.node.is_some() { " marker-end=\"url(#arrow)\"" } else { "" };
                    // Writing to a string can't fail.
                    _ = writeln!(
                        svg,
                        "<path class=\"edge\" d=\"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}H{end}\"{arrow}/>"
                    );
                }
            }
        }
        for (column, slots) in columns.iter().enumerate() {
            for slot in slots {
                if let Some(node) = slot.node {
                    self.nodes[node].draw(&mut svg, (x(column), slot.y), width);
                }
            }
        }
        svg + "</svg>\n"
    }

    /// How many steps each node stands after the first ones.
    fn levels(&self) -> Vec<usize> {
        let mut levels: Vec<usize> = Vec::new();
        for dependencies in &self.dependencies {
            levels.push(
                dependencies.iter().filter_map(|&index| levels.get(index)).max().map_or(0, |level| level + 1),
            );
        }
        levels
    }

    fn columns(&self) -> Vec<Vec<Slot>> {
        let levels = self.levels();
        let mut columns: Vec<Vec<Slot>> = Vec::new();
        columns.resize_with(levels.iter().max().map_or(0, |level| level + 1), Vec::new);
        let mut places = Vec::new();
        for (node, &level) in levels.iter().enumerate() {
            places.push(columns[level].len());
            columns[level].push(Slot { node: Some(node), from: Vec::new(), y: 0 });
        }
        for (node, &level) in levels.iter().enumerate() {
            for &dependency in self.dependencies[node].iter().filter(|&&it| it < node) {
                let mut place = places[dependency];
                // Arrows of one node share their lanes.
                for slots in columns.iter_mut().take(level).skip(levels[dependency] + 1) {
                    let shared = slots.iter().position(|slot| slot.node.is_none() && slot.from == [place]);
                    place = shared.unwrap_or_else(|| {
                        slots.push(Slot { node: None, from: vec![place], y: 0 });
                        slots.len() - 1
                    });
                }
                columns[level][places[node]].from.push(place);
            }
        }
        let count = columns.len();
        for forward in (0..SWEEPS).map(|sweep| sweep % 2 == 0) {
            for column in 1..count {
                sort(&mut columns, if forward { column } else { count - column }, forward);
            }
        }
        for slots in &mut columns {
            let mut y = TOP;
            for slot in slots {
                slot.y = y;
                y += slot.height() + GAP.1;
            }
        }
        columns
    }
}

/// Orders a column by the middle of the neighbours before it, or the column before it by those behind.
fn sort(columns: &mut [Vec<Slot>], column: usize, forward: bool) {
    let middle = |places: &[usize], own: usize| match places.len() {
        0 => own * 1000,
        count => places.iter().sum::<usize>() * 1000 / count,
    };
    let (sorted, keys): (usize, Vec<usize>) = match forward {
        true => {
            let slots = columns[column].iter().enumerate();
            (column, slots.map(|(own, slot)| middle(&slot.from, own)).collect())
        }
        false => {
            let mut to: Vec<Vec<usize>> = vec![Vec::new(); columns[column - 1].len()];
            for (index, slot) in columns[column].iter().enumerate() {
                slot.from.iter().for_each(|&from| to[from].push(index));
            }
            (column - 1, to.iter().enumerate().map(|(own, places)| middle(places, own)).collect())
        }
    };
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|&index| keys[index]);
    let mut new_places = vec![0; order.len()];
    for (new, &old) in order.iter().enumerate() {
        new_places[old] = new;
    }
    let mut slots: Vec<Option<Slot>> = std::mem::take(&mut columns[sorted]).into_iter().map(Some).collect();
    columns[sorted] = order.iter().filter_map(|&old| slots[old].take()).collect();
    if let Some(next) = columns.get_mut(sorted + 1) {
        for slot in next {
            slot.from.iter_mut().for_each(|from| *from = new_places[*from]);
            slot.from.sort_unstable();
        }
    }
}

impl Box {
    fn draw(&self, svg: &mut String, (x, y): (usize, usize), width: usize) {
        outline(svg, self.shape, (x, y), (width, HEIGHT));
        _ = writeln!(
            svg,
            "<text class=\"title\" x=\"{0}\" y=\"{1}\">{2}</text><text class=\"subtitle\" x=\"{0}\" y=\"{3}\">{4}</text>",
            x + 14,
            y + 19,
            escaped(&self.title),
            y + 36,
            escaped(&self.subtitle)
        );
    }
}

fn outline(svg: &mut String, shape: Shape, (x, y): (usize, usize), (width, height): (usize, usize)) {
    const POINT: usize = 9;
    _ = match shape {
        Shape::Shipped => {
            writeln!(
                svg,
                "<rect class=\"shipped\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"10\"/>"
            )
        }
        Shape::Tool => {
            writeln!(svg, "<rect class=\"tool\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>")
        }
        Shape::Check => writeln!(
            svg,
            "<path class=\"check\" d=\"M{} {y}H{}L{} {}L{} {}H{}L{x} {}z\"/>",
            x + POINT,
            x + width - POINT,
            x + width,
            y + height / 2,
            x + width - POINT,
            y + height,
            x + POINT,
            y + height / 2
        ),
    };
}

/// What the shapes mean.
fn legend(svg: &mut String) {
    for (index, (shape, word)) in
        [(Shape::Shipped, "artifact"), (Shape::Tool, "built with"), (Shape::Check, "check")]
            .into_iter()
            .enumerate()
    {
        let x = MARGIN + index * 150;
        outline(svg, shape, (x, 14), (36, 20));
        _ = writeln!(svg, "<text class=\"subtitle\" x=\"{}\" y=\"28\">{word}</text>", x + 44);
    }
}

/// Colours for light and dark; contrast of at least 4.5 to 1 for text and 3 to 1 for lines.
const STYLE: &str = ".graph{font-family:system-ui,sans-serif}.graph .ground{fill:#fff}.graph .edge{fill:none;stroke:#5b6675;stroke-width:1.4}\
    .graph .head{fill:#5b6675}.graph .shipped{fill:#e3edfb;stroke:#1f5fbf;stroke-width:2.5}.graph .tool{fill:#f2f3f5;stroke:#5b6675;stroke-width:1.4}\
    .graph .check{fill:#e6f4e8;stroke:#2c7a3d;stroke-width:1.8}.graph .title{font-size:13px;font-weight:600;fill:#14181f}\
    .graph .subtitle{font-size:12px;fill:#3f4855}\
    @media screen and (prefers-color-scheme:dark){.graph .ground{fill:#14181f}.graph .edge{stroke:#9aa6b5}.graph .head{fill:#9aa6b5}\
    .graph .shipped{fill:#172c4a;stroke:#6ea8ff}.graph .tool{fill:#23282f;stroke:#9aa6b5}.graph .check{fill:#16301c;stroke:#6cc281}\
    .graph .title{fill:#f0f3f7}.graph .subtitle{fill:#c3ccd8}}";

/// Text for XML, control characters replaced: an XML parser refuses them however they are written.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing(edges: &[&[usize]]) -> Drawing {
        let node =
            |index: usize| Box { title: format!("n{index}"), subtitle: "<x>".into(), shape: Shape::Tool };
        Drawing {
            nodes: (0..edges.len()).map(node).collect(),
            dependencies: edges.iter().map(|list| list.to_vec()).collect(),
        }
    }

    #[test]
    fn boxes_and_lanes_of_a_column_do_not_overlap() {
        // 4 depends on 0 across two columns, as well as on 3.
        let drawing = drawing(&[&[], &[0], &[0], &[1, 2], &[0, 3], &[4, 0, 2]]);
        let columns = drawing.columns();
        assert_eq!(columns.len(), 5);
        for slots in &columns {
            for pair in slots.windows(2) {
                assert!(pair[0].y + pair[0].height() <= pair[1].y);
            }
        }
        // Every arrow goes from one column to the next: the long ones by way of lanes.
        let lanes = columns.iter().flatten().filter(|slot| slot.node.is_none()).count();
        assert_eq!(lanes, 5, "0 to 4 and 5, and 2 to 5, which share what they can");
        for (column, slots) in columns.iter().enumerate() {
            for slot in slots {
                assert!(slot.from.iter().all(|from| *from < columns[column - 1].len()));
            }
        }
    }

    #[test]
    fn a_picture_has_a_title_a_view_box_arrows_and_escapes() {
        let svg = drawing(&[&[], &[0]]).to_svg("a <graph>");
        for part in [
            "viewBox=\"0 0 ",
            "<title>a &lt;graph&gt;</title>",
            "marker-end=\"url(#arrow)\"",
            "&lt;x&gt;",
            "prefers-color-scheme:dark",
        ] {
            assert!(svg.contains(part), "{part}");
        }
        assert!(!svg.contains("<x>"));
        assert!(Drawing::default().to_svg("empty").ends_with("</svg>\n"));
    }
}
