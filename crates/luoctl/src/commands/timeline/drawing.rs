// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The last update as an SVG: a bar for each phase, the blackout shaded.

use luod::protocol::{Span, Timeline};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::headline;
use crate::{
    exit::{Failure, Result},
    screen::duration,
};

const WIDTH: i32 = 960;
const LEFT: i32 = 270;
const RIGHT: i32 = WIDTH - 110;
const HEAD: i32 = 74;
const ROW: i32 = 32;
const FOOT: i32 = 62;
const BAR: i32 = 18;
/// Of what comes before the blackout, as much is drawn as this part of the blackout.
const BEFORE: f64 = 0.3;

const INK: RGBColor = RGBColor(36, 41, 47);
const FAINT: RGBColor = RGBColor(101, 109, 118);
const GRID: RGBColor = RGBColor(208, 214, 220);
const SHADE: RGBColor = RGBColor(253, 243, 228);
const WORKING: RGBColor = RGBColor(0, 95, 178);
const DARK: RGBColor = RGBColor(230, 130, 0);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// The drawing, as the text of an SVG file.
pub(super) fn svg(timeline: &Timeline) -> Result<String> {
    let mut text = String::new();
    let rows = i32::try_from(timeline.spans.len()).unwrap_or(i32::MAX / ROW / 2);
    let height = HEAD + rows * ROW + FOOT;
    let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
    let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
    draw(&area, timeline, height).map_err(|err| Failure::failed(format!("cannot draw: {err}")))?;
    drop(area);
    Ok(text)
}

/// From milliseconds since the update was asked for to columns.
struct Scale {
    from: f64,
    to: f64,
    /// Where the blackout begins: the axis counts from there.
    zero: f64,
}

impl Scale {
    fn of(timeline: &Timeline) -> Self {
        let end = |span: &Span| span.start_ms + span.ms;
        let zero = timeline.spans.first().map_or(0.0, end);
        let to = timeline
            .spans
            .iter()
            .map(end)
            .fold(zero, f64::max)
            .max(zero + 0.001);
        let from = (zero - BEFORE * (to - zero)).max(0.0);
        Self { from, to, zero }
    }

    fn column(&self, ms: f64) -> i32 {
        let part = (ms.clamp(self.from, self.to) - self.from) / (self.to - self.from);
        LEFT + (part * f64::from(RIGHT - LEFT)).round() as i32
    }

    /// Between the marks of the axis: 1, 2 or 5 times a power of ten, four to ten of them.
    fn step(&self) -> f64 {
        let rough = (self.to - self.from) / 8.0;
        let power = 10_f64.powf(rough.log10().floor());
        let times = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .find(|it| it * power >= rough);
        times.unwrap_or(10.0) * power
    }
}

fn draw(area: &Area<'_>, timeline: &Timeline, height: i32) -> Drawn {
    area.fill(&WHITE)?;
    let bold = ("sans-serif", 18, FontStyle::Bold).into_font().color(&INK);
    area.draw_text(&headline(timeline), &bold, (16, 14))?;
    let blackout = duration(timeline.blackout_ms);
    let told = format!("Blackout, from the last READY to the last claim: {blackout}");
    let plain = ("sans-serif", 14).into_font().color(&FAINT);
    area.draw_text(&told, &plain, (16, 40))?;
    let scale = Scale::of(timeline);
    let bottom = height - FOOT;
    let shade = [(scale.column(scale.zero), HEAD - 6), (RIGHT, bottom)];
    area.draw(&Rectangle::new(shade, SHADE.filled()))?;
    axis(area, &scale, bottom)?;
    for (number, span) in timeline.spans.iter().enumerate() {
        let row = HEAD + ROW * i32::try_from(number)?;
        let colour = if number == 0 { WORKING } else { DARK };
        bar(area, &scale, span, row, colour)?;
    }
    let legend = ("sans-serif", 12).into_font().color(&FAINT);
    let words = "blue: programs still work; orange: the blackout. Time counts from its beginning.";
    area.draw_text(words, &legend, (16, height - 22))?;
    area.present()?;
    Ok(())
}

fn bar(area: &Area<'_>, scale: &Scale, span: &Span, row: i32, colour: RGBColor) -> Drawn {
    let middle = row + ROW / 2 - 3;
    let at = |h, v| Pos::new(h, v);
    let name = ("sans-serif", 14)
        .into_font()
        .color(&INK)
        .pos(at(HPos::Right, VPos::Center));
    area.draw_text(&span.name, &name, (LEFT - 12, middle))?;
    let start = scale.column(span.start_ms);
    // Every phase is seen, however short.
    let end = scale.column(span.start_ms + span.ms).max(start + 1);
    let corners = [(start, middle - BAR / 2), (end, middle + BAR / 2)];
    area.draw(&Rectangle::new(corners, colour.filled()))?;
    if span.start_ms < scale.from {
        // It has begun before the drawing does.
        let cut = [(start + 5, middle - BAR / 2), (start + 8, middle + BAR / 2)];
        area.draw(&Rectangle::new(cut, WHITE.filled()))?;
    }
    let takes = ("sans-serif", 13)
        .into_font()
        .color(&INK)
        .pos(at(HPos::Left, VPos::Center));
    area.draw_text(&duration(span.ms), &takes, (end + 6, middle))?;
    Ok(())
}

fn axis(area: &Area<'_>, scale: &Scale, bottom: i32) -> Drawn {
    let step = scale.step();
    let number = ("sans-serif", 12)
        .into_font()
        .color(&FAINT)
        .pos(Pos::new(HPos::Center, VPos::Top));
    let first = ((scale.from - scale.zero) / step).ceil() as i32;
    let last = ((scale.to - scale.zero) / step).floor() as i32;
    for mark in first..=last {
        let ms = f64::from(mark) * step;
        let column = scale.column(scale.zero + ms);
        area.draw(&PathElement::new(
            [(column, HEAD - 6), (column, bottom)],
            GRID,
        ))?;
        area.draw_text(&label(ms, step), &number, (column, bottom + 6))?;
    }
    area.draw(&PathElement::new([(LEFT, bottom), (RIGHT, bottom)], FAINT))?;
    Ok(())
}

fn label(ms: f64, step: f64) -> String {
    if step >= 1000.0 {
        format!("{:.0} s", ms / 1000.0)
    } else if step >= 100.0 {
        format!("{:.1} s", ms / 1000.0)
    } else {
        format!("{ms} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::timeline::tests::update;

    #[test]
    fn the_drawing_is_well_formed_and_names_every_phase() {
        let timeline = update();
        let text = svg(&timeline).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap();
        let words: String = document.descendants().filter_map(|it| it.text()).collect();
        for part in [
            "clients preserve",
            "clients <claim>",
            "12.5 ms",
            "6.00 s",
            "1.51 s",
            "7.3.1",
        ] {
            assert!(words.contains(part), "no {part} in {words}");
        }
    }

    #[test]
    fn bars_are_as_long_as_what_they_stand_for() {
        let scale = Scale::of(&update());
        assert_eq!(scale.zero, 6000.0);
        assert!((scale.from - (6000.0 - 0.3 * 1512.5)).abs() < 1e-9);
        assert_eq!((scale.column(0.0), scale.column(7512.5)), (LEFT, RIGHT));
        let of_second = scale.column(7000.0) - scale.column(6000.0);
        let expected = f64::from(RIGHT - LEFT) * 1000.0 / (1.3 * 1512.5);
        assert!((f64::from(of_second) - expected).abs() <= 1.0);
    }

    #[test]
    fn axes_have_a_few_round_marks() {
        for length in [0.02, 3.0, 77.0, 1234.5, 60_000.0, 9e8] {
            let scale = Scale {
                from: 0.0,
                to: length,
                zero: 0.0,
            };
            let marks = length / scale.step();
            assert!((3.0..=10.0).contains(&marks), "{marks} for {length}");
        }
    }

    #[test]
    fn nothing_and_no_time_can_be_drawn() {
        let mut timeline = update();
        timeline
            .spans
            .iter_mut()
            .for_each(|it| (it.start_ms, it.ms) = (0.0, 0.0));
        svg(&timeline).unwrap();
        timeline.spans.clear();
        svg(&timeline).unwrap();
    }
}
