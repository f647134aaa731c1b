// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Where the time goes between `reboot(2)` and the claim: the machine is stopped at the first instruction of each phase, and the
//! time-stamp counter is read there.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use luo_guest::proto::Op;

use super::{
    Layout, Phase, PhasesFigure, Results, boot, memory,
    stand::{STEP_TIMEOUT, Stand},
};
use crate::{
    machine::{
        STOP_NS,
        gdb::{Gdb, Stop},
        qmp::Qmp,
    },
    scenario::{Flavor, Lab},
    symbols::Symbols,
};

const FREEZE: &str = "live update freezes";
const EARLY: &str = "early boot";
const RESTORE: &str = "KHO restores";
const CLOCKS: &str = "clocks calibrated";
const LATE: &str = "the rest up to the initcalls";
const USERSPACE: &str = "userspace to the agent";
const CLAIM: &str = "claim: open, retrieve session and memfd";

/// Functions of the next kernel, in the order in which it gets to them: the phase before, the function, and the phase that it is.
const WAY: [(&str, &str, &str); 8] = [
    (EARLY, "kho_populate", RESTORE),
    (EARLY, "tsc_early_init", CLOCKS),
    (EARLY, "kho_memory_init", RESTORE),
    (
        EARLY,
        "memblock_free_all",
        "free memory to the page allocator",
    ),
    (LATE, OURS, RESTORE),
    (LATE, "tsc_init", CLOCKS),
    (LATE, "setup_boot_APIC_clock", CLOCKS),
    (
        LATE,
        "page_alloc_init_late",
        "struct pages put off until then",
    ),
];
/// C has no such function.
const OURS: &str = "kho_memory_release";
/// The initcall that reads from the disk. It waits for the host, however long that takes, which is not counted.
const DISK: &str = "virtio_blk_init";
/// So many initcalls are shown.
const SLOWEST: usize = 5;

/// Where the words of `struct kimage` are: see `include/linux/kexec.h`.
const START: u64 = 24;
const SEGMENT_COUNT: u64 = 56;
const SEGMENTS: u64 = 64;
const SEGMENT_BYTES: u64 = 32;
const MOST_SEGMENTS: u64 = 16;
/// Of a segment, its place and its size.
const PLACE: u64 = 16;
const SIZE: u64 = 24;
/// Where a bzImage says how much memory it needs, and where its 64-bit code is entered: see Documentation/arch/x86/boot.rst.
const INIT_SIZE: u64 = 0x260;
const ENTRY: u64 = 0x200;
const PAGE: u64 = 4096;

const BACKWARDS: &str = "time goes backwards";

/// When something began.
#[derive(Debug, Clone, Copy)]
struct Moment {
    tsc: u64,
    /// Executed until then.
    instructions: u64,
}

impl Moment {
    /// How long it is from here to there. At a stop the counter goes on, at most to the machine's next timer: if it has gone
    /// no further than that beyond what was executed, the processor has not waited.
    fn until(self, end: Self) -> Result<u64> {
        let passed = end.tsc.checked_sub(self.tsc);
        let (passed, executed) = (passed.context(BACKWARDS)?, self.executed(end)?);
        let waited = passed.saturating_sub(executed) > STOP_NS;
        Ok(if waited { passed } else { executed })
    }

    /// How many instructions it is from here to there.
    fn executed(self, end: Self) -> Result<u64> {
        let executed = end.instructions.checked_sub(self.instructions);
        executed.context(BACKWARDS)
    }
}

pub(super) fn measure(
    lab: &Lab,
    flavor: Flavor,
    layout: Layout,
    mib: u32,
    results: &mut Results,
) -> Result<()> {
    let about = format!("phases with {mib} MiB {}", layout.name());
    let image = lab.kernels.get(&flavor).context("no such kernel")?;
    let symbols = Symbols::of(image)?;
    let stand = Stand::start_debugged(lab, flavor, &about, memory::machine_mib(mib))?;
    let mut way = None;
    let carried = boot::carry_through(stand, mib, layout.pages(), |stand| {
        let found = way.insert(Way::follow(stand, image, &symbols, flavor)?);
        found.last.map(|it| it.tsc).context("there are no phases")
    })?;
    let way = way.context("the machine was not followed")?;
    let mut phases = way.phases;
    let claim = carried.open_device + carried.retrieve_session + carried.retrieve;
    for (name, value) in [(USERSPACE, carried.boot), (CLAIM, claim)] {
        add(&mut phases, name, value);
    }
    results.phases.push(PhasesFigure {
        layout,
        flavor,
        mib,
        phases,
        initcalls: slowest(way.initcalls, |address| symbols.name(address)),
    });
    Ok(())
}

/// What was seen on the way into the next kernel.
#[derive(Default)]
struct Way {
    /// Those that have ended.
    phases: Vec<Phase>,
    last: Option<Moment>,
    /// The functions, and how long it was to the next one's beginning.
    initcalls: Vec<(u64, u64)>,
}

/// The means by which the machine is followed.
struct Guide<'a> {
    gdb: Gdb,
    qmp: Qmp,
    symbols: &'a Symbols,
}

impl Guide<'_> {
    fn at(&self, function: &str) -> Result<u64> {
        self.symbols.address(&[function])
    }

    /// Lets the machine run to one of these instructions.
    fn reach(
        &mut self,
        places: &[u64],
        start: impl FnOnce() -> Result<()>,
    ) -> Result<(Stop, Moment)> {
        for place in places {
            self.gdb.break_at(*place)?;
        }
        self.gdb.go()?;
        start()?;
        let stop = self.gdb.stop(STEP_TIMEOUT)?;
        for place in places {
            self.gdb.unbreak(*place)?;
        }
        let instructions = self.qmp.instructions()?;
        let tsc = stop.tsc;
        Ok((stop, Moment { tsc, instructions }))
    }
}

impl Way {
    /// Goes into the loaded kernel.
    fn follow(stand: &mut Stand, image: &Path, symbols: &Symbols, flavor: Flavor) -> Result<Self> {
        let (gdb, qmp) = stand.machine.debugger()?;
        let mut guide = Guide { gdb, qmp, symbols };
        let mut way = Self::default();
        let left = guide.at("__x64_sys_reboot")?;
        let (_, moment) = guide.reach(&[left], || stand.machine.send(Op::Kexec))?;
        way.last = Some(moment);
        way.reach(&mut guide, FREEZE, "device_shutdown")?;
        let kexec = way.reach(&mut guide, "devices shut down", "machine_kexec")?;
        let (purgatory, kernel) = places(&mut guide.gdb, kexec.argument, image)?;
        let decompressed = kernel + (guide.at("startup_64")? - guide.at("_text")?);
        way.go(&mut guide, "image moved into place", purgatory)?;
        way.go(&mut guide, "purgatory", kernel + ENTRY)?;
        way.go(&mut guide, "decompression", decompressed)?;
        let functions = WAY.into_iter();
        for (before, function, itself) in
            functions.filter(|it| flavor == Flavor::Rust || it.1 != OURS)
        {
            let entered = way.reach(&mut guide, before, function)?;
            let caller = guide.gdb.word(entered.stack)?;
            way.go(&mut guide, itself, caller)?;
        }
        way.reach(&mut guide, LATE, "driver_init")?;
        way.follow_initcalls(&mut guide)?;
        way.reach(&mut guide, "the rest up to userspace", "kernel_execve")?;
        guide.gdb.go()?;
        Ok(way)
    }

    /// Lets the machine run to a function, where a phase ends.
    fn reach(&mut self, guide: &mut Guide<'_>, phase: &str, function: &str) -> Result<Stop> {
        self.go(guide, phase, guide.at(function)?)
    }

    fn go(&mut self, guide: &mut Guide<'_>, phase: &str, end: u64) -> Result<Stop> {
        let reached = guide.reach(&[end], || Ok(()));
        let (stop, moment) = reached.with_context(|| format!("in the phase \"{phase}\""))?;
        let length = self.pass(moment)?.until(moment)?;
        add(&mut self.phases, phase, length);
        Ok(stop)
    }

    /// Gives the moment before.
    fn pass(&mut self, moment: Moment) -> Result<Moment> {
        let last = self.last.replace(moment);
        last.context("there is no beginning")
    }

    fn follow_initcalls(&mut self, guide: &mut Guide<'_>) -> Result<()> {
        let end = guide.at("wait_for_initramfs")?;
        let places = [guide.at("do_one_initcall")?, end];
        let disk = guide.at(DISK)?;
        let mut running = None;
        loop {
            let (stop, moment) = guide.reach(&places, || Ok(()))?;
            let last = self.pass(moment)?;
            let length = if running == Some(disk) {
                last.executed(moment)?
            } else {
                last.until(moment)?
            };
            add(&mut self.phases, "initcalls", length);
            self.initcalls.extend(running.map(|call| (call, length)));
            if stop.address == end {
                return Ok(());
            }
            running = Some(stop.argument);
            // The same breakpoint is the next one.
            guide.gdb.step()?;
        }
    }
}

/// Where purgatory begins in a loaded image, and where the kernel does.
fn places(gdb: &mut Gdb, kimage: u64, image: &Path) -> Result<(u64, u64)> {
    let mut init_size = [0; 4];
    File::open(image)?.read_exact_at(&mut init_size, INIT_SIZE)?;
    let size = u64::from(u32::from_le_bytes(init_size)).next_multiple_of(PAGE);
    let count = gdb.word(kimage + SEGMENT_COUNT)?;
    ensure!(count <= MOST_SEGMENTS, "not an image: {count} segments");
    for segment in (kimage + SEGMENTS..)
        .step_by(SEGMENT_BYTES as usize)
        .take(count as usize)
    {
        if gdb.word(segment + SIZE)? == size {
            return Ok((gdb.word(kimage + START)?, gdb.word(segment + PLACE)?));
        }
    }
    anyhow::bail!("no segment has the size of the kernel, {size}")
}

/// Adds to a phase, which may be in several pieces.
fn add(phases: &mut Vec<Phase>, name: &str, length: u64) {
    let value = length as f64;
    match phases.iter_mut().find(|it| it.name == name) {
        Some(phase) => phase.value += value,
        None => phases.push(Phase {
            name: name.to_owned(),
            value,
        }),
    }
}

/// Those initcalls that took most.
fn slowest(mut calls: Vec<(u64, u64)>, name: impl Fn(u64) -> String) -> Vec<Phase> {
    calls.sort_by_key(|&(_, length)| std::cmp::Reverse(length));
    let phase = |(address, length)| Phase {
        name: name(address),
        value: length as f64,
    };
    calls.into_iter().take(SLOWEST).map(phase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(name: &str, value: f64) -> Phase {
        let name = name.to_owned();
        Phase { name, value }
    }

    fn moment(tsc: u64, instructions: u64) -> Moment {
        Moment { tsc, instructions }
    }

    #[test]
    fn pieces_of_a_phase_are_added_and_nothing_is_lost() {
        let mut phases = Vec::new();
        for (name, length) in [("a", 5), ("b", 1), ("a", 4), ("c", 30)] {
            add(&mut phases, name, length);
        }
        assert_eq!(phases, [phase("a", 9.0), phase("b", 1.0), phase("c", 30.0)]);
    }

    #[test]
    fn what_a_stop_takes_is_left_out_and_waiting_is_not() {
        let begin = moment(1000, 10);
        assert_eq!(begin.until(moment(1500 + STOP_NS, 510)).unwrap(), 500);
        let waited = 501 + STOP_NS;
        assert_eq!(begin.until(moment(1000 + waited, 510)).unwrap(), waited);
        assert!(begin.until(moment(999, 510)).is_err());
    }

    #[test]
    fn the_slowest_initcalls_come_first() {
        let names = slowest(vec![(1, 10), (2, 100), (3, 1)], |address| {
            format!("f{address}")
        });
        assert_eq!(
            names,
            [phase("f2", 100.0), phase("f1", 10.0), phase("f3", 1.0)]
        );
    }
}
