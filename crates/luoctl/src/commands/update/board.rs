// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Who is ready: bars on a terminal, a line for each change elsewhere.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use luod::protocol::{Id, Phase, Progress};

/// What is on standard error.
pub(super) enum Board {
    Bars(Bars),
    Lines(News),
}

/// A line for each client.
pub(super) struct Bars {
    all: MultiProgress,
    total: Option<ProgressBar>,
    clients: BTreeMap<Id, ProgressBar>,
}

/// What has been told already.
#[derive(Default)]
pub(super) struct News {
    begun: bool,
    ready: Vec<Id>,
}

impl Board {
    pub(super) fn new() -> Self {
        if io::stderr().is_terminal() {
            Self::Bars(Bars {
                all: MultiProgress::new(),
                total: None,
                clients: BTreeMap::new(),
            })
        } else {
            Self::Lines(News::default())
        }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        match self {
            Self::Bars(bars) => bars.show(progress),
            Self::Lines(news) => news
                .of(progress)
                .iter()
                .for_each(|line| eprintln!("{line}")),
        }
    }

    /// Nothing more is to come: what follows stands below.
    pub(super) fn clear(&mut self) {
        if let Self::Bars(bars) = self {
            for bar in bars.clients.values().chain(&bars.total) {
                bar.abandon();
            }
        }
    }
}

impl Bars {
    fn show(&mut self, progress: &Progress) {
        let number = (progress.ready.len() + progress.waiting.len()) as u64;
        let total = self.total.get_or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(number));
            bar.set_style(style("{elapsed:>5} [{bar:30}] {pos} of {len} ready, {msg}"));
            bar.enable_steady_tick(TICK);
            bar
        });
        total.set_length(number);
        total.set_position(progress.ready.len() as u64);
        total.set_message(format!(
            "at most {} s more",
            progress.left_ms.div_ceil(1000)
        ));
        for id in progress.waiting.iter().chain(&progress.ready) {
            self.clients.entry(id.clone()).or_insert_with(|| {
                let bar = self.all.add(ProgressBar::new_spinner());
                bar.set_style(style("{elapsed:>5} {spinner} {prefix}: {msg}"));
                bar.set_prefix(id.to_string());
                bar.set_message("preserving");
                bar.enable_steady_tick(TICK);
                bar
            });
        }
        for bar in progress.ready.iter().filter_map(|id| self.clients.get(id)) {
            // Its clock stops here.
            if !bar.is_finished() {
                bar.finish_with_message("ready");
            }
        }
    }
}

const TICK: Duration = Duration::from_millis(100);

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates are right")
        .progress_chars("#>-")
}

impl News {
    fn of(&mut self, progress: &Progress) -> Vec<String> {
        let all = progress.ready.len() + progress.waiting.len();
        let mut lines = Vec::new();
        if !self.begun && progress.phase == Phase::Preserving {
            self.begun = true;
            let names: Vec<_> = progress.waiting.iter().map(Id::as_str).collect();
            lines.push(match names.as_slice() {
                [] => "nobody to wait for".to_owned(),
                names => format!(
                    "waiting for {}, at most {} s",
                    names.join(", "),
                    progress.left_ms.div_ceil(1000)
                ),
            });
        }
        for id in &progress.ready {
            if !self.ready.contains(id) {
                self.ready.push(id.clone());
                lines.push(format!("{id} is ready ({} of {all})", self.ready.len()));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(waiting: &[&str], ready: &[&str]) -> Progress {
        let ids = |names: &[&str]| names.iter().map(|it| Id::new(*it).unwrap()).collect();
        Progress {
            phase: Phase::Preserving,
            waiting: ids(waiting),
            ready: ids(ready),
            left_ms: 29_999,
        }
    }

    #[test]
    fn everything_is_told_once() {
        let mut news = News::default();
        assert_eq!(
            news.of(&at(&["a", "b"], &[])),
            ["waiting for a, b, at most 30 s"]
        );
        assert_eq!(news.of(&at(&["a"], &["b"])), ["b is ready (1 of 2)"]);
        assert!(news.of(&at(&["a"], &["b"])).is_empty());
        assert_eq!(news.of(&at(&[], &["a", "b"])), ["a is ready (2 of 2)"]);
        assert_eq!(News::default().of(&at(&[], &[])), ["nobody to wait for"]);
    }

    #[test]
    fn the_templates_are_right() {
        let mut bars = Bars {
            all: MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden()),
            total: None,
            clients: BTreeMap::new(),
        };
        bars.show(&at(&["a"], &["b"]));
        let finished = |id: &str| bars.clients[&Id::new(id).unwrap()].is_finished();
        assert!(finished("b") && !finished("a"));
        assert_eq!(bars.total.as_ref().unwrap().position(), 1);
    }
}
