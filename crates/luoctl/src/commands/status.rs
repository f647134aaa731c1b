// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `luoctl status`.

mod sessions;

use std::path::Path;

use luod::protocol::{Image, Incoming, KernelReport, Phase, Progress, Status};
use serde::Serialize;

use crate::{
    agent::Agent,
    cli::StatusArgs,
    exit::{Exit, Result},
    local::Local,
    screen::{Look, Screen, count, size},
};

pub(super) use sessions::{kept, state};

/// What is shown if no agent answers.
#[derive(Debug, Serialize)]
struct Alone {
    /// Always nothing: where an agent's answer has its name.
    agent: Option<String>,
    /// Why there is none.
    error: String,
    local: Local,
}

pub(crate) fn run(args: &StatusArgs, agent: &Agent, screen: &Screen) -> Result<Exit> {
    let failure = match agent.status() {
        Ok(status) => {
            screen.show(&status, render)?;
            return Ok(Exit::Done);
        }
        Err(failure) => failure,
    };
    let alone = Alone {
        agent: None,
        error: failure.message.clone(),
        local: Local::look(Path::new("/"), &args.state.dir),
    };
    screen.show(&alone, |alone, look| render_local(&alone.local, look))?;
    Err(failure)
}

fn render(status: &Status, look: &Look) -> String {
    let mut text = line(look, "Agent", &status.agent);
    text += &kernel(&status.kernel, look);
    text += &line(look, "Update", progress(&status.update));
    text += &sessions::sessions(&status.sessions, look);
    text += &sessions::clients(&status.clients, look);
    text += &kept(&status.kept, look);
    text
}

fn kernel(kernel: &KernelReport, look: &Look) -> String {
    let support = match &kernel.unsupported {
        None => look.good("live update is on"),
        Some(why) => look.bad(format!("no live update: {why}")),
    };
    let mut text = line(look, "Kernel", format!("{}, {support}", kernel.release));
    text += &next(kernel.image_loaded, kernel.image.as_ref(), look);
    if let Some(incoming) = &kernel.incoming {
        text += &left(incoming, look);
    }
    text
}

fn next(loaded: bool, image: Option<&Image>, look: &Look) -> String {
    match (loaded, image) {
        (false, _) => line(look, "Next", "none is loaded (luoctl load)"),
        (true, None) => {
            let what =
                look.doubtful("loaded, not by luoctl: it may be unable to take anything over");
            line(look, "Next", what)
        }
        (true, Some(image)) => {
            let version = image.version.as_deref().and_then(|it| it.split(' ').next());
            let mut what = image.kernel.clone();
            if let Some(version) = version {
                what = format!("{version}, {what}");
            }
            let initrd = image.initrd.as_deref().unwrap_or("none");
            line(look, "Next", what)
                + &line(look, "", format!("initial ramdisk: {initrd}"))
                + &line(look, "", format!("command line: {}", image.cmdline))
        }
    }
}

fn left(incoming: &Incoming, look: &Look) -> String {
    let waiting = match incoming.sessions {
        0 => "nothing waits".to_owned(),
        _ => {
            let sessions = usize::try_from(incoming.sessions).unwrap_or(usize::MAX);
            format!("{} not finished", count(sessions, "session"))
        }
    };
    let mut text = line(look, "Before", format!("of the previous kernel, {waiting}"));
    if incoming.leaked_bytes > 0 || !incoming.leaked.is_empty() {
        let leaked = format!(
            "leaked: {}, until the next cold boot",
            size(incoming.leaked_bytes)
        );
        text += &line(look, "", look.doubtful(leaked));
        for what in &incoming.leaked {
            text += &line(look, "", format!("  {what}"));
        }
    }
    text
}

/// Where the update is, in words.
pub(super) fn progress(progress: &Progress) -> String {
    let names = |ids: &[luod::protocol::Id]| {
        let names: Vec<_> = ids.iter().map(luod::protocol::Id::as_str).collect();
        names.join(", ")
    };
    match progress.phase {
        Phase::Idle => "none is under way".into(),
        Phase::Leaving => "everybody is ready; the kernel is about to be replaced".into(),
        Phase::Preserving => format!(
            "{} of {} ready, {} s left; waiting for {}",
            progress.ready.len(),
            progress.ready.len() + progress.waiting.len(),
            progress.left_ms / 1000,
            names(&progress.waiting)
        ),
    }
}

fn render_local(local: &Local, look: &Look) -> String {
    let support = match (local.device, local.cmdline_lacks.as_slice()) {
        (true, _) => look.good("live update is on"),
        (false, []) => look.bad("no live update: it was built without CONFIG_LIVEUPDATE"),
        (false, lacks) => {
            let lacks = lacks.join(" ");
            look.bad(format!(
                "no live update: boot with {lacks} on its command line"
            ))
        }
    };
    let mut text = line(look, "Agent", look.bad("none can be reached"));
    text += &line(look, "Kernel", format!("{}, {support}", local.release));
    text += &match local.image_loaded {
        Some(loaded) => next(loaded, local.image.as_ref(), look),
        None => line(
            look,
            "Next",
            "this kernel cannot load another (CONFIG_KEXEC_FILE)",
        ),
    };
    for (number, what) in local.incoming.iter().flatten().enumerate() {
        text += &line(look, if number == 0 { "Before" } else { "" }, what);
    }
    text
}

fn line(look: &Look, name: &str, what: impl AsRef<str>) -> String {
    let name = match name {
        "" => " ".repeat(8),
        name => look.title(format!("{:8}", format!("{name}:"))),
    };
    format!("{name} {}\n", what.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use luod::protocol::{ClientReport, FileReport, Id, KeptReport, SessionReport, SessionState};

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    fn busy() -> Status {
        Status {
            agent: "luod 0.1.0".into(),
            kernel: KernelReport {
                release: "7.2.12".into(),
                unsupported: None,
                image_loaded: true,
                image: Some(Image {
                    kernel: "/boot/vmlinuz".into(),
                    version: Some("7.3.1 (x@y) #1".into()),
                    initrd: None,
                    cmdline: "kho=on liveupdate=on".into(),
                }),
                incoming: Some(Incoming {
                    sessions: 1,
                    leaked: vec!["session 'old': no handler".into()],
                    leaked_bytes: 3 << 20,
                }),
            },
            update: Progress {
                phase: Phase::Preserving,
                waiting: vec![id("vm-1")],
                ready: vec![id("vm-2")],
                left_ms: 12_300,
            },
            clients: vec![ClientReport {
                pid: 42,
                uid: 107,
                ids: vec![id("vm-1"), id("vm-2")],
            }],
            sessions: vec![
                SessionReport {
                    id: id("vm-1"),
                    uid: 107,
                    state: SessionState::Preserving,
                    files: Some(vec![FileReport {
                        token: 26,
                        handler: "memfd-v2".into(),
                        bytes: Some(1 << 31),
                        state: "preserved".into(),
                    }]),
                },
                SessionReport {
                    id: id("vm-2"),
                    uid: 0,
                    state: SessionState::Ready,
                    files: None,
                },
            ],
            kept: vec![KeptReport {
                name: id("cache"),
                uid: 107,
                path: "/run/luod/kept/cache".into(),
                bytes: 1 << 30,
                allocated_bytes: 1 << 20,
            }],
        }
    }

    #[test]
    fn everything_is_on_the_screen() {
        let text = render(&busy(), &Look::PLAIN);
        let expected = "\
Agent:   luod 0.1.0
Kernel:  7.2.12, live update is on
Next:    7.3.1, /boot/vmlinuz
         initial ramdisk: none
         command line: kho=on liveupdate=on
Before:  of the previous kernel, 1 session not finished
         leaked: 3.0 MiB, until the next cold boot
           session 'old': no handler
Update:  1 of 2 ready, 12 s left; waiting for vm-1

";
        assert_eq!(text.split("SESSION").next().unwrap(), expected);
        for part in [
            "0x1a",
            "memfd-v2",
            "qemu (107)",
            "42",
            "1.0 GiB",
            "1.0 MiB",
            "vm-1, vm-2",
        ] {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
    }

    #[test]
    fn nothing_is_said_of_what_is_not_there() {
        let mut status = busy();
        status.sessions.clear();
        status.clients.clear();
        status.kept.clear();
        status.kernel.incoming = None;
        status.kernel.unsupported = Some("boot with liveupdate=on".into());
        status.kernel.image = None;
        let text = render(&status, &Look::PLAIN);
        assert!(
            text.contains("no live update: boot with liveupdate=on"),
            "{text}"
        );
        assert!(text.contains("not by luoctl"), "{text}");
        assert!(!text.contains("Before") && !text.contains("KEPT"), "{text}");
    }

    #[test]
    fn without_an_agent_the_kernel_is_asked() {
        let mut local = Local {
            release: "7.2.12".into(),
            device: false,
            cmdline_lacks: vec!["liveupdate=on".into()],
            image_loaded: Some(false),
            image: None,
            incoming: Some(vec!["live update: 1".into(), "sessions: 0".into()]),
        };
        let text = render_local(&local, &Look::PLAIN);
        assert!(text.contains("boot with liveupdate=on on"), "{text}");
        assert!(
            text.contains("Before:  live update: 1\n         sessions: 0\n"),
            "{text}"
        );
        local.cmdline_lacks.clear();
        assert!(render_local(&local, &Look::PLAIN).contains("CONFIG_LIVEUPDATE"));
        local.device = true;
        local.image_loaded = None;
        let text = render_local(&local, &Look::PLAIN);
        assert!(text.contains("live update is on") && text.contains("CONFIG_KEXEC_FILE"));
    }
}
