// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The results, for programs and as a person reads them.

use std::{collections::BTreeMap, fmt};

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;

use super::{field::Structure, verdict::Verdict};
use crate::scenario::Flavor;

/// How often each verdict was reached.
pub type Counts = BTreeMap<Verdict, usize>;

/// What came of all cases.
#[derive(Debug, Serialize)]
pub struct Results {
    /// What chose the cases.
    pub seed: u64,
    /// The kernels, in the order of running.
    pub kernels: Vec<OfKernel>,
}

/// What a kernel made of all cases.
#[derive(Debug, Serialize)]
pub struct OfKernel {
    /// Whose implementation it has.
    pub flavor: Flavor,
    /// How many cases there were.
    pub cases: usize,
    /// What came of them, by what was corrupted.
    pub counts: BTreeMap<Structure, Counts>,
    /// The cases of which something bad came, and those that were asked for alone.
    pub notable: Vec<Notable>,
}

/// A case to look at.
#[derive(Debug, Serialize)]
pub struct Notable {
    /// Its name.
    pub case: String,
    /// What was corrupted.
    pub structure: Structure,
    /// What came of it.
    pub verdict: Verdict,
    /// What was written where, in place of what.
    pub change: Vec<String>,
    /// What the agent and the kernel said.
    pub seen: Vec<String>,
    /// The command that does it again.
    pub repeat: String,
}

impl OfKernel {
    pub(super) fn new(flavor: Flavor) -> Self {
        Self {
            flavor,
            cases: 0,
            counts: BTreeMap::new(),
            notable: Vec::new(),
        }
    }

    pub(super) fn count(&mut self, structure: Structure, verdict: Verdict) {
        self.cases += 1;
        *self
            .counts
            .entry(structure)
            .or_default()
            .entry(verdict)
            .or_default() += 1;
    }

    fn number(&self, structures: impl Fn(Structure) -> bool, verdict: Verdict) -> usize {
        let of = self
            .counts
            .iter()
            .filter(|(structure, _)| structures(**structure));
        of.filter_map(|(_, counts)| counts.get(&verdict)).sum()
    }

    /// How many cases went badly.
    pub fn bad(&self) -> usize {
        let bad = Verdict::ALL.into_iter().filter(|verdict| verdict.is_bad());
        bad.map(|verdict| self.number(|_| true, verdict)).sum()
    }
}

impl Results {
    /// Whether ours has done nothing that it must not.
    pub fn is_good(&self) -> bool {
        let ours = |it: &&OfKernel| it.flavor == Flavor::Rust;
        self.kernels.iter().filter(ours).all(|it| it.bad() == 0)
    }

    fn row(&self, title: &str, structures: impl Fn(Structure) -> bool + Copy) -> Vec<String> {
        let mut row = vec![title.to_owned()];
        for kernel in &self.kernels {
            let numbers = Verdict::ALL.map(|verdict| kernel.number(structures, verdict));
            row.push(numbers.iter().sum::<usize>().to_string());
            row.extend(numbers.map(|number| match number {
                0 => String::new(),
                number => number.to_string(),
            }));
        }
        row
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        let mut header = vec!["corrupted".to_owned()];
        for kernel in &self.kernels {
            header.push(format!("{}\ncases", kernel.flavor.name()));
            header.extend(Verdict::ALL.map(|verdict| verdict.name().replace(' ', "\n")));
        }
        table.set_header(header);
        for structure in Structure::ALL {
            table.add_row(self.row(structure.name(), |it| it == structure));
        }
        table.add_row(self.row("all", |_| true));
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}")?;
        write!(f, "Seed {}.", self.seed)?;
        for kernel in &self.kernels {
            for notable in &kernel.notable {
                write!(f, "\n\n{notable}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Notable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.verdict.name(), self.case)?;
        for line in self.change.iter().chain(&self.seen) {
            write!(f, "\n    {line}")?;
        }
        write!(f, "\n    again: {}", self.repeat)
    }
}
