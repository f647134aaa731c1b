// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The results as a person reads them.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use super::{C_LIMIT, Figure, Results, Work};
use crate::scenario::Flavor;

impl Work {
    const fn title(self) -> &'static str {
        match self {
            Self::CreateSession => "CREATE_SESSION",
            Self::RetrieveSession => "RETRIEVE_SESSION",
            Self::FinishSession => "FINISH",
            Self::PreserveFile => "PRESERVE_FD",
            Self::RetrieveFile => "RETRIEVE_FD",
            Self::OpenDevice => "open, per session",
        }
    }
}

impl Results {
    /// The figure for the same work and count by the other implementation, if it was measured.
    fn by_c(&self, rust: &Figure) -> Option<&Figure> {
        let same =
            |it: &&Figure| it.flavor == Flavor::C && it.work == rust.work && it.count == rust.count;
        self.figures.iter().find(same)
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header([
            "call",
            "times",
            "C, each",
            "C, last",
            "Rust, each",
            "Rust, last",
            "Rust / C",
        ]);
        for rust in self.figures.iter().filter(|it| it.flavor == Flavor::Rust) {
            let c = self.by_c(rust);
            let number = |value: Option<u64>| value.map_or("-".into(), |value| value.to_string());
            table.add_row([
                rust.work.title().into(),
                rust.count.to_string(),
                number(c.map(|it| it.mean)),
                number(c.map(|it| it.last)),
                rust.mean.to_string(),
                rust.last.to_string(),
                c.map_or("-".into(), |it| {
                    format!("{:.3}", rust.total as f64 / it.total as f64)
                }),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}")?;
        writeln!(
            f,
            "Guest instructions. \"each\": the mean of all calls; \"last\": of the last hundred, with all others there."
        )?;
        write!(
            f,
            "C is measured up to {C_LIMIT}: its cost per session grows with their number."
        )
    }
}
