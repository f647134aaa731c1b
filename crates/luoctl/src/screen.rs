// SPDX-License-Identifier: Apache-2.0 OR MIT

//! How things look: tables and colours for people on terminals, plain text in files, JSON for programs.

use std::io::{self, Write as _};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use bytesize::ByteSize;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::exit::{Exit, Failure, Result};

/// What a text depends on besides what it tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) colour: bool,
    /// None if lines may be as long as they are.
    pub(crate) columns: Option<u16>,
    /// The name of a user.
    pub(crate) user: fn(u32) -> Option<String>,
}

/// Standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) json: bool,
    pub(crate) look: Look,
}

impl Screen {
    pub(crate) fn new(json: bool) -> Self {
        let colour = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        let columns = Table::new().width();
        let user = |uid: u32| {
            nix::unistd::User::from_uid(uid.into())
                .ok()?
                .map(|it| it.name)
        };
        let look = Look {
            colour,
            columns,
            user,
        };
        Self { json, look }
    }

    /// Shows a value, as JSON or as `text` tells it.
    pub(crate) fn show<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T, &Look) -> String,
    ) -> Result<()> {
        if self.json {
            let pretty = serde_json::to_string_pretty(value);
            self.print(&pretty.expect("what is shown is JSON"))
        } else {
            self.print(&text(value, &self.look))
        }
    }

    /// Shows one of many values, on a line of its own if as JSON.
    pub(crate) fn show_next<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T, &Look) -> String,
    ) -> Result<()> {
        if self.json {
            self.print(&serde_json::to_string(value).expect("what is shown is JSON"))
        } else {
            self.print(&text(value, &self.look))
        }
    }

    /// Says what was done, to people.
    pub(crate) fn say(&self, text: impl AsRef<str>) -> Result<()> {
        if self.json {
            Ok(())
        } else {
            self.print(text.as_ref())
        }
    }

    fn print(&self, text: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let written = write!(out, "{text}{end}").and_then(|()| out.flush());
        written.map_err(|err| match err.kind() {
            // Whoever reads has had enough: nothing to complain of.
            io::ErrorKind::BrokenPipe => Failure::new(Exit::Done, ""),
            _ => Failure::failed(format!("cannot write to standard output: {err}")),
        })
    }
}

impl Look {
    pub(crate) fn paint(&self, style: Style, text: impl AsRef<str>) -> String {
        let text = text.as_ref();
        if self.colour {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    pub(crate) fn good(&self, text: impl AsRef<str>) -> String {
        self.paint(AnsiColor::Green.on_default(), text)
    }

    pub(crate) fn doubtful(&self, text: impl AsRef<str>) -> String {
        self.paint(AnsiColor::Yellow.on_default(), text)
    }

    pub(crate) fn bad(&self, text: impl AsRef<str>) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    pub(crate) fn title(&self, text: impl AsRef<str>) -> String {
        self.paint(Style::new().bold(), text)
    }

    pub(crate) fn faint(&self, text: impl AsRef<str>) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    /// `qemu (107)`, or the number if nobody has it.
    pub(crate) fn user(&self, uid: u32) -> String {
        match (self.user)(uid) {
            Some(name) => format!("{name} ({uid})"),
            None => uid.to_string(),
        }
    }

    /// An empty table: columns are two blanks apart, so that scripts can cut it.
    pub(crate) fn table(&self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(header.iter().map(|it| Cell::new(it.to_uppercase())));
        if let Some(columns) = self.columns {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(columns);
        }
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table
    }
}

/// A cell in a colour, where there are colours.
pub(crate) fn cell(text: impl ToString, colour: Option<Color>) -> Cell {
    let cell = Cell::new(text);
    match colour {
        Some(colour) => cell.fg(colour),
        None => cell,
    }
}

/// A table as text, without blanks at the ends of lines.
pub(crate) fn lines(table: &Table) -> String {
    let lines = table.lines().map(|line| {
        let line = line.strip_prefix(' ').unwrap_or(&line).trim_end();
        format!("{line}\n")
    });
    lines.collect()
}

/// `1.5 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// `12.3 s`, or `45.6 ms` if it is short.
pub(crate) fn duration(ms: f64) -> String {
    if ms < 1000.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{:.2} s", ms / 1000.0)
    }
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
impl Look {
    /// As in a file, on a host with one user.
    pub(crate) const PLAIN: Self = Self {
        colour: false,
        columns: None,
        user: |uid| (uid == 107).then(|| "qemu".into()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_there_is_no_escape_sequence() {
        let coloured = Look {
            colour: true,
            ..Look::PLAIN
        };
        let text = |look: &Look| {
            let mut table = look.table(&["a"]);
            table.add_row([cell("b", Some(Color::Red))]);
            look.bad("x") + &lines(&table)
        };
        assert!(text(&coloured).contains('\u{1b}'));
        assert_eq!(text(&Look::PLAIN), "xA\nb\n");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(size(1 << 30), "1.0 GiB");
        assert_eq!(duration(12.34), "12.3 ms");
        assert_eq!(duration(12_340.0), "12.34 s");
        assert_eq!(Look::PLAIN.user(107), "qemu (107)");
        assert_eq!(Look::PLAIN.user(5), "5");
    }
}
