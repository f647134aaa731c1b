// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The agent against a simulated kernel, over simulated kexecs.

mod arrival;
mod machine;
mod property;
mod world;

use std::{
    os::fd::{AsFd as _, OwnedFd},
    time::{Duration, Instant},
};

use super::*;
use crate::protocol::{Ended, SessionState, Severity, Status};
use crate::vault::Key;
use liveupdate::Token;
use machine::Machine;
use world::inode;

const ALICE: u32 = 1000;
const BOB: u32 = 1001;
/// As `luoctl update` asks for one, without more words.
const UPDATE: Command = Command::Update {
    timeout_ms: None,
    dry_run: false,
    force: false,
};

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn is_start(event: &Event) -> bool {
    matches!(event, Event::StartPreservation { .. })
}

fn ended(events: &[(Peer, Event)]) -> Option<(Ended, String)> {
    events.iter().rev().find_map(|(_, event)| match event {
        Event::Ended { outcome, reason } => Some((*outcome, reason.clone().unwrap_or_default())),
        _ => None,
    })
}

fn refused(events: &[(Peer, Event)]) -> Option<Code> {
    events.iter().find_map(|(_, event)| match event {
        Event::Error { code, .. } => Some(*code),
        _ => None,
    })
}

/// An operator, and a client of each user with its id.
fn three(machine: &mut Machine) -> (Peer, Peer, Peer) {
    let operator = machine.connect(0);
    let (alice, bob) = (machine.connect(ALICE), machine.connect(BOB));
    machine.subscribe(alice, "vm-a");
    machine.subscribe(bob, "db-b");
    (operator, alice, bob)
}

#[test]
fn an_update_goes_through_when_all_are_ready_and_everybody_gets_his_own() {
    let mut machine = Machine::boot();
    let (operator, alice, bob) = three(&mut machine);
    let events = machine.ask(operator, UPDATE);
    assert_eq!(events.iter().filter(|(_, it)| is_start(it)).count(), 2);
    machine.preserve(alice, "vm-a", Token(7), b"of alice");
    machine.preserve(bob, "db-b", Token(7), b"of bob");
    machine.ask(alice, Command::Ready { id: None });
    assert!(!machine.has_left(), "bob is not ready");
    machine.ask(bob, Command::Ready { id: None });
    assert!(machine.has_left());

    let mut machine = machine.kexec();
    let (alice, bob) = (machine.connect(ALICE), machine.connect(BOB));
    assert_eq!(
        refused(&machine.ask(bob, Command::Claim { id: id("vm-a") })),
        Some(Code::NotAllowed)
    );
    let session = machine.claim(alice, "vm-a").unwrap();
    assert_eq!(machine.retrieve(&session, Token(7)), b"of alice");
    let session_of_bob = machine.claim(bob, "db-b").unwrap();
    assert_eq!(machine.retrieve(&session_of_bob, Token(7)), b"of bob");

    let unfinished = machine.ask(alice, Command::Done { id: id("vm-a") });
    assert_eq!(refused(&unfinished), Some(Code::WrongState));
    machine.finish(&session);
    assert_eq!(
        refused(&machine.ask(alice, Command::Done { id: id("vm-a") })),
        None
    );
    assert_eq!(
        refused(&machine.ask(alice, Command::Claim { id: id("vm-a") })),
        Some(Code::NotFound)
    );
    assert!(
        matches!(&machine.ask(alice, Command::Timeline)[0].1, Event::Timeline(it) if it.spans.len() == 6)
    );
}

/// Begins an update, lets `end` happen, and demands that nothing of it is left.
fn called_off(
    expected: Ended,
    reason: &str,
    end: impl Fn(&mut Machine, Peer, Peer) -> Vec<(Peer, Event)>,
) {
    let mut machine = Machine::boot();
    let (operator, alice, bob) = three(&mut machine);
    machine.ask(operator, Command::Watch);
    machine.ask(
        operator,
        Command::Update {
            timeout_ms: Some(1000),
            dry_run: false,
            force: false,
        },
    );
    machine.ask(alice, Command::Ready { id: None });
    let events = end(&mut machine, operator, bob);
    let (outcome, why) = ended(&events).expect("the update has ended");
    assert_eq!(outcome, expected);
    assert!(why.contains(reason), "{why}");
    let told =
        |(peer, event): &(Peer, Event)| *peer == alice && matches!(event, Event::Cancelled { .. });
    assert!(events.iter().any(told), "{events:?}");
    assert!(!machine.has_left());
    assert_eq!(machine.vault_keys(), Vec::<String>::new());
    // The next one can begin at once.
    machine.close_sessions();
    let again = machine.ask(operator, UPDATE);
    assert!(again.iter().any(|(_, it)| is_start(it)), "{again:?}");
}

#[test]
fn a_veto_calls_it_off() {
    called_off(Ended::Cancelled, "disk is busy", |machine, _, bob| {
        machine.ask(
            bob,
            Command::Veto {
                id: None,
                reason: "disk is busy".into(),
            },
        )
    });
}

#[test]
fn a_death_calls_it_off() {
    called_off(Ended::Cancelled, "db-b", |machine, _, bob| {
        machine.disconnect(bob)
    });
}

#[test]
fn the_deadline_calls_it_off_and_names_who_was_late() {
    called_off(Ended::Cancelled, "db-b", |machine, _, _| {
        machine.agent().tick(Instant::now());
        assert!(machine.run().is_empty(), "it is not late yet");
        machine
            .agent()
            .tick(Instant::now() + Duration::from_secs(1));
        machine.run()
    });
}

#[test]
fn an_operator_calls_it_off() {
    called_off(Ended::Cancelled, "operator", |machine, operator, _| {
        machine.ask(operator, Command::Cancel)
    });
}

#[test]
fn a_kernel_that_refuses_leaves_everything_as_it_was() {
    called_off(Ended::Failed, "not today", |machine, _, bob| {
        machine.kernel().refuse_to_leave = Some("not today".into());
        machine.ask(bob, Command::Ready { id: None })
    });
}

/// `systemctl kexec` ends the clients on the way to the next kernel, and the agent took their deaths for a reason to close their
/// sessions, all preserved and about to be handed over.
#[test]
fn nothing_calls_it_off_when_the_machine_is_going_down() {
    let mut machine = Machine::boot();
    let (operator, alice, bob) = three(&mut machine);
    let update = Command::Update {
        timeout_ms: Some(0),
        dry_run: false,
        force: false,
    };
    machine.ask(operator, update);
    machine.preserve(alice, "vm-a", Token(1), b"x");
    machine.ask(alice, Command::Ready { id: None });
    machine.ask(bob, Command::Ready { id: None });
    assert!(machine.has_left());
    machine.disconnect(bob);
    machine
        .agent()
        .tick(Instant::now() + Duration::from_secs(1));
    let veto = Command::Veto {
        id: None,
        reason: "too late".into(),
    };
    machine.ask(alice, veto);
    let cancelled = machine.ask(operator, Command::Cancel);
    assert_eq!(refused(&cancelled), Some(Code::WrongState));
    assert_eq!(machine.vault_keys(), ["out-db-b", "out-vm-a", "own-out"]);
    assert_eq!(machine.agent().deadline(), None);
}

#[test]
fn a_rehearsal_goes_through_everything_but_the_reboot() {
    let mut machine = Machine::boot();
    let (operator, alice, bob) = three(&mut machine);
    machine.ask(
        operator,
        Command::Update {
            timeout_ms: None,
            dry_run: true,
            force: false,
        },
    );
    machine.ask(alice, Command::Ready { id: None });
    let events = machine.ask(bob, Command::Ready { id: None });
    assert_eq!(ended(&events).unwrap().0, Ended::Rehearsed);
    assert!(!machine.has_left());
    assert_eq!(machine.vault_keys(), Vec::<String>::new());
}

#[test]
fn an_agent_that_dies_in_an_update_leaves_no_session_behind() {
    let mut machine = Machine::boot();
    let (operator, alice, _) = three(&mut machine);
    machine.ask(operator, UPDATE);
    machine.preserve(alice, "vm-a", Token(1), b"x");
    assert!(!machine.vault_keys().is_empty());
    machine.restart();
    assert_eq!(machine.vault_keys(), Vec::<String>::new());
    machine.close_sessions();
    assert!(!machine.kernel().has_outgoing());
}

/// An agent that was killed right after the FINISH of its own session found that session in the vault when it was started again,
/// complained that there was no manifest in it, and refused every update of this boot.
#[test]
fn an_agent_that_dies_after_it_has_finished_its_own_session_has_no_complaint() {
    let mut machine = Machine::boot();
    machine.carry(&[("vm-a", ALICE)]);
    let mut machine = machine.kexec();
    machine.kernel().put_own_back();
    machine.restart();
    assert!(!machine.vault_keys().contains(&Key::IncomingOwn.to_string()));
    let (operator, alice) = (machine.connect(0), machine.connect(ALICE));
    let session = machine.claim(alice, "vm-a").unwrap();
    machine.finish(&session);
    machine.ask(alice, Command::Done { id: id("vm-a") });
    let checked = machine.ask(operator, Command::Check);
    assert!(
        matches!(&checked[0].1, Event::Check(it) if it.ok),
        "{checked:?}"
    );
}

#[test]
fn who_has_only_read_the_published_protocol_is_served() {
    let mut machine = Machine::boot();
    let operator = machine.connect(0);
    let plain = machine.connect_plain(ALICE);
    assert_eq!(
        machine.ask(plain, Command::Subscribe { id: id("vm-p") }),
        []
    );
    machine.ask(operator, UPDATE);
    machine.preserve(plain, "vm-p", Token(0), b"plain");
    machine.ask(plain, Command::Ready { id: None });
    assert!(machine.has_left());
    let mut machine = machine.kexec();
    let plain = machine.connect_plain(ALICE);
    let session = machine.claim(plain, "vm-p").unwrap();
    machine.finish(&session);
    machine.disconnect(plain);
    let operator = machine.connect(0);
    assert_eq!(
        machine.status(operator).sessions,
        [],
        "it has finished, and cannot say DONE"
    );
}

#[test]
fn nobody_sees_or_touches_what_is_others() {
    let mut machine = Machine::boot();
    let (_, alice, bob) = three(&mut machine);
    assert_eq!(
        refused(&machine.ask(bob, Command::Subscribe { id: id("vm-x") })),
        Some(Code::NotAllowed)
    );
    for command in [
        Command::Check,
        Command::Cancel,
        Command::Watch,
        Command::Discard { id: id("db-b") },
    ] {
        assert_eq!(
            refused(&machine.ask(alice, command)),
            Some(Code::NotAllowed)
        );
    }
    let update = Command::Update {
        timeout_ms: None,
        dry_run: true,
        force: true,
    };
    assert_eq!(refused(&machine.ask(alice, update)), Some(Code::NotAllowed));
    let status = machine.status(alice);
    assert!(
        status.clients.iter().all(|it| it.uid == ALICE),
        "{status:?}"
    );
    let keep = Command::KeepAdd {
        name: id("vm-k"),
        bytes: 4096,
        owner: Some(BOB),
        checksum: false,
    };
    assert_eq!(refused(&machine.ask(alice, keep)), Some(Code::NotAllowed));
}

#[test]
fn lines_that_are_no_commands_are_refused_and_no_more() {
    let mut machine = Machine::boot();
    let (_, alice, _) = three(&mut machine);
    for (text, code, goes_on) in [
        (&b"{\"cmd\":\"FLY\"}"[..], Code::BadCommand, true),
        (b"{\"cmd\":\"CLAIM\",\"id\":7}", Code::BadCommand, true),
        (b"{}", Code::BadCommand, true),
        (b"[1]", Code::BadLine, false),
        (b"\xff\xfe", Code::BadLine, false),
        (b"{\"cmd\":", Code::BadLine, false),
        (b"", Code::BadLine, false),
    ] {
        assert_eq!(machine.agent().line(alice, text), goes_on);
        assert_eq!(
            refused(&machine.run()),
            Some(code),
            "{}",
            String::from_utf8_lossy(text)
        );
    }
}

#[test]
fn an_update_that_would_lose_something_is_refused() {
    let mut machine = Machine::boot();
    let operator = machine.connect(0);
    machine.kernel().loaded = false;
    let update = |force| Command::Update {
        timeout_ms: None,
        dry_run: false,
        force,
    };
    let events = machine.ask(operator, update(false));
    assert_eq!(
        ended(&events).unwrap(),
        (Ended::Refused, "no next kernel is loaded".into())
    );
    machine.kernel().loaded = true;
    machine.carry(&[("vm-a", ALICE)]);
    let mut machine = machine.kexec();
    let (operator, alice) = (machine.connect(0), machine.connect(ALICE));
    machine.claim(alice, "vm-a").unwrap();
    let events = machine.ask(operator, update(false));
    assert_eq!(ended(&events).unwrap().0, Ended::Refused);
    assert!(!machine.has_left());
}
