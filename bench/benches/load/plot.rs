//! Plots of the tables' figures as SVG, readable on white.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::dimensions::{BaselineKind, Shape, StepKind, System};
use crate::load_steps::{CURVE, FAN_OUT};
use crate::results::{Results, Row};

type Area<'p> = DrawingArea<SVGBackend<'p>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// A name, a colour, and points from left to right; two points alone are no measurements, and are
/// not marked.
type Line = (String, RGBColor, Vec<(f64, f64)>);

/// Colours of baselines, by the pushes per write.
const GREYS: [(u32, RGBColor); 2] = [(1, RGBColor(90, 90, 90)), (16, RGBColor(170, 170, 170))];

/// The look of a plot without its lines.
struct Look<'l> {
    title: String,
    axes: [&'l str; 2],
    /// The place of the legend.
    names: SeriesLabelPosition,
    /// The factor by which the axis begins below the lowest value, to leave space for the legend.
    below: f64,
}

fn colour(system: System) -> RGBColor {
    match system {
        System::SocketIo => RGBColor(170, 51, 119),
        System::OneProcess => RGBColor(0, 114, 178),
        System::NatsMemory => RGBColor(0, 158, 115),
        System::NatsJetStream => RGBColor(213, 94, 0),
    }
}

/// Processor time per delivery against deliveries per second, of the shape that has a curve.
pub(crate) fn cpu(results: &Results, path: &Path) -> Drawn {
    let mut lines: Vec<Line> = System::ALL.iter().map(|system| curve(results, *system)).collect();
    let points = || lines.iter().flat_map(|(_, _, points)| points.iter().copied());
    let (left, right) = span(points().map(|(rate, _)| rate));
    for (at_once, grey) in GREYS {
        let floor = results.baseline(BaselineKind::Write { sockets: CURVE.users(), at_once });
        let line = floor.map(|cost| (format!("floor, {at_once} per write"), grey, vec![(left, cost), (right, cost)]));
        lines.extend(line);
    }
    let area = SVGBackend::new(path, (860, 520)).into_drawing_area();
    area.fill(&WHITE)?;
    let title = format!("Processor time of all servers per delivery, {CURVE}");
    let axes = ["deliveries per second", "microseconds per delivery"];
    let look = Look { title, axes, names: SeriesLabelPosition::UpperRight, below: 1.0 };
    draw(&area, &look, &lines, &|value| format!("{value}"))?;
    area.present()?;
    Ok(())
}

fn curve(results: &Results, system: System) -> Line {
    let rows = results.rows(CURVE, system).filter(|row| row.report.deliveries > 0);
    let mut points: Vec<_> = rows.map(|row| (row.report.deliveries_per_sec, row.per_delivery())).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    (system.to_string(), colour(system), points)
}

/// Quantiles at half load, of each shape.
pub(crate) fn latency(results: &Results, path: &Path) -> Drawn {
    let area = SVGBackend::new(path, (1_280, 460)).into_drawing_area();
    area.fill(&WHITE)?;
    for (panel, fan_out) in area.split_evenly((1, FAN_OUT.len())).iter().zip(&FAN_OUT) {
        let lines: Vec<_> = System::ALL.iter().map(|system| quantiles(results, fan_out.shape, *system)).collect();
        let title = format!("Latency at half load, {}", fan_out.shape);
        let axes = ["deliveries that took no longer", "milliseconds"];
        let look = Look { title, axes, names: SeriesLabelPosition::LowerRight, below: 4.0 };
        draw(panel, &look, &lines, &quantile)?;
    }
    area.present()?;
    Ok(())
}

/// Each at one in so many that took longer.
fn quantiles(results: &Results, shape: Shape, system: System) -> Line {
    let half = results.row(shape, system, StepKind::Half);
    let points = half.map(|Row { report, .. }| {
        let times = report.latency_ms;
        vec![(2.0, times.p50), (10.0, times.p90), (100.0, times.p99), (1_000.0, times.p999)]
    });
    (system.to_string(), colour(system), points.unwrap_or_default())
}

fn quantile(one_in: &f64) -> String {
    format!("{} %", 100.0 - 100.0 / one_in)
}

/// Draws lines with both axes logarithmic.
fn draw(area: &Area<'_>, look: &Look<'_>, lines: &[Line], name: &dyn Fn(&f64) -> String) -> Drawn {
    let points = || lines.iter().flat_map(|(_, _, points)| points.iter().copied());
    let (left, right) = span(points().map(|(x, _)| x));
    let (low, high) = span(points().map(|(_, y)| y));
    let mut chart = ChartBuilder::on(area)
        .caption(&look.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((left..right).log_scale(), (low / look.below..high).log_scale())?;
    let mut mesh = chart.configure_mesh();
    mesh.max_light_lines(0)
        .x_desc(look.axes[0])
        .y_desc(look.axes[1])
        .x_label_formatter(name)
        .bold_line_style(RGBColor(225, 225, 225));
    mesh.y_label_formatter(&|value| format!("{value}")).label_style(("sans-serif", 13)).draw()?;
    for (name, colour, points) in lines {
        let style = colour.stroke_width(2);
        let series = chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        let key = move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style);
        series.label(name).legend(key);
        let marks = if points.len() > 2 { &points[..] } else { &[] };
        chart.draw_series(marks.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    let mut legend = chart.configure_series_labels();
    legend.background_style(WHITE.mix(0.85)).border_style(RGBColor(200, 200, 200)).label_font(("sans-serif", 13));
    legend.position(look.names.clone()).draw()?;
    Ok(())
}

/// From a little below the smallest to a little above the largest.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite() && *value > 0.0)
        .fold((f64::MAX, 0.0), |(low, high), value| (value.min(low), value.max(high)));
    if high > 0.0 { (low / 1.3, high * 1.3) } else { (1.0, 10.0) }
}
