//! The error of a conversion as a picture (SVG): by layer, with what stands before and behind the layers.

use crate::{Report, WeightError};
use std::fmt::Write;

/// What the picture measures, in its own units.
const WIDTH: f64 = 480.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 464.0;
const TOP: f64 = 92.0;
const HEIGHT: f64 = 260.0;
/// Between the embeddings and the first layer, and the last layer and the head.
const BESIDE: f64 = 44.0;
const ROW: f64 = 20.0;

/// One kind of weight: its name in a layer, and its error by layer.
struct Line {
    kind: String,
    points: Vec<(usize, f64)>,
}

/// A picture of the relative error: a line for each kind of weight by layer, and a mark for each weight that is in no layer:
/// on the left those that come before the layers (embeddings), on the right those behind (the head). `model` is its name.
pub fn picture(report: &Report, model: &str) -> String {
    let errors = &report.errors;
    let (lines, before, behind) = sorted(errors);
    let layers = lines.iter().flat_map(|line| &line.points).map(|(layer, _)| layer + 1).max().unwrap_or(1);
    let largest = errors.iter().map(|error| error.relative).filter(|it| it.is_finite()).fold(0.0, f64::max);
    let step = tick(largest.max(1e-6) / 4.0);
    let top = step * (largest / step).ceil().max(1.0);
    let start = LEFT + if before.is_empty() { 8.0 } else { BESIDE };
    let end = RIGHT - if behind.is_empty() { 8.0 } else { BESIDE };
    let x = |layer: usize| start + (end - start) * layer as f64 / (layers.max(2) - 1) as f64;
    let y = |error: f64| TOP + HEIGHT * (1.0 - error.min(top) / top);
    let bottom = TOP + HEIGHT;
    let others = before.len() + behind.len();
    let height = bottom + 56.0 + ROW * (lines.len() + others) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" class=\"errors\" \
         aria-label=\"{TITLE}\">\n<title>{TITLE}</title>\n<style>{STYLE}</style>\n<rect class=\"ground\" width=\"{WIDTH}\" \
         height=\"{height:.0}\"/>\n<text class=\"title\" x=\"16\" y=\"28\">{TITLE}</text>\n<text x=\"16\" y=\"46\">{} in {}</text>\n<text \
         x=\"16\" y=\"64\">root mean square of the difference over that of the weight</text>\n",
        escaped(&shortened(model)),
        report.quantization
    );
    let mut put = |text: std::fmt::Arguments| _ = writeln!(svg, "{text}");
    for index in 0..=(top / step).round() as usize {
        let (error, line) = (index as f64 * step, y(index as f64 * step));
        put(format_args!(
            "<path class=\"grid\" d=\"M{LEFT} {line:.1}H{RIGHT}\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            line + 4.0,
            percent(error, step)
        ));
    }
    let every = (layers.div_ceil(8)).max(1);
    for layer in (0..layers).step_by(every).filter(|_| !lines.is_empty()) {
        let at = x(layer);
        put(format_args!(
            "<path class=\"axis\" d=\"M{at:.1} {bottom}v5\"/><text x=\"{at:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{layer}</text>",
            bottom + 20.0
        ));
    }
    put(format_args!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{RIGHT}\"/>"));
    put(format_args!(
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">layer</text>",
        (start + end) / 2.0,
        bottom + 38.0
    ));
    let count = lines.len() + others;
    let style = |index: usize| format!("style=\"--hue:{}\"", 360 * index / count.max(1));
    let legend = |index: usize| bottom + 62.0 + ROW * index as f64;
    for (index, line) in lines.iter().enumerate() {
        let points: Vec<_> =
            line.points.iter().map(|(layer, error)| format!("{:.1},{:.1}", x(*layer), y(*error))).collect();
        // Colours alone do not tell many lines apart, to some eyes none.
        let dashes = DASHES[index % DASHES.len()];
        put(format_args!(
            "<g {}><polyline class=\"line\" stroke-dasharray=\"{dashes}\" points=\"{}\"/>{}<path class=\"line\" \
             stroke-dasharray=\"{dashes}\" d=\"M16 {2:.0}h40\"/><text x=\"64\" y=\"{3:.0}\">{4}</text></g>",
            style(index),
            points.join(" "),
            legend(index) - 4.0,
            legend(index),
            escaped(&line.kind),
        ));
    }
    let marks = before.iter().map(|it| (it, LEFT + 18.0)).chain(behind.iter().map(|it| (it, RIGHT - 18.0)));
    for (index, (error, at)) in marks.enumerate() {
        let index = lines.len() + index;
        let mark = |x: f64, y: f64| format!("M{:.1} {:.1}l6 6l-6 6l-6 -6z", x, y - 6.0);
        put(format_args!(
            "<g {}><path class=\"mark\" d=\"{}\"/><path class=\"mark\" d=\"{}\"/><text x=\"64\" y=\"{:.0}\">{} ({})</text></g>",
            style(index),
            mark(at, y(error.relative)),
            mark(36.0, legend(index) - 4.0),
            legend(index),
            escaped(&error.name),
            percent(error.relative, step / 10.0)
        ));
    }
    svg + "</svg>\n"
}

/// A name that fits into a line of the picture.
fn shortened(name: &str) -> String {
    const MOST: usize = 40;
    let start: String = name.chars().take(MOST).collect();
    if start.len() < name.len() { start + "…" } else { start }
}

const TITLE: &str = "Relative error of quantization";

const DASHES: [&str; 4] = ["none", "8 4", "2 3", "10 3 2 3"];

/// Colours for light and dark.
const STYLE: &str = ".errors{font:13px system-ui,sans-serif}.errors .ground{fill:#fff}.errors text{fill:#2b323c}.errors .title{font-size:17px;\
    font-weight:600;fill:#14181f}.errors .axis{fill:none;stroke:#5b6675}.errors .grid{fill:none;stroke:#d8dde3}.errors .line{fill:none;\
    stroke:hsl(var(--hue) 75% 36%);stroke-width:2}.errors .mark{fill:hsl(var(--hue) 75% 36%)}@media (prefers-color-scheme:dark){\
    .errors .ground{fill:#14181f}.errors text{fill:#d5dce5}.errors .title{fill:#f0f3f7}.errors .axis{stroke:#9aa6b5}.errors .grid{stroke:#343c47}\
    .errors .line{stroke:hsl(var(--hue) 75% 66%)}.errors .mark{fill:hsl(var(--hue) 75% 66%)}}";

type Sorted<'a> = (Vec<Line>, Vec<&'a WeightError>, Vec<&'a WeightError>);

/// Lines by kind, what comes before the first layer, and what comes behind it in the order of conversion.
fn sorted(errors: &[WeightError]) -> Sorted<'_> {
    let mut lines: Vec<Line> = Vec::new();
    let (mut before, mut behind) = (Vec::new(), Vec::new());
    for error in errors.iter().filter(|error| error.relative.is_finite()) {
        let parts: Vec<&str> = error.name.split('.').collect();
        let number = parts.iter().enumerate().find_map(|(at, part)| Some((at, part.parse::<usize>().ok()?)));
        let Some((at, layer)) = number else {
            // Embeddings may be converted after the layers, and a head before them: their names say it.
            let is_first = error.name.contains("embed") || error.name.contains("wte");
            if is_first { &mut before } else { &mut behind }.push(error);
            continue;
        };
        let kind = parts[at + 1..].join(".");
        match lines.iter_mut().find(|line| line.kind == kind) {
            Some(line) => line.points.push((layer, error.relative)),
            None => lines.push(Line { kind, points: vec![(layer, error.relative)] }),
        }
    }
    lines.iter_mut().for_each(|line| line.points.sort_by_key(|(layer, _)| *layer));
    (lines, before, behind)
}

/// A round number of at least `least`: 1, 2 or 5 times a power of ten.
fn tick(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= least * 0.999_999);
    factor.unwrap_or(10.0) * power
}

/// A share as a percentage, with as many digits as steps of `step` need.
fn percent(share: f64, step: f64) -> String {
    let digits = (-(step * 100.0).log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{:.digits$} %", share * 100.0)
}

fn escaped(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars()
        .map(plain)
        .collect::<String>()
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, relative: f64) -> WeightError {
        WeightError { name: name.into(), largest: 0.0, rms: 0.0, relative, cosine: 1.0 }
    }

    fn report(errors: Vec<WeightError>) -> Report {
        Report { quantization: "q4f16_1", bytes: 1, relative: 0.0, errors }
    }

    #[test]
    fn layers_are_lines_and_what_is_in_none_is_a_mark_beside_them() {
        let mut errors = vec![error("model.embed_tokens.weight", 0.07), error("lm_head<&.weight", 0.09)];
        for layer in 0..28 {
            errors.push(error(
                &format!("model.layers.{layer}.mlp.down_proj.weight"),
                0.08 + layer as f64 / 1000.0,
            ));
            errors.push(error(&format!("model.layers.{layer}.self_attn.o_proj.weight"), 0.06));
        }
        let svg = picture(&report(errors), "Tiny<1>");
        for part in [
            "<title>Relative error of quantization</title>",
            ">Tiny&lt;1> in q4f16_1</text>",
            "viewBox=\"0 0 480 ",
            "prefers-color-scheme:dark",
            "mlp.down_proj.weight</text>",
            "model.embed_tokens.weight (7.0",
            "lm_head&lt;&amp;.weight (9.0",
            ">24</text>",
            ">0 %</text>",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("class=\"mark\"").count(), 4);
    }

    #[test]
    fn nothing_and_what_is_no_number_make_a_picture_too() {
        for errors in
            [vec![], vec![error("x", f64::NAN)], vec![error("x", 0.0)], vec![error("h.0.w", f64::INFINITY)]]
        {
            let svg = picture(&report(errors), "Tiny<1>");
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn ticks_are_round() {
        for (least, expected) in [(0.013, 0.02), (0.02, 0.02), (0.021, 0.05), (0.7, 1.0)] {
            assert!((tick(least) - expected).abs() < 1e-9, "{least}: {}", tick(least));
        }
        assert_eq!((percent(0.05, 0.01), percent(0.005, 0.005)), ("5 %".into(), "0.5 %".into()));
    }
}
