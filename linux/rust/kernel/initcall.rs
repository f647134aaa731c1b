// SPDX-License-Identifier: GPL-2.0-only

//! Functions that the kernel calls while it boots.

/// Has the kernel call a function while it boots: `extern "C" fn() -> c_int`, with `#[no_mangle]`.
///
/// The level is the text that `include/linux/init.h` gives to its macros: `"early"`, or a digit.
#[macro_export]
macro_rules! initcall {
    ($level:literal, $function:ident) => {
        // Relative entries, as `___define_initcall()` writes them on all architectures that have
        // both Rust and kexec handover.
        core::arch::global_asm!(concat!(
            ".section \".initcall",
            $level,
            ".init\", \"a\"\n",
            ".long ",
            stringify!($function),
            " - .\n",
            ".previous"
        ));
    };
}
