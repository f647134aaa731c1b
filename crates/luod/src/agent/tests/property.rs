// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Random conversations of an operator and three clients with an agent that may die.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Subscribe(usize),
    Ready(usize),
    Veto(usize),
    Die(usize),
    Update { dry_run: bool },
    Cancel,
    Late,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let client = 0..3_usize;
    prop_oneof![
        4 => client.clone().prop_map(Op::Subscribe),
        6 => client.clone().prop_map(Op::Ready),
        1 => client.clone().prop_map(Op::Veto),
        1 => client.prop_map(Op::Die),
        4 => any::<bool>().prop_map(|dry_run| Op::Update { dry_run }),
        1 => Just(Op::Cancel),
        1 => Just(Op::Late),
        1 => Just(Op::Restart),
    ]
}

proptest! {
    /// The kernel is left only if everybody who was handed a session has said READY since, and nobody anything else.
    #[test]
    fn nobody_is_left_behind(ops in prop::collection::vec(op(), 1..60)) {
        let mut machine = Machine::boot();
        let mut operator = machine.connect(0);
        let mut clients = [0; 3].map(|_| machine.connect(ALICE));
        // Of each client: whether it was handed a session, and whether it is ready.
        let mut handed = [None; 3];
        for op in ops {
            let events = match op {
                Op::Subscribe(n) => machine.ask(clients[n], Command::Subscribe { id: id(&format!("vm-{n}")) }),
                Op::Ready(n) => {
                    if let Some(ready) = &mut handed[n] {
                        *ready = true;
                    }
                    machine.ask(clients[n], Command::Ready { id: None })
                }
                Op::Veto(n) => machine.ask(clients[n], Command::Veto { id: None, reason: "no".into() }),
                Op::Die(n) => {
                    let events = machine.disconnect(clients[n]);
                    clients[n] = machine.connect(ALICE);
                    events
                }
                Op::Update { dry_run } => {
                    machine.close_sessions();
                    machine.ask(operator, Command::Update { timeout_ms: None, dry_run, force: false })
                }
                Op::Cancel => machine.ask(operator, Command::Cancel),
                Op::Late => {
                    machine.agent().tick(Instant::now() + Duration::from_secs(3600));
                    machine.run()
                }
                Op::Restart => {
                    machine.restart();
                    operator = machine.connect(0);
                    clients = [0; 3].map(|_| machine.connect(ALICE));
                    handed = [None; 3];
                    Vec::new()
                }
            };
            for (_, event) in &events {
                let of = |id: &Id| id.as_str()["vm-".len()..].parse::<usize>().unwrap();
                match event {
                    Event::StartPreservation { id, .. } => handed[of(id)] = Some(false),
                    Event::Cancelled { id, .. } => handed[of(id)] = None,
                    Event::Ended { outcome: Ended::Cancelled | Ended::Failed | Ended::Rehearsed, .. } => {
                        handed = [None; 3];
                    }
                    _ => {}
                }
            }
            if machine.has_left() {
                prop_assert!(handed.iter().all(|it| *it != Some(false)), "{handed:?}");
                return Ok(());
            }
            let outgoing = machine.vault_keys().iter().filter(|it| it.starts_with("out-")).count();
            prop_assert_eq!(outgoing, handed.iter().flatten().count());
        }
    }
}
