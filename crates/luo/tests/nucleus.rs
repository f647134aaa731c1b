// SPDX-License-Identifier: GPL-2.0-only

//! The parts that are plain data and arithmetic, compiled into the tests as they are.

#[path = "../../../linux/kernel/liveupdate/cursor.rs"]
mod cursor;
#[path = "../../../linux/kernel/liveupdate/phase.rs"]
mod phase;

use phase::{Event, Phase};

/// All of [`Phase::after`]: a change of one transition changes one word here.
#[test]
fn phases_and_events() {
    use Event::{Break, CheckIn, Deliver, Finish, Retrieve};
    use Phase::{Available, Broken, CheckedOut, Finished, Offered};
    let mut matrix = String::new();
    for phase in [Available, Offered, CheckedOut, Finished, Broken] {
        matrix += &format!("{:10}", phase.name());
        for event in [Retrieve, Deliver, Finish, CheckIn, Break] {
            let after = phase.after(event).map_or("-", Phase::name);
            matrix += &format!("{event:?} {after:10} ");
        }
        let kexec = if phase.holds_back_kexec() {
            "waits"
        } else {
            "goes on"
        };
        matrix = format!("{matrix}kexec {kexec}\n");
    }
    let expected = "\
available Retrieve offered    Deliver -          Finish -          CheckIn -          Break broken     kexec waits
offered   Retrieve -          Deliver retrieved  Finish -          CheckIn available  Break -          kexec waits
retrieved Retrieve -          Deliver -          Finish finished   CheckIn available  Break -          kexec waits
finished  Retrieve -          Deliver -          Finish -          CheckIn -          Break -          kexec goes on
broken    Retrieve -          Deliver -          Finish -          CheckIn -          Break -          kexec goes on
";
    assert_eq!(matrix, expected);
}

#[test]
fn every_entry_has_one_place_and_no_block_is_empty() {
    for per_block in [1, 2, 51, 63] {
        for entries in 0..=3 * per_block {
            let blocks = cursor::blocks_for(entries, per_block);
            let fills: Vec<_> = (0..blocks)
                .map(|it| cursor::fill(entries, it, per_block))
                .collect();
            assert_eq!(fills.iter().sum::<usize>(), entries);
            assert!(fills.iter().all(|it| (1..=per_block).contains(it)));
            let slots = fills.iter().enumerate();
            let slots = slots.flat_map(|(block, fill)| (0..*fill).map(move |slot| (block, slot)));
            assert!(slots.eq((0..entries).map(|it| cursor::place(it, per_block))));
            assert_eq!(cursor::fill(entries, blocks, per_block), 0);
        }
    }
}
