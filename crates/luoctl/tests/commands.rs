// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Everything but updates, against an agent that says what is wanted.

#[expect(dead_code, reason = "each test file uses another part")]
mod fake;

use std::{fs, os::fd::OwnedFd};

use fake::{Do, Fake};
use luod::protocol::{
    Check, Code, Command, Event, Finding, Id, Incoming, KeptReport, KernelReport, Phase, Progress,
    SessionReport, SessionState, Severity, Span, Status, Timeline,
};
use rustix::fs::{MemfdFlags, memfd_create};

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn status() -> Event {
    Event::Status(Box::new(Status {
        agent: "fake 1".into(),
        kernel: KernelReport {
            release: "7.2.12".into(),
            unsupported: None,
            image_loaded: false,
            image: None,
            incoming: Some(Incoming {
                sessions: 1,
                leaked: vec!["session 'old': no handler".into()],
                leaked_bytes: 8192,
            }),
        },
        update: Progress {
            phase: Phase::Idle,
            waiting: Vec::new(),
            ready: Vec::new(),
            left_ms: 0,
        },
        clients: Vec::new(),
        sessions: vec![SessionReport {
            id: id("vm-1"),
            uid: 54_321,
            state: SessionState::Waiting,
            files: None,
        }],
        kept: vec![KeptReport {
            name: id("cache"),
            uid: 54_321,
            path: "/run/luod/keep/cache/memory".into(),
            bytes: 1 << 30,
            allocated_bytes: 4096,
        }],
    }))
}

fn check(severity: Severity) -> Event {
    Event::Check(Check {
        ok: severity < Severity::Problem,
        findings: vec![
            Finding {
                severity: Severity::Fine,
                name: "live-update".into(),
                message: "7.2.12 has it".into(),
                remedy: None,
            },
            Finding {
                severity,
                name: "clients".into(),
                message: "vm-1 is missing".into(),
                remedy: Some("start it".into()),
            },
        ],
    })
}

fn timeline() -> Event {
    Event::Timeline(Timeline {
        from: "7.2.12".into(),
        to: "7.3.1".into(),
        started: 1_800_000_000,
        spans: vec![Span {
            name: "kernel boots".into(),
            start_ms: 0.0,
            ms: 1500.0,
        }],
        blackout_ms: 1500.0,
    })
}

fn well() -> Fake {
    Fake::that(|command| {
        vec![Do::Say(match command {
            Command::Status => status(),
            Command::Check => check(Severity::Warning),
            Command::Timeline => timeline(),
            Command::KeepAdd { name, .. } => Event::Kept {
                name: name.clone(),
                path: "/run/luod/keep/cache/memory".into(),
            },
            Command::KeepRemove { name: id } | Command::Discard { id } => {
                Event::Done { id: id.clone() }
            }
            other => panic!("{other:?}"),
        })]
    })
}

#[test]
fn the_status_is_shown_and_passed_on() {
    let fake = well();
    let ran = fake.run(&["status"]).exits(0);
    let ran = ran
        .says("leaked: 8.0 KiB")
        .says("vm-1")
        .says("54321")
        .says("1.0 GiB");
    assert!(
        !ran.stdout.contains('\u{1b}'),
        "colours, though this is no terminal"
    );
    let json = fake.run(&["--json", "status"]).exits(0).json();
    assert_eq!(json["sessions"][0]["state"], "waiting");
    assert_eq!(json["kernel"]["incoming"]["leaked_bytes"], 8192);
}

#[test]
fn without_an_agent_the_status_says_what_it_can() {
    let fake = Fake::none();
    let ran = fake.run(&["status"]).exits(5).says("is luod running?");
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let ran = ran.says(&release);
    assert!(ran.stdout.starts_with("Agent:   none"), "{ran:?}");
    let json = fake.run(&["status", "--json"]).exits(5).json();
    assert_eq!(
        (&json["agent"], &json["local"]["release"]),
        (&serde_json::Value::Null, &release.into())
    );
    for command in ["check", "update", "cancel", "timeline", "watch"] {
        fake.run(&[command]).exits(5);
    }
}

#[test]
fn a_check_exits_by_what_it_finds() {
    well()
        .run(&["check"])
        .exits(0)
        .says("with 1 warning")
        .says("-> start it");
    let fake = Fake::that(|_| vec![Do::Say(check(Severity::Problem))]);
    fake.run(&["check"])
        .exits(3)
        .says("PROBLEM  clients: vm-1 is missing");
    let ran = fake.run(&["check", "--json", "--quiet"]).exits(3);
    let found: Check = serde_json::from_value(ran.json()).unwrap();
    assert!(!found.ok && found.findings.len() == 1);
    // What is not loaded yet is looked at here.
    well()
        .run(&["check", "--kernel", "no-such-file"])
        .exits(3)
        .says("cannot read no-such-file");
}

#[test]
fn the_last_update_is_drawn() {
    let fake = well();
    let ran = fake
        .run(&["timeline", "--svg", "update.svg", "--json"])
        .exits(0);
    let drawing = fs::read_to_string(fake.folder().join("update.svg")).unwrap();
    assert!(
        drawing.starts_with("<svg") && drawing.contains("kernel boots"),
        "{drawing}"
    );
    fs::write(fake.folder().join("update.json"), &ran.stdout).unwrap();
    let absent = Fake::none();
    let saved = fake.folder().join("update.json");
    let ran = absent
        .run(&["timeline", "--from", saved.to_str().unwrap()])
        .exits(0);
    ran.says("Blackout: 1.50 s").says("7.2.12 -> 7.3.1");
}

#[test]
fn files_are_kept_by_name_and_size() {
    let fake = well();
    let add = [
        "keep",
        "add",
        "cache",
        "--size",
        "1G",
        "--owner",
        "54321",
        "--checksum",
    ];
    let ran = fake.run(&add).exits(0);
    assert_eq!(ran.stdout, "/run/luod/keep/cache/memory\n");
    fake.run(&["keep", "list"])
        .exits(0)
        .says("1.0 GiB")
        .says("4.0 KiB");
    fake.run(&["keep", "remove", "cache"])
        .exits(0)
        .says("kept no more");
    let added = Command::KeepAdd {
        name: id("cache"),
        bytes: 1 << 30,
        owner: Some(54_321),
        checksum: true,
    };
    assert_eq!(fake.heard()[0], added);
    fake.run(&["keep", "add", "cache", "--size", "much"])
        .exits(2);
    fake.run(&["keep", "add", "a/b", "--size", "1G"]).exits(2);
}

#[test]
fn nothing_is_discarded_without_a_yes() {
    let fake = well();
    fake.run(&["discard", "vm-1"]).exits(2).says("--yes");
    assert_eq!(fake.heard(), []);
    fake.run(&["discard", "vm-1", "--yes"])
        .exits(0)
        .says("vm-1 is given up");
    assert_eq!(fake.heard(), [Command::Discard { id: id("vm-1") }]);
}

#[test]
fn metrics_are_printed_or_put_where_they_are_collected() {
    let fake = well();
    fake.run(&["metrics"])
        .exits(0)
        .says("luo_agent_up 1.0")
        .says("luo_leaked_bytes 8192.0");
    fake.run(&["metrics", "--textfile", "luo.prom"]).exits(0);
    let text = fs::read_to_string(fake.folder().join("luo.prom")).unwrap();
    assert!(
        text.contains("luo_last_update_blackout_seconds 1.5\n"),
        "{text}"
    );
    let absent = Fake::none();
    absent.run(&["metrics", "--textfile", "luo.prom"]).exits(5);
    let text = fs::read_to_string(absent.folder().join("luo.prom")).unwrap();
    assert!(text.contains("luo_agent_up 0.0\n"), "{text}");
}

/// An agent that gives something away which can be read, in place of a session.
fn generous() -> Fake {
    Fake::that(|command| {
        let Command::Claim { id } = command else {
            let message = "nobody has said that it is done";
            return vec![Do::Say(Event::error(None, Code::WrongState, message))];
        };
        let fd: OwnedFd = memfd_create("session", MemfdFlags::CLOEXEC).unwrap();
        rustix::io::write(&fd, b"from the previous kernel").unwrap();
        rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(0)).unwrap();
        vec![Do::Give(Event::Claimed { id: id.clone() }, fd)]
    })
}

#[test]
fn a_program_gets_the_session_as_its_first_descriptor() {
    let fake = generous();
    let script = "/bin/cat <&3; echo; echo $LISTEN_FDS $LISTEN_FDNAMES; \
                  [ $LISTEN_PID = $$ ] && echo mine; exit 7";
    let ran = fake
        .run(&["claim", "vm-1", "--", "/bin/sh", "-c", script])
        .exits(7);
    assert_eq!(
        ran.stdout, "from the previous kernel\n1 session\nmine\n",
        "{ran:?}"
    );
    assert_eq!(
        fake.heard(),
        [Command::Claim { id: id("vm-1") }],
        "DONE was not asked for"
    );
    fake.run(&["claim", "vm-1", "--", "/no/such/program"])
        .exits(1)
        .says("/no/such/program");
    fake.run(&["claim", "vm-1"]).exits(2);
}

/// What is finished cannot be claimed again. What is given here is no session, so that finishing it is seen to fail.
#[test]
fn a_session_is_finished_only_if_that_is_asked_for_and_the_program_went_well() {
    let fake = generous();
    fake.run(&["claim", "vm-1", "--", "/bin/true"]).exits(0);
    fake.run(&["claim", "vm-1", "--done", "--", "/bin/sh", "-c", "exit 7"])
        .exits(7);
    fake.run(&["claim", "vm-1", "--done", "--", "/bin/true"])
        .exits(1)
        .says("cannot finish");
    assert!(fake.heard().iter().all(|it| it.name() == "CLAIM"));
}

#[test]
fn what_is_no_session_cannot_be_rescued_and_is_not_done() {
    let fake = generous();
    fake.run(&["claim", "vm-1", "--save", "rescued"])
        .exits(1)
        .says("--token");
    let with_token = [
        "claim", "vm-1", "--save", "rescued", "--token", "0x1a", "--done",
    ];
    fake.run(&with_token).exits(1).says("retrieve file 0x1a");
    assert!(
        fake.heard().iter().all(|it| it.name() == "CLAIM"),
        "{:?}",
        fake.heard()
    );
}

#[test]
fn completions_and_manual_pages_are_generated() {
    let fake = Fake::none();
    for shell in ["bash", "zsh", "fish"] {
        fake.run(&["completions", shell])
            .exits(0)
            .says("luoctl")
            .says("timeline");
    }
    fake.run(&["man", "pages"]).exits(0);
    let page = fs::read_to_string(fake.folder().join("pages/luoctl.1")).unwrap();
    assert!(page.contains("no agent can be reached"), "{page}");
    assert!(fake.folder().join("pages/luoctl-keep-add.1").exists());
}

#[test]
fn a_command_line_that_is_wrong_exits_by_2() {
    let fake = Fake::none();
    fake.run(&["fly"]).exits(2);
    fake.run(&["load", "kernel"])
        .exits(2)
        .says("--reuse-cmdline");
    fake.run(&["metrics", "--json"])
        .exits(2)
        .says("status --json");
}
