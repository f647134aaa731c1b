// SPDX-License-Identifier: Apache-2.0 OR MIT

//! In the next kernel.

use super::*;

#[test]
fn an_agent_that_dies_after_the_update_goes_on() {
    let mut machine = Machine::boot();
    machine.carry(&[("vm-a", ALICE), ("db-b", BOB)]);
    let mut machine = machine.kexec();
    machine.restart();
    let alice = machine.connect(ALICE);
    let session = machine.claim(alice, "vm-a").unwrap();
    machine.restart();
    let alice = machine.connect(ALICE);
    let again = machine.claim(alice, "vm-a").unwrap();
    assert_eq!(inode(again.as_fd()), inode(session.as_fd()));
    machine.finish(&again);
    machine.ask(alice, Command::Done { id: id("vm-a") });
    machine.restart();
    let operator = machine.connect(0);
    let status = machine.status(operator);
    let states: Vec<_> = status
        .sessions
        .iter()
        .map(|it| (it.id.as_str(), it.uid, it.state))
        .collect();
    assert_eq!(states, [("db-b", BOB, SessionState::Waiting)]);
}

/// A client's `DONE` was refused, since somebody else had looked at the status between its `FINISH` and that: the agent had seen
/// that the session was finished, and forgotten it.
#[test]
fn done_is_answered_by_an_agent_that_knows_it_already() {
    let mut machine = Machine::boot();
    machine.carry(&[("vm-a", ALICE)]);
    let mut machine = machine.kexec();
    let (operator, alice) = (machine.connect(0), machine.connect(ALICE));
    let session = machine.claim(alice, "vm-a").unwrap();
    machine.finish(&session);
    assert_eq!(machine.status(operator).sessions, []);
    let done = Command::Done { id: id("vm-a") };
    assert_eq!(refused(&machine.ask(alice, done.clone())), None);
    let other = machine.connect(ALICE);
    assert_eq!(refused(&machine.ask(other, done)), Some(Code::NotFound));
}

#[test]
fn what_nobody_has_claimed_goes_on_with_its_owner() {
    let mut machine = Machine::boot();
    machine.carry(&[("vm-a", ALICE)]);
    let mut machine = machine.kexec();
    let operator = machine.connect(0);
    let Event::Check(check) = machine.ask(operator, Command::Check).remove(0).1 else {
        panic!("no answer to CHECK")
    };
    let incoming = check
        .findings
        .iter()
        .find(|it| it.name == "incoming")
        .unwrap();
    assert_eq!(incoming.severity, Severity::Warning);
    machine.carry(&[]);
    let mut machine = machine.kexec();
    let (alice, bob) = (machine.connect(ALICE), machine.connect(BOB));
    assert_eq!(
        refused(&machine.ask(bob, Command::Claim { id: id("vm-a") })),
        Some(Code::NotAllowed)
    );
    let session = machine.claim(alice, "vm-a").unwrap();
    assert_eq!(machine.retrieve(&session, Token(0)), b"vm-a");
}

#[test]
fn a_service_manager_that_carries_its_store_over_is_understood() {
    let mut machine = Machine::boot();
    machine.carry(&[("vm-a", ALICE)]);
    let mut machine = machine.kexec_with_the_vault();
    assert_eq!(machine.vault_keys(), ["in-vm-a"]);
    let (operator, alice, bob) = (
        machine.connect(0),
        machine.connect(ALICE),
        machine.connect(BOB),
    );
    let claim = Command::Claim { id: id("vm-a") };
    assert_eq!(refused(&machine.ask(bob, claim)), Some(Code::NotAllowed));
    // It has been retrieved, but nobody has claimed it.
    let state = |machine: &mut Machine| machine.status(operator).sessions[0].state;
    assert_eq!(state(&mut machine), SessionState::Waiting);
    let done = Command::Done { id: id("vm-a") };
    let unclaimed = machine.ask(alice, done.clone());
    assert_eq!(refused(&unclaimed), Some(Code::WrongState));
    assert!(machine.last_claim().is_none());
    let session = machine.claim(alice, "vm-a").unwrap();
    assert_eq!(state(&mut machine), SessionState::Claimed);
    assert!(machine.last_claim().is_some());
    assert_eq!(machine.retrieve(&session, Token(0)), b"vm-a");
    machine.finish(&session);
    assert_eq!(refused(&machine.ask(alice, done)), None);
    assert_eq!(machine.vault_keys(), Vec::<String>::new());
}

/// systemd did not add a session to its store a second time, so that what luod called by another name was gone when luod died.
#[test]
fn what_a_service_manager_has_carried_over_stays_where_it_is() {
    let mut machine = Machine::boot();
    machine.carry(&[("vm-a", ALICE)]);
    let mut machine = machine.kexec_with_the_vault();
    machine.restart();
    assert_eq!(machine.vault_keys(), ["in-vm-a"]);
    let alice = machine.connect(ALICE);
    let session = machine.claim(alice, "vm-a").unwrap();
    assert_eq!(machine.retrieve(&session, Token(0)), b"vm-a");
}

/// `systemctl kexec` ends all services before the kernel refuses to be replaced; then the machine boots from cold.
#[test]
fn nobody_can_insist_on_an_update_that_is_refused_too_late() {
    let mut machine = Machine::boot();
    machine.carry(&[("vm-a", ALICE)]);
    let mut machine = machine.kexec_with_the_vault();
    let operator = machine.connect(0);
    let insist = Command::Update {
        timeout_ms: None,
        dry_run: false,
        force: true,
    };
    machine.kernel().shuts_down = true;
    let checked = machine.ask(operator, Command::Check);
    let Event::Check(check) = &checked[0].1 else {
        panic!("no answer to CHECK")
    };
    let image = check.findings.iter().find(|it| it.name == "image").unwrap();
    assert_eq!(
        image.severity,
        Severity::Problem,
        "luoctl has not loaded it"
    );
    let (outcome, reason) = ended(&machine.ask(operator, insist.clone())).unwrap();
    assert_eq!(outcome, Ended::Refused);
    assert!(reason.contains("vm-a"), "{reason}");
    assert!(!machine.has_left());
    machine.ask(operator, Command::Discard { id: id("vm-a") });
    machine.ask(operator, insist);
    assert!(machine.has_left());
}
