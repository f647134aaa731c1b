// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `luoctl update` and what belongs to it, against an agent that says what is wanted.

#[expect(dead_code, reason = "each test file uses another part")]
mod fake;

use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::Child,
};

use fake::{Do, Fake};
use luod::protocol::{Check, Code, Command, Ended, Event, Finding, Id, Phase, Progress, Severity};
use rustix::process::{Pid, Signal, kill_process};

fn progress(waiting: &[&str], ready: &[&str]) -> Do {
    let ids = |names: &[&str]| names.iter().map(|it| Id::new(*it).unwrap()).collect();
    Do::Say(Event::Progress(Progress {
        phase: Phase::Preserving,
        waiting: ids(waiting),
        ready: ids(ready),
        left_ms: 30_000,
    }))
}

fn ended(outcome: Ended, reason: Option<&str>) -> Event {
    Event::Ended {
        outcome,
        reason: reason.map(str::to_owned),
    }
}

fn bad() -> Event {
    Event::Check(Check {
        ok: false,
        findings: vec![Finding {
            severity: Severity::Problem,
            name: "image".into(),
            message: "no next kernel is loaded".into(),
            remedy: Some("luoctl load".into()),
        }],
    })
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Two clients, and this end.
fn to_the_end(outcome: Ended, reason: Option<&'static str>) -> Fake {
    Fake::that(move |command| match command {
        Command::Update { .. } => vec![
            progress(&["vm-1", "vm-2"], &[]),
            progress(&["vm-1"], &["vm-2"]),
            progress(&[], &["vm-1", "vm-2"]),
            Do::Say(ended(outcome, reason)),
        ],
        Command::Check => vec![Do::Say(bad())],
        other => panic!("{other:?}"),
    })
}

#[test]
fn progress_is_shown_client_by_client() {
    let fake = to_the_end(Ended::Rehearsed, None);
    let ran = fake
        .run(&["update", "--dry-run", "--timeout", "2m"])
        .exits(0);
    let ran = ran
        .says("waiting for vm-1, vm-2, at most 30 s")
        .says("Nothing was replaced");
    let vm_2 = ran.stderr.find("vm-2 is ready (1 of 2)").unwrap();
    assert!(vm_2 < ran.stderr.find("vm-1 is ready (2 of 2)").unwrap());
    let asked = Command::Update {
        timeout_ms: Some(120_000),
        dry_run: true,
        force: false,
    };
    assert_eq!(fake.heard(), [asked]);
}

#[test]
fn every_end_has_an_exit_status_and_a_reason() {
    let fake = to_the_end(Ended::Cancelled, Some("vm-1 says no: busy"));
    fake.run(&["update"])
        .exits(4)
        .says("Called off: vm-1 says no: busy");
    let fake = to_the_end(Ended::Failed, Some("EBUSY"));
    fake.run(&["update"]).exits(1).says("not replaced: EBUSY");
    let fake = to_the_end(Ended::Refused, Some("no next kernel is loaded"));
    fake.run(&["update"])
        .exits(3)
        .says("no next kernel is loaded")
        .says("-> luoctl load");
}

#[test]
fn with_json_every_event_is_a_line() {
    let ran = to_the_end(Ended::Cancelled, Some("too late"))
        .run(&["update", "--json"])
        .exits(4);
    let events: Vec<Event> = ran
        .stdout
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(events.len(), 4, "{ran:?}");
    assert_eq!(events[3], ended(Ended::Cancelled, Some("too late")));
}

#[test]
fn ctrl_c_calls_the_update_off() {
    let fake = Fake::that(|command| match command {
        Command::Update { .. } => vec![progress(&["slow"], &[])],
        Command::Cancel => {
            let reason = Some("an operator has cancelled it");
            vec![
                Do::TellUpdater(ended(Ended::Cancelled, reason)),
                Do::Say(ended(Ended::Cancelled, None)),
            ]
        }
        other => panic!("{other:?}"),
    });
    let child = fake.luoctl(&["update"]).spawn().unwrap();
    fake.await_command("UPDATE");
    signal(&child, Signal::INT);
    Fake::wait(child)
        .exits(4)
        .says("an operator has cancelled it");
    assert_eq!(fake.heard().last(), Some(&Command::Cancel));
}

/// The service manager ended luoctl on the way to the next kernel, and luoctl called the update off.
#[test]
fn a_signal_on_the_way_to_the_next_kernel_calls_nothing_off() {
    let fake = Fake::that(|command| match command {
        Command::Update { .. } => vec![Do::Say(ended(Ended::Rebooting, None))],
        other => panic!("{other:?}"),
    });
    let mut child = fake.luoctl(&["update"]).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("being replaced"), "{line}");
    signal(&child, Signal::TERM);
    Fake::wait(child).exits(0);
    assert!(fake.heard().iter().all(|it| it.name() == "UPDATE"));
}

#[test]
fn a_kernel_that_refuses_after_all_is_a_failure() {
    let fake = Fake::that(|_| {
        let refused = ended(Ended::Failed, Some("EBUSY"));
        vec![Do::Say(ended(Ended::Rebooting, None)), Do::Say(refused)]
    });
    fake.run(&["update"]).exits(1).says("not replaced: EBUSY");
}

/// luod was killed between its last words and the reboot, and luoctl took the end of the connection for the kernel's.
#[test]
fn an_agent_that_dies_is_not_taken_for_a_reboot() {
    let dies_after = |event: fn() -> Do| Fake::that(move |_| vec![event(), Do::Hang]);
    let barrier = dies_after(|| progress(&["vm-1"], &[]));
    barrier.run(&["update"]).exits(1).says("the agent has died");
    let last_words = || Do::Say(ended(Ended::Rebooting, None));
    dies_after(last_words)
        .run(&["update"])
        .exits(1)
        .says("the agent has died");

    // The same, but the service manager says that the machine goes down.
    let fake = dies_after(last_words);
    let systemctl = fake.folder().join("systemctl");
    std::fs::write(&systemctl, "#!/bin/sh\necho stopping\nexit 1\n").unwrap();
    std::fs::set_permissions(&systemctl, std::fs::Permissions::from_mode(0o755)).unwrap();
    fake.run(&["update"]).exits(0).says("going down");
}

#[test]
fn what_the_agent_refuses_is_a_failure() {
    let fake = Fake::that(|command| {
        let message = "an update is under way; wait for its end, or cancel it";
        vec![Do::Say(Event::error(
            Some(command.name()),
            Code::WrongState,
            message,
        ))]
    });
    fake.run(&["update"])
        .exits(1)
        .says("an update is under way");
    fake.run(&["cancel"])
        .exits(1)
        .says("an update is under way");
}

#[test]
fn a_kernel_that_cannot_be_loaded_begins_no_update() {
    let fake = to_the_end(Ended::Rehearsed, None);
    std::fs::write(fake.folder().join("kernel"), "nothing").unwrap();
    let load = [
        "update",
        "--load",
        "kernel",
        "--cmdline",
        "kho=on liveupdate=on",
    ];
    fake.run(&load).exits(1).says("is no bzImage");
    fake.run(&["update", "--load", "kernel", "--cmdline", "quiet"])
        .exits(1)
        .says("kho=on liveupdate=on");
    fake.run(&["update", "--load", "kernel"])
        .exits(2)
        .says("--reuse-cmdline");
    fake.run(&["update", "--reuse-cmdline"])
        .exits(2)
        .says("--load");
    assert_eq!(fake.heard(), []);
}

#[test]
fn watching_shows_every_event_until_the_agent_is_gone() {
    let events = || {
        vec![
            progress(&["vm-1"], &["vm-2"]),
            Do::Say(ended(Ended::Cancelled, Some("vm-1 says no"))),
            Do::Hang,
        ]
    };
    let fake = Fake::that(move |_| events());
    let ran = fake.run(&["watch"]).exits(5);
    assert_eq!(
        ran.stdout,
        "update: 1 of 2 ready, 30 s left; waiting for vm-1\nupdate: called off: vm-1 says no\n"
    );
    let ran = fake.run(&["watch", "--json"]).exits(5);
    assert_eq!(ran.stdout.lines().count(), 2, "{ran:?}");
    let why: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(why["exit"], 5, "{ran:?}");
}
