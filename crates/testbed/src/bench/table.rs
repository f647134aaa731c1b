// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The results as a person reads them.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use super::{C_SESSIONS_LIMIT, Figure, FreezeFigure, Frozen, MemoryFigure, Results, Work};
use crate::scenario::Flavor;

impl Work {
    const fn title(self) -> &'static str {
        match self {
            Self::CreateSession => "CREATE_SESSION",
            Self::RetrieveSession => "RETRIEVE_SESSION",
            Self::FinishSession => "FINISH",
            Self::PreserveFile => "PRESERVE_FD, a file of one page",
            Self::RetrieveFile => "RETRIEVE_FD, a file of one page",
            Self::OpenDevice => "open, for each session",
            Self::PreserveSmallFolio => "PRESERVE_FD, for each 4 KiB folio",
            Self::RetrieveSmallFolio => "RETRIEVE_FD, for each 4 KiB folio",
            Self::PreserveHugeFolio => "PRESERVE_FD, for each 2 MiB folio",
            Self::RetrieveHugeFolio => "RETRIEVE_FD, for each 2 MiB folio",
        }
    }
}

impl Results {
    /// The figure for the same work and count by an implementation, if it was measured.
    fn of(&self, flavor: Flavor, like: &Figure) -> Option<&Figure> {
        let same =
            |it: &&Figure| it.flavor == flavor && it.work == like.work && it.count == like.count;
        self.figures.iter().find(same)
    }

    /// For each work and count that was measured, whoever it was measured on.
    fn figure_rows(&self) -> Table {
        let mut table = table(&[
            "call",
            "times",
            "C, each",
            "C, last",
            "Rust, each",
            "Rust, last",
            "Rust / C",
        ]);
        for (index, figure) in self.figures.iter().enumerate() {
            let (c, rust) = (self.of(Flavor::C, figure), self.of(Flavor::Rust, figure));
            // The other implementation's figure stands in the same row.
            if !std::ptr::eq(c.or(rust).unwrap_or(figure), &raw const self.figures[index]) {
                continue;
            }
            table.add_row([
                figure.work.title().to_owned(),
                grouped(figure.count.into()),
                number(c.map(|it| it.mean)),
                number(c.and_then(|it| it.last)),
                number(rust.map(|it| it.mean)),
                number(rust.and_then(|it| it.last)),
                ratio(c.map(|it| it.total), rust.map(|it| it.total)),
            ]);
        }
        align(table)
    }

    fn freeze_rows(&self) -> Table {
        let mut table = table(&["with", "C", "C, each", "Rust", "Rust, each", "Rust / C"]);
        for (index, figure) in self.freezes.iter().enumerate() {
            let of = |flavor, what, count| {
                let same =
                    |it: &&FreezeFigure| (it.flavor, it.what, it.count) == (flavor, what, count);
                self.freezes.iter().find(same)
            };
            let c = of(Flavor::C, figure.what, figure.count);
            let rust = of(Flavor::Rust, figure.what, figure.count);
            if !std::ptr::eq(c.or(rust).unwrap_or(figure), &raw const self.freezes[index]) {
                continue;
            }
            // What all of them cost beyond what it costs with nothing.
            let each = |it: Option<&FreezeFigure>| {
                let it = it.filter(|it| it.what != Frozen::Nothing)?;
                let empty = of(it.flavor, Frozen::Nothing, 0)?;
                Some(it.total.saturating_sub(empty.total) / u64::from(it.count))
            };
            table.add_row([
                match figure.what {
                    Frozen::Nothing => "nothing".to_owned(),
                    what => format!("{} {}", grouped(figure.count.into()), what.name()),
                },
                number(c.map(|it| it.total)),
                number(each(c)),
                number(rust.map(|it| it.total)),
                number(each(rust)),
                ratio(c.map(|it| it.total), rust.map(|it| it.total)),
            ]);
        }
        align(table)
    }

    fn memory_rows(&self) -> Table {
        let mut table = table(&[
            "memfd",
            "folios",
            "C, kept per GiB",
            "C, peak",
            "Rust, kept per GiB",
            "Rust, peak",
            "looked",
        ]);
        for (index, figure) in self.memory.iter().enumerate() {
            let of = |flavor| {
                let same = |it: &&MemoryFigure| {
                    (it.flavor, it.folio, it.mib) == (flavor, figure.folio, figure.mib)
                };
                self.memory.iter().find(same)
            };
            let (c, rust) = (of(Flavor::C), of(Flavor::Rust));
            if !std::ptr::eq(c.or(rust).unwrap_or(figure), &raw const self.memory[index]) {
                continue;
            }
            let peak = |it: Option<&MemoryFigure>| {
                it.map_or("-".into(), |it| {
                    format!("{} KiB, {:.2} %", grouped(it.peak_kib), it.peak_percent())
                })
            };
            table.add_row([
                format!("{} MiB", grouped(figure.mib.into())),
                figure.folio.size().to_owned(),
                number(c.map(MemoryFigure::kept_bytes_per_gib)),
                peak(c),
                number(rust.map(MemoryFigure::kept_bytes_per_gib)),
                peak(rust),
                format!("{} x", figure.samples),
            ]);
        }
        align(table)
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.figures.is_empty() {
            writeln!(f, "{}", self.figure_rows())?;
            writeln!(
                f,
                "Guest instructions. \"each\": the mean; \"last\": one of the last hundred calls, with all others there.\n\
                 C is measured with up to {} sessions: its cost for each grows with their number.",
                grouped(C_SESSIONS_LIMIT.into())
            )?;
        }
        if !self.freezes.is_empty() {
            writeln!(f, "{}", self.freeze_rows())?;
            writeln!(
                f,
                "Guest instructions from reboot(2) to the first one of the next kernel. \"each\": beyond what it costs with nothing."
            )?;
        }
        if !self.memory.is_empty() {
            writeln!(f, "{}", self.memory_rows())?;
            writeln!(
                f,
                "Free memory before PRESERVE_FD, less free memory after it (kept, in bytes) or at its lowest while it runs (peak):\n\
                 all zones and the processor's own lists, looked at by a real-time thread."
            )?;
        }
        Ok(())
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(header);
    table
}

fn align(mut table: Table) -> Table {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn number(value: Option<u64>) -> String {
    value.map_or("-".into(), grouped)
}

fn ratio(c: Option<u64>, rust: Option<u64>) -> String {
    match (c, rust) {
        (Some(c), Some(rust)) => format!("{:.3}", rust as f64 / c as f64),
        _ => "-".into(),
    }
}

/// With commas between thousands.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
