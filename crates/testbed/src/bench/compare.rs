// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Whether two runs agree.

use std::fmt;

use super::{
    BlackoutFigure, BootFigure, Figure, FreezeFigure, PhasesFigure, Results, blackout::Unit,
};

/// The instruction-counted figure in which two runs differ most.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Which.
    pub what: String,
    /// Here.
    pub here: f64,
    /// In the other run.
    pub there: f64,
}

impl Difference {
    /// In percent of the other run's.
    pub fn percent(&self) -> f64 {
        if self.there == 0.0 {
            return if self.here == 0.0 { 0.0 } else { f64::INFINITY };
        }
        (self.here - self.there).abs() / self.there * 100.0
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, here, there } = self;
        write!(f, "{:.2} % in {what}: {here}, was {there}", self.percent())
    }
}

impl Results {
    /// Where two runs differ, the most first. Only what both have measured is compared, and only instructions.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        for here in &self.figures {
            let same = |it: &&Figure| {
                (it.flavor, it.work, it.count) == (here.flavor, here.work, here.count)
            };
            let what = format!("{:?} of {}, {}", here.work, here.count, here.flavor.name());
            let pair = other.figures.iter().find(same);
            differences.extend(pair.map(|there| difference(what, here.total, there.total)));
        }
        for here in &self.freezes {
            let same = |it: &&FreezeFigure| {
                (it.flavor, it.what, it.count) == (here.flavor, here.what, here.count)
            };
            let with = here.what.of(here.count);
            let what = format!("leaving with {with}, {}", here.flavor.name());
            let pair = other.freezes.iter().find(same);
            differences.extend(pair.map(|there| difference(what, here.total, there.total)));
        }
        for here in &self.boots {
            let same = |it: &&BootFigure| {
                (it.layout, it.flavor, it.mib) == (here.layout, here.flavor, here.mib)
            };
            let (layout, flavor) = (here.layout.name(), here.flavor.name());
            let what = format!("booting with {} MiB {layout}, {flavor}", here.mib);
            let pair = other.boots.iter().find(same);
            differences.extend(pair.map(|there| difference(what, here.total, there.total)));
        }
        for here in &self.phases {
            let same = |it: &&PhasesFigure| {
                (it.layout, it.flavor, it.mib) == (here.layout, here.flavor, here.mib)
            };
            let (layout, flavor) = (here.layout.name(), here.flavor.name());
            let about = format!(
                "booting with {} MiB {layout}, {flavor}, by phases",
                here.mib
            );
            let there = other.phases.iter().find(same);
            differences.extend(there.map(|there| Difference {
                what: about,
                here: here.total(),
                there: there.total(),
            }));
        }
        for here in self
            .blackouts
            .iter()
            .filter(|it| it.unit == Unit::Instructions)
        {
            let same = |it: &&BlackoutFigure| (it.flavor, it.unit) == (here.flavor, here.unit);
            let there = other.blackouts.iter().find(same);
            let pairs = there.map(|there| here.phases.iter().zip(&there.phases));
            differences.extend(
                pairs
                    .into_iter()
                    .flatten()
                    .map(|(here_is, there_is)| Difference {
                        what: format!("blackout, {}, {}", here_is.name, here.flavor.name()),
                        here: here_is.value,
                        there: there_is.value,
                    }),
            );
        }
        differences.sort_by(|a, b| b.percent().total_cmp(&a.percent()));
        differences
    }
}

fn difference(what: String, here: u64, there: u64) -> Difference {
    let (here, there) = (here as f64, there as f64);
    Difference { what, here, there }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bench::Work, scenario::Flavor};

    fn results(total: u64, freeze: u64) -> Results {
        Results {
            figures: vec![Figure::of_one_call(
                Work::FinishSession,
                Flavor::C,
                10,
                total,
            )],
            freezes: vec![FreezeFigure {
                what: crate::bench::Frozen::Nothing,
                flavor: Flavor::Rust,
                count: 0,
                total: freeze,
            }],
            ..Results::default()
        }
    }

    #[test]
    fn the_largest_difference_comes_first() {
        let found = results(1000, 103).differences(&results(990, 100));
        let percent: Vec<_> = found.iter().map(|it| it.percent().round()).collect();
        assert_eq!(percent, [3.0, 1.0]);
        assert!(found[0].what.contains("nothing, rust"), "{}", found[0]);
    }

    #[test]
    fn what_only_one_has_measured_is_not_compared() {
        assert_eq!(results(1, 1).differences(&Results::default()), []);
    }
}
