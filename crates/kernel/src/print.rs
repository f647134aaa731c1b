// SPDX-License-Identifier: GPL-2.0-only

//! The kernel's log; [`host::console`](crate::host::console) reads it.

use crate::host::machine;
use core::fmt;

/// Adds a message to the log of this thread's machine.
#[doc(hidden)]
pub fn call_printk(level: &str, args: fmt::Arguments<'_>) {
    let line = format!("{level}: {args}");
    assert!(line.ends_with('\n'), "a message without newline: {line:?}");
    machine::current().log.lock().push_str(&line);
}

/// Logs an error.
#[macro_export]
macro_rules! pr_err {
    ($($arg:tt)*) => { $crate::print::call_printk("error", ::core::format_args!($($arg)*)) };
}

/// Logs a warning.
#[macro_export]
macro_rules! pr_warn {
    ($($arg:tt)*) => { $crate::print::call_printk("warning", ::core::format_args!($($arg)*)) };
}

/// Logs an event.
#[macro_export]
macro_rules! pr_info {
    ($($arg:tt)*) => { $crate::print::call_printk("info", ::core::format_args!($($arg)*)) };
}

/// Arguments for [`write_fmt`](fmt::Formatter::write_fmt). In the kernel `write!` cannot print the kernel's own types.
#[macro_export]
macro_rules! fmt {
    ($($arg:tt)*) => { ::core::format_args!($($arg)*) };
}
