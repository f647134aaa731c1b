// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `luoctl metrics`.

mod gauges;

use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path};

use luod::protocol::{Check, Command, Event, Status, Timeline};

use crate::{
    agent::Agent,
    cli::MetricsArgs,
    exit::{Exit, Failure, Result},
    local::Local,
    screen::Screen,
};

/// What the metrics are made of.
#[derive(Debug)]
struct Seen {
    local: Local,
    /// Nothing without an agent.
    status: Option<Status>,
    /// Nothing for who is no operator.
    check: Option<Check>,
    /// Nothing if there was no update.
    timeline: Option<Timeline>,
}

pub(crate) fn run(args: &MetricsArgs, agent: &Agent, screen: &Screen) -> Result<Exit> {
    if screen.json {
        let message = "metrics are Prometheus' text: for JSON, there is `luoctl status --json`";
        return Err(Failure::new(Exit::Usage, message));
    }
    let mut seen = Seen {
        local: Local::look(Path::new("/"), &args.state.dir),
        status: None,
        check: None,
        timeline: None,
    };
    let absent = match agent.status() {
        Ok(status) => {
            seen.status = Some(status);
            None
        }
        Err(failure) => Some(failure),
    };
    if absent.is_none() {
        for command in [Command::Check, Command::Timeline] {
            match agent.ask(&command) {
                Ok((Event::Check(check), _)) => seen.check = Some(check),
                Ok((Event::Timeline(timeline), _)) => seen.timeline = Some(timeline),
                // Not allowed, or never updated: then these metrics are not there.
                Ok(_) | Err(_) => {}
            }
        }
    }
    let text = gauges::text(&seen);
    match &args.textfile {
        Some(path) => replace(path, &text)?,
        None => screen.say(text)?,
    }
    absent.map_or(Ok(Exit::Done), Err)
}

/// Who collects sees the old file or the new one, never half of one.
fn replace(path: &Path, text: &str) -> Result<()> {
    let failed =
        |err: std::io::Error| Failure::failed(format!("cannot write {}: {err}", path.display()));
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // Its name does not end in `.prom`, or it would be collected, too.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let readable = fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(readable).map_err(failed)?;
    file.persist(path).map_err(|err| failed(err.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_textfile_is_replaced_and_readable_by_the_collector() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("luo.prom");
        replace(&path, "old 1\n").unwrap();
        replace(&path, "new 1\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new 1\n");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let err = replace(&folder.path().join("no/luo.prom"), "").unwrap_err();
        assert!(err.message.contains("luo.prom"), "{}", err.message);
    }
}
