// SPDX-License-Identifier: GPL-2.0-only

//! Files that are written line by line for a reader, as those in `/proc`.

use core::{cell::RefCell, fmt, fmt::Write};

/// What has been written.
#[derive(Default)]
pub struct SeqFile(RefCell<String>);

impl SeqFile {
    /// Used by [`seq_print!`].
    ///
    /// # Panics
    ///
    /// If a value that is to be shown cannot be.
    pub fn call_printf(&self, args: fmt::Arguments<'_>) {
        let written = self.0.borrow_mut().write_fmt(args);
        written.expect("a value failed to format itself");
    }

    /// The text.
    pub(crate) fn into_text(self) -> String {
        self.0.into_inner()
    }
}

/// Writes to a [`SeqFile`].
#[macro_export]
macro_rules! seq_print {
    ($m:expr, $($arg:tt)+) => { $m.call_printf(::core::format_args!($($arg)+)) };
}
pub use seq_print;
