// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The results as a person reads them.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use super::{
    BlackoutFigure, BootFigure, C_FRAGMENTED_LIMIT_MIB, C_SESSIONS_LIMIT, Figure, FreezeFigure,
    Frozen, MemoryFigure, Phase, PhasesFigure, Results, Unit, Work,
};
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
            Self::PreserveApartFolio => "PRESERVE_FD, for each 4 KiB folio, apart",
            Self::RetrieveApartFolio => "RETRIEVE_FD, for each 4 KiB folio, apart",
            Self::PreserveHugeFolio => "PRESERVE_FD, for each 2 MiB folio",
            Self::RetrieveHugeFolio => "RETRIEVE_FD, for each 2 MiB folio",
        }
    }
}

impl Results {
    fn figure_rows(&self) -> Table {
        let mut table = table(&[
            "call",
            "of",
            "C, each",
            "C, last",
            "Rust, each",
            "Rust, last",
            "Rust / C",
        ]);
        let keys = sorted(self.figures.iter().map(|it| (it.work, it.count)));
        for (work, count) in keys {
            let same = |it: &Figure| (it.work, it.count) == (work, count);
            let (c, rust) = pair(&self.figures, |it| it.flavor, same);
            let (unit, per_thing) = work.size_unit();
            let size = f64::from(count) * per_thing;
            table.add_row([
                work.title().to_owned(),
                format!("{} {unit}", grouped(size as u64)),
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
        let of = |what, count| {
            let same = |it: &FreezeFigure| (it.what, it.count) == (what, count);
            pair(&self.freezes, |it| it.flavor, same)
        };
        let empty = of(Frozen::Nothing, 0);
        // What all of them cost beyond what it costs with nothing.
        let each = |it: Option<&FreezeFigure>, empty: Option<&FreezeFigure>| {
            let it = it.filter(|it| it.what != Frozen::Nothing)?;
            Some(it.total.saturating_sub(empty?.total) / u64::from(it.count))
        };
        for (what, count) in sorted(self.freezes.iter().map(|it| (it.what, it.count))) {
            let (c, rust) = of(what, count);
            table.add_row([
                what.of(count),
                number(c.map(|it| it.total)),
                number(each(c, empty.0)),
                number(rust.map(|it| it.total)),
                number(each(rust, empty.1)),
                ratio(c.map(|it| it.total), rust.map(|it| it.total)),
            ]);
        }
        align(table)
    }

    fn boot_rows(&self) -> Table {
        let mut table = table(&[
            "preserved",
            "MiB",
            "C, to userspace",
            "Rust, to userspace",
            "Rust / C",
            "Rust, preserve",
            "Rust, retrieve",
        ]);
        for (layout, mib) in sorted(self.boots.iter().map(|it| (it.layout, it.mib))) {
            let same = |it: &BootFigure| (it.layout, it.mib) == (layout, mib);
            let (c, rust) = pair(&self.boots, |it| it.flavor, same);
            table.add_row([
                layout.name().to_owned(),
                grouped(mib.into()),
                number(c.map(|it| it.total)),
                number(rust.map(|it| it.total)),
                ratio(c.map(|it| it.total), rust.map(|it| it.total)),
                number(rust.map(|it| it.preserve)),
                number(rust.map(|it| it.retrieve)),
            ]);
        }
        align(table)
    }

    fn phase_rows(&self) -> Table {
        let mut table = table(&["phase", "C", "Rust", "Rust / C"]);
        for (layout, mib) in sorted(self.phases.iter().map(|it| (it.layout, it.mib))) {
            let same = |it: &PhasesFigure| (it.layout, it.mib) == (layout, mib);
            let (c, rust) = pair(&self.phases, |it| it.flavor, same);
            let title = format!("{} MiB {}", grouped(mib.into()), layout.name());
            table.add_row([title]);
            let phases = c.or(rust).map_or(&[][..], |it| &it.phases);
            let mut add = |name: &str, c: Option<f64>, rust: Option<f64>| {
                let (c, rust) = (c.map(|it| it as u64), rust.map(|it| it as u64));
                table.add_row([name.to_owned(), number(c), number(rust), ratio(c, rust)]);
            };
            for Phase { name, .. } in phases {
                let value = |it: Option<&PhasesFigure>| {
                    let found = it?.phases.iter().find(|it| it.name == *name)?;
                    Some(found.value)
                };
                add(name, value(c), value(rust));
            }
            add(
                "all",
                c.map(PhasesFigure::total),
                rust.map(PhasesFigure::total),
            );
            let calls = [c, rust].map(|it| it.map_or(&[][..], |it| &it.initcalls));
            let show = |calls: &[Phase], place: usize| {
                calls.get(place).map_or_else(String::new, |it| {
                    format!("{} {}", it.name, grouped(it.value as u64))
                })
            };
            for place in 0..calls[0].len().max(calls[1].len()) {
                let [c, rust] = calls.map(|calls| show(calls, place));
                table.add_row([format!("initcall {}", place + 1), c, rust]);
            }
        }
        align(table)
    }

    fn blackout_rows(&self, unit: Unit) -> Table {
        let mut table = table(&["blackout", "C", "Rust", "Rust / C"]);
        let (c, rust) = pair(&self.blackouts, |it| it.flavor, |it| it.unit == unit);
        let number = |value: Option<f64>| match (value, unit) {
            (None, _) => "-".into(),
            (Some(ms), Unit::Milliseconds) => format!("{:.3} s", ms / 1000.0),
            (Some(ms), Unit::OwnMilliseconds) => format!("{ms:.3} ms"),
            (Some(instructions), Unit::Instructions) => grouped(instructions as u64),
        };
        let mut add = |name: &str, c: Option<f64>, rust: Option<f64>| {
            let ratio = match (c, rust) {
                (Some(c), Some(rust)) if c > 0.0 => format!("{:.3}", rust / c),
                _ => "-".into(),
            };
            table.add_row([name.to_owned(), number(c), number(rust), ratio]);
        };
        for phase in c
            .or(rust)
            .map(|it| it.phases.as_slice())
            .unwrap_or_default()
        {
            let value = |it: Option<&BlackoutFigure>| {
                let found = it?.phases.iter().find(|it| it.name == phase.name)?;
                Some(found.value)
            };
            add(&phase.name, value(c), value(rust));
        }
        let total = |it: Option<&BlackoutFigure>| it.map(BlackoutFigure::total);
        add("all", total(c), total(rust));
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
        for (folio, mib) in sorted(self.memory.iter().map(|it| (it.folio, it.mib))) {
            let same = |it: &MemoryFigure| (it.folio, it.mib) == (folio, mib);
            let (c, rust) = pair(&self.memory, |it| it.flavor, same);
            let peak = |it: Option<&MemoryFigure>| {
                it.map_or("-".into(), |it| {
                    format!("{} KiB, {:.2} %", grouped(it.peak_kib), it.peak_percent())
                })
            };
            table.add_row([
                format!("{} MiB", grouped(mib.into())),
                folio.size().to_owned(),
                number(c.map(MemoryFigure::kept_bytes_per_gib)),
                peak(c),
                number(rust.map(MemoryFigure::kept_bytes_per_gib)),
                peak(rust),
                c.or(rust)
                    .map_or("-".into(), |it| format!("{} x", it.samples)),
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
        if !self.boots.is_empty() {
            writeln!(f, "{}", self.boot_rows())?;
            writeln!(
                f,
                "Guest instructions from reboot(2) until the next kernel's agent runs; waiting counts as long as it takes. C is\n\
                 measured with up to {} MiB fragmented: its cost grows with their square.",
                grouped(C_FRAGMENTED_LIMIT_MIB.into())
            )?;
        }
        if !self.phases.is_empty() {
            writeln!(f, "{}", self.phase_rows())?;
            writeln!(
                f,
                "Guest instructions from reboot(2) until the memfd is retrieved; waiting counts as long as it takes. The phases follow\n\
                 each other without a gap, but for the agent's wait for its next order. The slowest initcalls are in \"initcalls\"."
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
        for (unit, what) in [
            (
                Unit::Instructions,
                "Guest instructions to carry over one memfd of the demonstration's size; waiting counts as long as it takes.",
            ),
            (
                Unit::Milliseconds,
                "The demonstration, by the host's clock: what its client saw, once. It depends on what else the host does.",
            ),
            (
                Unit::OwnMilliseconds,
                "luod's share of a blackout with 100 clients, each with a session: guest time, a million instructions in each\n\
                 millisecond, with what the kernel does for luod, without leaving a kernel and booting the next one.",
            ),
        ] {
            if self.blackouts.iter().any(|it| it.unit == unit) {
                writeln!(f, "{}\n{what}", self.blackout_rows(unit))?;
            }
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

/// C's figure of those that are the same, and Rust's.
fn pair<T>(
    figures: &[T],
    flavor: impl Fn(&T) -> Flavor,
    is_same: impl Fn(&T) -> bool,
) -> (Option<&T>, Option<&T>) {
    let of = |wanted| {
        figures
            .iter()
            .find(|it| flavor(it) == wanted && is_same(it))
    };
    (of(Flavor::C), of(Flavor::Rust))
}

/// Each once.
fn sorted<T: Ord>(keys: impl Iterator<Item = T>) -> Vec<T> {
    let mut keys: Vec<_> = keys.collect();
    keys.sort();
    keys.dedup();
    keys
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
