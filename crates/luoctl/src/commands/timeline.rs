// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `luoctl timeline`: the last update by phases, as text and as a drawing.

mod drawing;

use std::{fs, path::Path};

use comfy_table::CellAlignment;
use jiff::Timestamp;
use luod::protocol::{Command, Event, Timeline};

use crate::{
    agent::{Agent, unexpected},
    cli::TimelineArgs,
    exit::{Exit, Failure, Result},
    screen::{Look, Screen, duration, lines},
};

pub(crate) fn run(args: &TimelineArgs, agent: &Agent, screen: &Screen) -> Result<Exit> {
    let timeline = match &args.from {
        Some(path) => read(path)?,
        None => ask(agent)?,
    };
    if let Some(path) = &args.svg {
        let written = fs::write(path, drawing::svg(&timeline)?);
        written
            .map_err(|err| Failure::failed(format!("cannot write {}: {err}", path.display())))?;
    }
    screen.show(&timeline, render)?;
    Ok(Exit::Done)
}

fn ask(agent: &Agent) -> Result<Timeline> {
    let command = Command::Timeline;
    match agent.ask(&command)? {
        (Event::Timeline(timeline), _) => Ok(timeline),
        (other, _) => Err(unexpected(&command, &other)),
    }
}

fn read(path: &Path) -> Result<Timeline> {
    let path_shown = path.display();
    let text = fs::read(path)
        .map_err(|err| Failure::failed(format!("cannot read {path_shown}: {err}")))?;
    serde_json::from_slice(&text).map_err(|err| {
        Failure::failed(format!(
            "{path_shown} is nothing that `timeline --json` has written: {err}"
        ))
    })
}

/// The longest bar, in characters.
const BAR: f64 = 30.0;

fn render(timeline: &Timeline, look: &Look) -> String {
    let mut text = format!("{}\n\n", look.title(headline(timeline)));
    let mut table = look.table(&["phase", "starts at", "takes", ""]);
    let longest = timeline.spans.iter().map(|it| it.ms).fold(0.0, f64::max);
    for span in &timeline.spans {
        let bar = match longest {
            0.0 => 0,
            longest => (span.ms / longest * BAR).round() as usize,
        };
        table.add_row([
            span.name.clone(),
            duration(span.start_ms),
            duration(span.ms),
            "#".repeat(bar),
        ]);
    }
    for number in [1, 2] {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    text += &lines(&table);
    let blackout = duration(timeline.blackout_ms);
    text += &look.title(format!(
        "\nBlackout: {blackout}, from the last READY to the last claim\n"
    ));
    text
}

/// From what to what, and when.
fn headline(timeline: &Timeline) -> String {
    let seconds = i64::try_from(timeline.started).unwrap_or(i64::MAX);
    let when = Timestamp::from_second(seconds).map_or_else(
        |_| "unknown time".to_owned(),
        |it| it.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    );
    format!("{} -> {}, {when}", timeline.from, timeline.to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use luod::protocol::Span;

    pub(super) fn update() -> Timeline {
        let span = |name: &str, start_ms, ms| Span {
            name: name.into(),
            start_ms,
            ms,
        };
        Timeline {
            from: "7.2.12".into(),
            to: "7.3.1".into(),
            started: 1_800_000_000,
            spans: vec![
                span("clients preserve", 0.0, 6000.0),
                span("kernel boots", 6000.0, 1500.0),
                span("clients <claim>", 7500.0, 12.5),
            ],
            blackout_ms: 1512.5,
        }
    }

    #[test]
    fn phases_stand_below_each_other_with_bars() {
        let text = render(&update(), &Look::PLAIN);
        assert!(
            text.starts_with("7.2.12 -> 7.3.1, 2027-01-15 08:00:00 UTC\n"),
            "{text}"
        );
        let bars: Vec<_> = text
            .lines()
            .map(|it| it.matches('#').count())
            .filter(|it| *it > 0)
            .collect();
        assert_eq!(bars, [30, 8]);
        assert!(
            text.contains("12.5 ms")
                && text.ends_with("\nBlackout: 1.51 s, from the last READY to the last claim\n")
        );
    }

    #[test]
    fn an_update_that_took_no_time_can_be_shown() {
        let mut timeline = update();
        timeline.spans.iter_mut().for_each(|it| it.ms = 0.0);
        assert!(!render(&timeline, &Look::PLAIN).contains('#'));
        timeline.spans.clear();
        timeline.started = u64::MAX;
        assert!(render(&timeline, &Look::PLAIN).contains("unknown time"));
    }
}
