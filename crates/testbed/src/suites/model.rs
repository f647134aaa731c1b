// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Random operations of programs and operators on a real machine, over several kexecs. What each has to give, and what can be seen
//! after it, the model says: its oracle runs first, and what it says becomes what the scenario expects.

mod calls;
mod player;
mod words;

use luo_model::{Callback, Flb, Handler, Modules, Op};
use proptest::{
    prelude::any,
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use self::player::Player;
use crate::scenario::{Flavor, Scenario};

/// How many kexecs a sequence goes through, unless more are asked for.
const KEXECS: u32 = 3;
/// The seed, unless another is asked for.
const SEED: u64 = 9;
/// So many operations, at least, there are for each kexec.
const LEAST_OPS: u32 = 40;
/// After so many the sequence ends, even if it has not come to all kexecs.
const MOST_OPS: u32 = 150;

/// On ours only: the model says what this implementation does.
pub(super) fn operations(seed: Option<u64>, kexecs: Option<u32>) -> Scenario {
    let seed = seed.unwrap_or(SEED);
    let (player, nr_ops) = play(seed, kexecs.unwrap_or(KEXECS));
    let name = format!("model/{nr_ops} operations of seed {seed} on rust");
    Scenario::new(name, Flavor::Rust, player.actions)
        .expecting("kexec refused")
        .expecting("cannot be retrieved")
        .expecting("cannot be finished and stays preserved")
}

/// Plays operations; says how many.
fn play(seed: u64, kexecs: u32) -> (Player, u32) {
    let mut random = generator(seed);
    let mut player = Player::power_on();
    let mut nr_ops = 0;
    while player.nr_kexecs < kexecs && nr_ops < MOST_OPS * kexecs {
        let tree = any::<Op>().new_tree(&mut random);
        let op = tree.expect("any operation will do").current();
        let Some(op) = offered(op) else {
            continue;
        };
        if let Op::Kexec { image, .. } = op
            && nr_ops < LEAST_OPS * (player.nr_kexecs + 1)
            && !player.is_refused(image)
        {
            continue;
        }
        player.play(op);
        nr_ops += 1;
    }
    (player, nr_ops)
}

fn generator(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(Config::default(), random)
}

/// The operation, as far as a real machine offers it to user space. Its handlers are built in, and `reboot(2)` does the hand-over
/// and the jump. Of its handlers and FLBs those that [`Handler`] 1 stands for answer as they are told, but for `freeze`, which looks
/// at the file.
fn offered(op: Op) -> Option<Op> {
    match op {
        Op::Load { .. } | Op::Unload { .. } | Op::HandOver { .. } | Op::Jump { .. } => None,
        // Looking at so many sessions after each operation takes long.
        Op::CreateMany { .. } | Op::FinishMany { .. } => None,
        Op::Borrow { flb: Flb(0), .. } | Op::GiveBack { flb: Flb(0), .. } => None,
        Op::Refuse { callback } => match callback {
            Callback::Preserve(Handler(0))
            | Callback::Freeze(_)
            | Callback::Carry(_)
            | Callback::Retrieve(Handler(0))
            | Callback::CanFinish(Handler(0))
            | Callback::FlbPreserve(Flb(0))
            | Callback::FlbRetrieve(Flb(0)) => None,
            _ => Some(op),
        },
        Op::Kexec { image, .. } => Some(Op::Kexec {
            image,
            modules: Modules::All,
        }),
        op => Some(op),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Action, Expect};

    #[test]
    fn a_seed_is_a_sequence() {
        let actions = |seed| format!("{:?}", operations(Some(seed), None).actions);
        assert_eq!(actions(7), actions(7));
        assert_ne!(actions(7), actions(8));
    }

    #[test]
    fn sequences_come_to_failures_and_kexecs() {
        let (player, _) = play(SEED, KEXECS);
        assert!(player.nr_files_passed_on > 0);
        let actions = player.actions;
        let count = |wanted: fn(&Action) -> bool| actions.iter().filter(|it| wanted(it)).count();
        assert_eq!(count(|it| matches!(it, Action::Kexec(_))), KEXECS as usize);
        assert!(count(|it| matches!(it, Action::KexecRefused(..))) > 0);
        assert!(count(|it| matches!(it, Action::Do(_, Expect::Errno(_)))) > 10);
        assert!(count(|it| matches!(it, Action::Do(_, Expect::Ending(_)))) > 100);
    }
}
