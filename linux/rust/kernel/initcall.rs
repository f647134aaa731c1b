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

/// An entry of the table of early parameters: `struct obs_kernel_param`.
#[doc(hidden)]
#[repr(C)]
pub struct Parameter {
    /// Its name.
    pub name: *const crate::ffi::c_char,
    /// Called with its value, or null.
    pub set: unsafe extern "C" fn(*mut crate::ffi::c_char) -> crate::ffi::c_int,
    /// Not 0: it is parsed early.
    pub early: crate::ffi::c_int,
}

// SAFETY: The entry is read-only, and so is the name that it points to.
unsafe impl Sync for Parameter {}

/// Has the kernel call a function with the value of an early parameter: `fn(&CStr) -> Result`.
#[macro_export]
macro_rules! early_param {
    ($name:literal, $function:path) => {
        const _: () = {
            unsafe extern "C" fn set(value: *mut $crate::ffi::c_char) -> $crate::ffi::c_int {
                if value.is_null() {
                    return $crate::error::code::EINVAL.to_errno();
                }
                // SAFETY: It is the value, which ends in NUL.
                let value = unsafe { $crate::ffi::CStr::from_ptr(value.cast_const().cast()) };
                match $function(value) {
                    Ok(()) => 0,
                    Err(err) => err.to_errno(),
                }
            }

            // The boot code finds the entries of this section one after the other, and reads them
            // before it frees them.
            #[link_section = ".init.setup"]
            #[used(compiler)]
            static PARAMETER: $crate::initcall::Parameter = $crate::initcall::Parameter {
                name: concat!($name, "\0").as_ptr().cast(),
                set,
                early: 1,
            };
        };
    };
}
