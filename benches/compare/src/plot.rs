//! The growth plot: nanoseconds per task against the number of tasks, a panel for each payload.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::bulk::{SIZES, Times};
use crate::suite::Implementation;
use crate::task::Kind;

type Lines = Vec<(Kind, Times)>;

/// Draws the times of each payload, by implementation, and those of the bare decision.
pub fn draw(
    suite: &[Implementation],
    bulk: &[Vec<Times>],
    states: &[Times],
    file: &Path,
) -> Result<(), Box<dyn Error>> {
    let kinds = suite.iter().map(|implementation| implementation.kind);
    let mut panels: Vec<(&str, Lines)> = Vec::new();
    for (payload, times) in suite[0].payloads.iter().zip(bulk) {
        panels.push((payload.name, kinds.clone().zip(times.iter().copied()).collect()));
    }
    panels.push(("one byte", vec![(Kind::Ours, states[0]), (Kind::Hand, states[1])]));

    let area = SVGBackend::new(file, (1080, 720)).into_drawing_area();
    area.fill(&WHITE)?;
    for ((title, lines), area) in panels.iter().zip(area.split_evenly((2, 3))) {
        let most = lines.iter().flat_map(|line| line.1).fold(0.0, f64::max);
        let sizes = SIZES[0] as f64..SIZES[SIZES.len() - 1] as f64;
        let mut chart = ChartBuilder::on(&area)
            .caption(title.replace('`', ""), ("sans-serif", 16))
            .margin(10)
            .margin_right(24)
            .x_label_area_size(36)
            .y_label_area_size(44)
            .build_cartesian_2d(sizes.log_scale(), 0.0..1.4 * most)?;
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT).x_labels(SIZES.len());
        mesh.x_label_formatter(&|size| format!("{size:e}"));
        mesh.x_desc("tasks").y_desc("ns per task").draw()?;
        for kind in [Kind::Peer, Kind::Hand, Kind::Obvious, Kind::Ours] {
            let (name, style) = match kind {
                Kind::Ours => ("the crate", RED.stroke_width(3)),
                Kind::Hand => ("by hand", BLACK.stroke_width(1)),
                Kind::Obvious => ("by hand: obvious", BLACK.mix(0.4).stroke_width(2)),
                Kind::Peer => ("peers", BLUE.mix(0.5).stroke_width(1)),
            };
            for (nth, (_, times)) in lines.iter().filter(|line| line.0 == kind).enumerate() {
                let points = SIZES.iter().zip(times).map(|(size, time)| (*size as f64, *time));
                let line = chart.draw_series(LineSeries::new(points, style))?;
                if nth == 0 {
                    let sample = move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style);
                    line.label(name).legend(sample);
                }
            }
        }
        chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).draw()?;
    }
    area.present()?;
    Ok(())
}
