// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Cost against size, C and Rust, as one drawing.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, anyhow, ensure};
use plotters::{
    coord::{Shift, combinators::WithKeyPoints, ranged1d::ValueFormatter},
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{Figure, Frozen, MemoryFigure, Results, Work, memory::Folio};
use crate::scenario::Flavor;

/// The drawing is kept with the project's texts.
const LICENCE: &str = "<!-- SPDX-License-Identifier: Apache-2.0 OR MIT -->";
const COLUMNS: usize = 3;
const WIDTH: u32 = 1080;
const ROW_HEIGHT: u32 = 262;
const HEAD_HEIGHT: u32 = 74;
const INK: RGBColor = RGBColor(36, 41, 47);
const FAINT: RGBColor = RGBColor(101, 109, 118);
const GRID: RGBColor = RGBColor(228, 232, 236);
/// Told apart by the colour-blind too: the marks differ, and one is darker.
const C: RGBColor = RGBColor(230, 130, 0);
const RUST: RGBColor = RGBColor(0, 95, 178);

/// One diagram.
struct Panel {
    title: &'static str,
    /// What the horizontal axis counts.
    of: &'static str,
    scale: Scale,
    c: Vec<(f64, f64)>,
    rust: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Scale {
    /// From zero.
    Linear,
    /// By powers of ten, where one of the two grows and the other does not.
    Logarithmic,
}

impl Results {
    /// Draws all that was measured at more than one size.
    ///
    /// # Errors
    /// When there is nothing to draw, or the file cannot be written.
    pub fn plot(&self, path: &Path) -> Result<()> {
        let panels = self.panels();
        ensure!(
            !panels.is_empty(),
            "nothing was measured at more than one size: there is nothing to draw"
        );
        let rows = panels.len().div_ceil(COLUMNS);
        let height = HEAD_HEIGHT + ROW_HEIGHT * u32::try_from(rows)?;
        let mut drawing = String::new();
        let root = SVGBackend::with_string(&mut drawing, (WIDTH, height)).into_drawing_area();
        draw(&root, &panels, rows).map_err(|error| anyhow!("cannot draw: {error}"))?;
        drop(root);
        fs::write(path, format!("{LICENCE}\n{drawing}"))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn panels(&self) -> Vec<Panel> {
        use Scale::{Linear, Logarithmic};
        let panels = [
            self.work(
                "preserve, per 4 KiB folio",
                Work::PreserveSmallFolio,
                Linear,
            ),
            self.work(
                "retrieve, per 4 KiB folio",
                Work::RetrieveSmallFolio,
                Linear,
            ),
            self.peak("peak memory, 4 KiB folios, % of memfd", Folio::Small),
            self.work("preserve, per 2 MiB folio", Work::PreserveHugeFolio, Linear),
            self.work("retrieve, per 2 MiB folio", Work::RetrieveHugeFolio, Linear),
            self.peak("peak memory, 2 MiB folios, % of memfd", Folio::Huge),
            self.work("create, per session", Work::CreateSession, Logarithmic),
            self.work("retrieve, per session", Work::RetrieveSession, Logarithmic),
            self.freeze("freeze, all sessions", Frozen::Sessions),
            self.work("preserve, per file", Work::PreserveFile, Logarithmic),
            self.work("retrieve, per file", Work::RetrieveFile, Logarithmic),
            self.freeze("freeze, all files", Frozen::Files),
        ];
        let worth_drawing = |panel: &Panel| panel.c.len().max(panel.rust.len()) > 1;
        panels.into_iter().filter(worth_drawing).collect()
    }

    fn work(&self, title: &'static str, work: Work, scale: Scale) -> Panel {
        let unit = work.size_unit().0;
        let points = |flavor| {
            let same = |it: &&Figure| (it.flavor, it.work) == (flavor, work);
            let point = |it: &Figure| (it.size(), it.mean as f64);
            self.figures.iter().filter(same).map(point).collect()
        };
        Panel::new(title, unit, scale, points)
    }

    fn peak(&self, title: &'static str, folio: Folio) -> Panel {
        let points = |flavor| {
            let same = |it: &&MemoryFigure| (it.flavor, it.folio) == (flavor, folio);
            let point = |it: &MemoryFigure| (f64::from(it.mib), it.peak_percent());
            self.memory.iter().filter(same).map(point).collect()
        };
        Panel::new(title, "MiB", Scale::Linear, points)
    }

    /// What is left when the cost with nothing is taken away.
    fn freeze(&self, title: &'static str, what: Frozen) -> Panel {
        let points = |flavor| {
            let of = |what| {
                let same = move |it: &&super::FreezeFigure| (it.flavor, it.what) == (flavor, what);
                self.freezes.iter().filter(same)
            };
            let Some(empty) = of(Frozen::Nothing).next() else {
                return Vec::new();
            };
            of(what)
                .map(|it| {
                    (
                        f64::from(it.count),
                        it.total.saturating_sub(empty.total) as f64,
                    )
                })
                .collect()
        };
        let of = match what {
            Frozen::Files => "files",
            Frozen::Nothing | Frozen::Sessions => "sessions",
        };
        Panel::new(title, of, Scale::Logarithmic, points)
    }
}

impl Panel {
    fn new(
        title: &'static str,
        of: &'static str,
        scale: Scale,
        points: impl Fn(Flavor) -> Vec<(f64, f64)>,
    ) -> Self {
        let sorted = |flavor| {
            let mut points = points(flavor);
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            points
        };
        Self {
            title,
            of,
            scale,
            c: sorted(Flavor::C),
            rust: sorted(Flavor::Rust),
        }
    }

    /// Those that were measured.
    fn sizes(&self) -> Vec<f64> {
        let sizes = self.c.iter().chain(&self.rust).map(|point| point.0);
        let mut sizes: Vec<_> = sizes.collect();
        sizes.sort_by(f64::total_cmp);
        sizes.dedup();
        sizes
    }

    /// The smallest and the largest of one coordinate.
    fn extent(&self, of: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
        let values = self.c.iter().chain(&self.rust).map(of);
        values.fold((f64::INFINITY, 0.0), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    }

    fn draw(&self, area: &Area<'_>) -> Drawn<()> {
        let title = ("sans-serif", 15, FontStyle::Bold).into_font().color(&INK);
        area.draw_text(self.title, &title, (12, 8))?;
        let (first, last) = self.extent(|point| point.0);
        let (low, high) = self.extent(|point| point.1);
        let x = (first / 1.4..last * 1.4)
            .log_scale()
            .with_key_points(self.sizes());
        let mut builder = ChartBuilder::on(area);
        builder
            .margin_top(34)
            .margin_right(14)
            .margin_bottom(12)
            .x_label_area_size(34)
            .y_label_area_size(62);
        match self.scale {
            Scale::Linear => {
                let mut chart = builder.build_cartesian_2d(x, 0.0..high * 1.15)?;
                self.mesh(&mut chart)?;
                self.lines(&mut chart)
            }
            Scale::Logarithmic => {
                // Whole decades, or there would be too few marks.
                let y = (decade_below(low.max(1.0))..decade_above(high.max(1.0))).log_scale();
                let mut chart = builder.build_cartesian_2d(x, y)?;
                self.mesh(&mut chart)?;
                self.lines(&mut chart)
            }
        }
    }

    fn mesh<Y>(&self, chart: &mut Chart<'_, '_, Y>) -> Drawn<()>
    where
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let label = ("sans-serif", 12).into_font().color(&FAINT);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(FAINT)
            .label_style(label)
            .x_desc(self.of)
            .x_labels(10)
            .y_labels(5)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .draw()
    }

    fn lines<Y>(&self, chart: &mut Chart<'_, '_, Y>) -> Drawn<()>
    where
        Y: Ranged<ValueType = f64>,
    {
        // C's marks are the larger ones, so that they are seen where both are the same.
        let c = self.c.iter().copied();
        chart.draw_series(LineSeries::new(c.clone(), C.stroke_width(2)))?;
        chart.draw_series(c.map(|point| TriangleMarker::new(point, 7, C.filled())))?;
        let rust = self.rust.iter().copied();
        chart.draw_series(LineSeries::new(rust.clone(), RUST.stroke_width(2)))?;
        chart.draw_series(rust.map(|point| Circle::new(point, 4, RUST.filled())))?;
        Ok(())
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b, Y> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<WithKeyPoints<LogCoord<f64>>, Y>>;
type Drawn<T> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

fn draw(root: &Area<'_>, panels: &[Panel], rows: usize) -> Drawn<()> {
    root.fill(&WHITE)?;
    let title = ("sans-serif", 20).into_font().color(&INK);
    root.draw_text("Cost of live update against size", &title, (12, 12))?;
    let note = ("sans-serif", 13).into_font().color(&FAINT);
    root.draw_text(
        "guest instructions, unless a title says otherwise",
        &note,
        (12, 40),
    )?;
    legend(root)?;
    let (_, body) = root.split_vertically(HEAD_HEIGHT);
    for (area, panel) in body.split_evenly((rows, COLUMNS)).iter().zip(panels) {
        panel.draw(area)?;
    }
    root.present()
}

fn legend(root: &Area<'_>) -> Drawn<()> {
    let label = ("sans-serif", 15)
        .into_font()
        .color(&INK)
        .pos(Pos::new(HPos::Left, VPos::Center));
    let (c, rust, y) = (WIDTH as i32 - 190, WIDTH as i32 - 90, 24);
    root.draw(&PathElement::new([(c, y), (c + 28, y)], C.stroke_width(2)))?;
    root.draw(&TriangleMarker::new((c + 14, y), 7, C.filled()))?;
    root.draw_text("C", &label, (c + 36, y))?;
    root.draw(&PathElement::new(
        [(rust, y), (rust + 28, y)],
        RUST.stroke_width(2),
    ))?;
    root.draw(&Circle::new((rust + 14, y), 4, RUST.filled()))?;
    root.draw_text("Rust", &label, (rust + 36, y))
}

/// The power of ten at or below.
fn decade_below(value: f64) -> f64 {
    10_f64.powf(value.log10().floor())
}

/// The power of ten above.
fn decade_above(value: f64) -> f64 {
    10_f64.powf(value.log10().floor() + 1.0)
}

/// With the letters of the thousands, and as few digits as there are.
fn short(value: f64) -> String {
    let (value, letter) = match value {
        value if value >= 1e9 => (value / 1e9, "G"),
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e4 => (value / 1e3, "k"),
        value => (value, ""),
    };
    // A step of the axis has no more digits than this.
    let rounded = (value * 1000.0).round() / 1000.0;
    format!("{rounded}{letter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_short() {
        let texts = [0.0, 0.25, 500.0, 5000.0, 50_000.0, 2.5e6, 1e9].map(short);
        assert_eq!(texts, ["0", "0.25", "500", "5000", "50k", "2.5M", "1G"]);
    }

    #[test]
    fn what_was_measured_is_drawn() -> Result<()> {
        let figure =
            |flavor, count, total| Figure::of_one_call(Work::CreateSession, flavor, count, total);
        let results = Results {
            figures: vec![
                figure(Flavor::C, 500, 50_000_000),
                figure(Flavor::C, 5000, 5_000_000_000),
                figure(Flavor::Rust, 500, 3_500_000),
                figure(Flavor::Rust, 50_000, 500_000_000),
            ],
            ..Results::default()
        };
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("bench.svg");
        results.plot(&path)?;
        let drawing = fs::read_to_string(&path)?;
        assert!(drawing.contains("create, per session"), "{drawing}");
        assert!(!drawing.contains("per file"), "{drawing}");
        assert!(Results::default().plot(&path).is_err());
        Ok(())
    }
}
