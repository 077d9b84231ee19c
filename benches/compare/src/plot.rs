//! The growth plot: nanoseconds per task against the number of tasks, a panel for each payload.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::Implementation;
use crate::bulk::{SIZES, Times};
use crate::task::Kind;

/// Draws the times of each payload, by implementation, and those of the decision alone.
pub fn draw(
    suite: &[Implementation],
    bulk: &[Vec<Times>],
    file: &Path,
) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(file, (1080, 720)).into_drawing_area();
    area.fill(&WHITE)?;
    let titles = suite[0].payloads.iter().map(|payload| payload.name).chain(["one byte"]);
    for ((title, times), area) in titles.zip(bulk).zip(area.split_evenly((2, 3))) {
        let most = times.as_flattened().iter().copied().fold(0.0, f64::max);
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
            let lines = suite.iter().zip(times).filter(|(it, _)| it.kind == kind);
            for (nth, (_, times)) in lines.enumerate() {
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
