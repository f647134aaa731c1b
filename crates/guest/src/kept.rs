// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A program that knows nothing of updates, and keeps its memory in a file with notes beside it: `kept PATH bytes=N
//! [check=GENERATION] [write=GENERATION]`.

use std::{
    fs::{self, File},
    os::unix::fs::OpenOptionsExt as _,
};

use anyhow::{Context as _, Result, ensure};

use crate::service::{Files, Words};

pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let path = args.next().context("kept needs a path")?;
    let words = Words::parse(args)?;
    let bytes = words.number("bytes")?.context("bytes=N is missing")?;
    let notes = format!("{path}.meta");
    // As memcached does.
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o700)
        .open(&path)
        .with_context(|| format!("cannot open {path}"))?;
    let content = |generation| Files {
        owner: path.clone(),
        generation,
        count: 1,
        bytes,
    };
    if let Some(generation) = words.number("check")? {
        content(generation).check(std::slice::from_ref(&file))?;
        let found = fs::read_to_string(&notes).with_context(|| format!("cannot read {notes}"))?;
        let wanted = format!("generation {generation}\n");
        ensure!(found == wanted, "wrong notes: {found:?}");
        println!("whole");
    }
    if let Some(generation) = words.number("write")? {
        content(generation).write(std::slice::from_ref(&file))?;
        fs::write(&notes, format!("generation {generation}\n"))
            .with_context(|| format!("cannot write {notes}"))?;
        println!("written");
    }
    Ok(())
}
