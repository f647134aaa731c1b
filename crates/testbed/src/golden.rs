// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A hand-over by the C implementation, dumped out of the machine's memory when the next kernel is about to look for it.
//!
//! The text has the calls first, then the pages that they led to. Tests make the same calls on ours, and compare.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use luo_guest::proto::{LoadMethod, Op};

use crate::{
    hostile::{
        memory::{Memory, PAGE},
        stage::{self, call},
    },
    image::Image,
    machine::{INITRD, Machine, snapshot::Source},
    scenario::{Flavor, Lab, default_logs},
    symbols::Symbols,
};

/// How many bytes of a page are on one line.
const LINE: usize = 32;
/// No name is longer than this one.
const LONGEST: &str = "a-name-of-sixty-three-bytes-which-is-the-longest-that-there-is!";
/// What is more needs a second block.
const SESSIONS_PER_BLOCK: usize = 51;
const FILES_PER_BLOCK: u64 = 63;

/// A session: its name, and tokens and contents of its files.
type Session = (String, Vec<(u64, u64)>);

/// Two blocks of sessions, two blocks of files of the first, and all sorts of names, tokens and contents.
fn recipe() -> Vec<Session> {
    let many = (0..=FILES_PER_BLOCK).map(|n| (!n, n * 0x0101_0101_0101));
    let mut sessions: Vec<Session> = vec![
        ("zebra".into(), many.collect()),
        ("ant".into(), vec![(0, u64::MAX)]),
        (LONGEST.into(), Vec::new()),
    ];
    let fillers = sessions.len()..SESSIONS_PER_BLOCK;
    sessions.extend(fillers.map(|n| (format!("filler-{n}"), Vec::new())));
    sessions.push(("in the second block".into(), vec![(7, 70), (5, 50)]));
    sessions
}

/// Has the C kernel of this image hand over, and gives the text.
///
/// # Errors
/// When a machine does not do what is asked of it.
pub fn dump(image: &Path) -> Result<String> {
    let lab = Lab {
        kernels: [(Flavor::C, image.to_owned())].into(),
        initrd: Image::base()?.archive()?,
        agent_initrd: Vec::new(),
        systemd_initrd: Vec::new(),
        logs: default_logs()?,
        extra_cmdline: stage::CMDLINE.into(),
    };
    let mut config = lab.machine("golden", &[Flavor::C], Flavor::C)?;
    config.memory_mib = stage::MEMORY_MIB;
    config.processors = 1;
    let first_look = stage::first_look(&Symbols::of(image)?)?;
    let folder = stage::folder()?;
    let mut source = Source::boot(&config, folder.path())?;
    let recipe = recipe();
    preserve(&mut source.machine, &recipe)?;
    let load = Op::KexecLoad {
        kernel: Flavor::C.name().into(),
        initrd: INITRD.into(),
        cmdline: config.cmdline(Flavor::C.name(), &[])?,
        method: LoadMethod::File,
    };
    call(&mut source.machine, load)?;
    let release = source.machine.hello().release.clone();
    let [snapshot] = source.keep_at([("golden", first_look)], stage::PATIENCE)?;
    let image = Dump::read(&Memory::open(&snapshot.memory)?, &recipe[0].0)?;
    Ok(text(&release, &recipe, &image))
}

/// Makes the calls.
fn preserve(machine: &mut Machine, recipe: &[Session]) -> Result<()> {
    let (device, file) = ("device".to_owned(), "file".to_owned());
    let slot = device.clone();
    call(machine, Op::OpenDevice { slot })?;
    for (name, files) in recipe {
        let create = Op::CreateSession {
            device: device.clone(),
            name: name.clone(),
            slot: name.clone(),
        };
        call(machine, create)?;
        for (token, value) in files {
            let open = Op::OpenFile {
                slot: file.clone(),
                path: "/dev/luo_probe".into(),
            };
            let write = Op::WriteSlot {
                slot: file.clone(),
                bytes: value.to_le_bytes().to_vec(),
            };
            let preserve = Op::Preserve {
                session: name.clone(),
                token: *token,
                file: file.clone(),
            };
            let close = Op::Close { slot: file.clone() };
            for op in [open, write, preserve, close] {
                call(machine, op)?;
            }
        }
    }
    Ok(())
}

/// The pages of a hand-over, by address.
struct Dump {
    root: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Dump {
    /// Finds the hand-over whose first session is this one.
    fn read(memory: &Memory, first: &str) -> Result<Self> {
        let is_it = |root: &&u64| {
            let name = memory
                .number(*root + 16)
                .and_then(|pa| memory.read(pa + 16, first.len()));
            name.is_ok_and(|name| name == first.as_bytes())
        };
        let roots = memory.pages_with(b"luo-v5\0\0")?;
        let root = *roots
            .iter()
            .find(is_it)
            .context("there is no root of a hand-over in memory")?;
        let pages = BTreeMap::new();
        let mut dump = Self { root, pages };
        dump.add(memory, root)?;
        dump.add(memory, memory.number(root + 24)?)?;
        for block in dump.chain(memory, memory.number(root + 16)?)? {
            for session in 0..memory.number(block + 8)? {
                dump.chain(memory, memory.number(block + 16 + 80 * session + 64)?)?;
            }
        }
        Ok(dump)
    }

    fn add(&mut self, memory: &Memory, at: u64) -> Result<()> {
        let page = memory.read(at, PAGE as usize)?;
        ensure!(
            self.pages.insert(at, page).is_none(),
            "the page at {at:#x} is used twice"
        );
        Ok(())
    }

    fn chain(&mut self, memory: &Memory, head: u64) -> Result<Vec<u64>> {
        let mut chain = Vec::new();
        let mut next = head;
        while next != 0 {
            self.add(memory, next)?;
            chain.push(next);
            next = memory.number(next)?;
        }
        Ok(chain)
    }
}

fn text(release: &str, recipe: &[Session], dump: &Dump) -> String {
    let mut text = String::from("# SPDX-License-Identifier: GPL-2.0-only\n");
    line(&mut text, format_args!("# Linux {release}, LUO in C"));
    for (name, files) in recipe {
        line(&mut text, format_args!("session {name}"));
        for (token, value) in files {
            line(&mut text, format_args!("file {token:#x} {value:#x}"));
        }
    }
    line(&mut text, format_args!("root {:#x}", dump.root));
    for (address, page) in &dump.pages {
        line(&mut text, format_args!("page {address:#x}"));
        bytes(&mut text, page);
    }
    text
}

/// Lines of zeroes are left out.
fn bytes(text: &mut String, bytes: &[u8]) {
    for (index, part) in bytes.chunks(LINE).enumerate() {
        if part.iter().any(|byte| *byte != 0) {
            let digits: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
            line(text, format_args!("{:03x}: {digits}", index * LINE));
        }
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}
