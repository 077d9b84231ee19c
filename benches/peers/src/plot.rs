//! The growth plot: nanoseconds per task against the number of tasks, both axes logarithmic.
//!
//! Drawn by hand, because it is two grids and some lines.

use std::fmt::Write as _;

use peers::Kind;

use crate::time::{Row, SIZES, Times};

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 400.0;
const TOP: f64 = 50.0;
const LEFT: [f64; 2] = [70.0, 540.0];
const LEGEND: f64 = 960.0;
/// Of Okabe and Ito, which can be told apart by most.
const PEERS: [&str; 5] = ["#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2"];

pub fn svg(times: &[Times]) -> String {
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1290 510\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"1290\" height=\"510\" fill=\"white\"/>\n",
    );
    let bottom = TOP + HEIGHT;
    for (times, left) in times.iter().zip(LEFT) {
        let middle = left + WIDTH / 2.0;
        let title = format!("Bulk cancel, payload {}", times.payload.replace('`', ""));
        text(&mut svg, middle, 28.0, "middle", &title);
        text(&mut svg, middle, bottom + 42.0, "middle", "number of tasks");
        let (x_text, y_text) = (left - 44.0, TOP + HEIGHT / 2.0);
        let _ = writeln!(
            svg,
            "<text transform=\"translate({x_text} {y_text}) rotate(-90)\" \
             text-anchor=\"middle\">ns per task</text>",
        );
        for (at, size) in SIZES.iter().enumerate() {
            let x = x(left, at);
            line(&mut svg, (x, TOP), (x, bottom));
            text(&mut svg, x, bottom + 20.0, "middle", &size.to_string());
        }
        let ticks = ticks(&times.rows);
        let (lowest, highest) = (ticks[0], ticks[ticks.len() - 1]);
        let y = |ns: f64| TOP + HEIGHT * (highest / ns).ln() / (highest / lowest).ln();
        for tick in ticks {
            line(&mut svg, (left, y(tick)), (left + WIDTH, y(tick)));
            text(
                &mut svg,
                left - 8.0,
                y(tick) + 4.0,
                "end",
                &tick.to_string(),
            );
        }
        let mut peers = PEERS.iter();
        for row in &times.rows {
            let style = style(row, &mut peers);
            let points: Vec<String> = (0..SIZES.len())
                .map(|at| format!("{:.1},{:.1}", x(left, at), y(row.ns[at])))
                .collect();
            let points = points.join(" ");
            let _ = writeln!(svg, "<polyline points=\"{points}\" fill=\"none\" {style}/>");
        }
    }
    let (mut peers, mut below) = (PEERS.iter(), TOP + 10.0);
    for row in &times[0].rows {
        let style = style(row, &mut peers);
        let _ = writeln!(svg, "<path d=\"M{LEGEND} {below} h36\" {style}/>");
        let name = row.name.replace(['*', '`'], "");
        text(&mut svg, LEGEND + 46.0, below + 4.0, "start", &name);
        below += 26.0;
    }
    svg.push_str("</svg>\n");
    svg
}

/// 1, 2 and 5 times the powers of ten, from below the least figure to above the greatest.
fn ticks(rows: &[Row]) -> Vec<f64> {
    let figures = || rows.iter().flat_map(|row| row.ns.iter().copied());
    let least = figures().fold(f64::INFINITY, f64::min);
    let greatest = figures().fold(0.0, f64::max);
    let ticks = [
        0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0,
    ];
    let from = ticks.iter().rposition(|tick| *tick <= least).unwrap_or(0);
    let to = ticks
        .iter()
        .position(|tick| *tick >= greatest)
        .unwrap_or(ticks.len() - 1);
    ticks[from..=to].to_vec()
}

fn x(left: f64, at: usize) -> f64 {
    left + WIDTH * at as f64 / (SIZES.len() - 1) as f64
}

/// A line of the grid.
fn line(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let ((x, y), (to_x, to_y)) = (from, to);
    let _ = writeln!(
        svg,
        "<path d=\"M{x:.1} {y:.1} L{to_x:.1} {to_y:.1}\" stroke=\"#dddddd\"/>",
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

/// Ours are thick and red, what is hand-written is grey; each with dashes of its own.
fn style(row: &Row, peers: &mut std::slice::Iter<&str>) -> String {
    let (colour, width) = match row.kind {
        Kind::Ours => ("#D00000", 3.0),
        Kind::Hand => ("#555555", 1.8),
        Kind::Peer => (*peers.next().expect("a colour for each peer"), 1.8),
    };
    let dashes = match row.name {
        name if name.contains("record") => "2 4",
        name if name.contains("apply") => "10 3",
        name if name.contains("branches") => "8 4",
        name if name.contains("obvious") => "2 3",
        name if name.contains("byte table") => "12 3 2 3",
        _ => "none",
    };
    format!("stroke=\"{colour}\" stroke-width=\"{width}\" stroke-dasharray=\"{dashes}\"")
}
