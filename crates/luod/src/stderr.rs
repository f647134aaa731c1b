// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The log: lines on standard error, where a service manager expects them.

use std::io::{self, Write as _};

use log::{LevelFilter, Log, Metadata, Record};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // What clients say is in it, and must not look like lines of its own. It is written at once, since the stream has no
        // buffer. Nobody to listen is no reason to stop.
        let line = format!("luod: {}\n", one_line(&record.args().to_string()));
        io::stderr().write_all(line.as_bytes()).ok();
    }

    fn flush(&self) {}
}

/// The text with `?` for everything that moves a cursor.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// From here on the log is written.
pub fn start() {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_forge_lines() {
        assert_eq!(one_line("no\nluod: yes\u{1b}[2J"), "no?luod: yes?[2J");
    }
}
