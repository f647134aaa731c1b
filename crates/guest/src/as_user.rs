// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `as USER PROGRAM ARGUMENTS`: becomes that program under another user id, and the group of the same number.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};

pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let user: u32 = args.next().context("a user id is missing")?.parse()?;
    let program = args.next().context("a program is missing")?;
    // Groups go with the user: the standard library drops the supplementary ones.
    let error = Command::new(&program).args(args).uid(user).gid(user).exec();
    Err(error).with_context(|| format!("cannot run {program}"))
}
