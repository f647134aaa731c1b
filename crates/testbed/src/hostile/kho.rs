// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Reads KHO's own part of a handover out of a machine's memory, "kho-v4": the device tree, and the tree of preserved memory.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use fdt::Fdt;

use super::{
    field::{Concern, Field, Kind, Page, Structure},
    memory::{Memory, PAGE},
};

const MAGIC: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];
const COMPATIBLE: &str = "kho-v4";
const MEMORY_MAP: &str = "preserved-memory-map";
/// The words of a device tree's head.
const HEAD: [&str; 10] = [
    "magic",
    "totalsize",
    "off_dt_struct",
    "off_dt_strings",
    "off_mem_rsvmap",
    "version",
    "last_comp_version",
    "boot_cpuid_phys",
    "size_dt_strings",
    "size_dt_struct",
];
/// Levels of tables above the bitmaps.
const LEVELS: u32 = 5;

/// The fields, and the pages that they point at.
pub(super) fn read(memory: &Memory) -> Result<(Vec<Field>, Vec<Page>)> {
    let mut reader = Reader {
        memory,
        fields: Vec::new(),
        pages: Vec::new(),
    };
    let root = reader.device_tree()?;
    reader.node(root, LEVELS, "")?;
    Ok((reader.fields, reader.pages))
}

struct Reader<'a> {
    memory: &'a Memory,
    fields: Vec<Field>,
    pages: Vec<Page>,
}

impl Reader<'_> {
    fn field(
        &mut self,
        structure: Structure,
        name: String,
        kind: Kind,
        at: u64,
        length: usize,
    ) -> Result<()> {
        self.fields.push(Field {
            structure,
            name,
            kind,
            at,
            bytes: self.memory.read(at, length)?,
            concern: Concern::All,
            says: None,
            enumerated: true,
        });
        Ok(())
    }

    /// Gives the address of the tree of preserved memory.
    fn device_tree(&mut self) -> Result<u64> {
        for at in self.memory.pages_with(&MAGIC)? {
            let bytes = self.memory.read(at, PAGE as usize)?;
            let Ok(tree) = Fdt::new(&bytes) else {
                continue;
            };
            let root = tree.find_node("/").context("a device tree has a root")?;
            let property = |name| root.property(name).map(|it| it.value);
            let is_ours =
                property("compatible").is_some_and(|it| it.starts_with(COMPATIBLE.as_bytes()));
            // The tree that the kernel that boots makes for the one after it is not there yet.
            let Some(map) = property(MEMORY_MAP).filter(|_| is_ours) else {
                continue;
            };
            let map = u64::from_le_bytes(map.try_into().context("the address has 8 bytes")?);
            self.device_tree_at(at, &bytes, &tree)?;
            return Ok(map);
        }
        bail!("there is no device tree of a handover in memory")
    }

    fn device_tree_at(&mut self, at: u64, bytes: &[u8], tree: &Fdt<'_>) -> Result<()> {
        let structure = Structure::KhoFdt;
        for (word, name) in (0..).zip(HEAD) {
            let name = format!("head.{name}");
            self.field(structure, name, Kind::Number, at + 4 * word, 4)?;
        }
        for node in tree.all_nodes() {
            for property in node.properties() {
                let offset = property.value.as_ptr().addr() - bytes.as_ptr().addr();
                let kind = match property.name {
                    "compatible" => Kind::Version,
                    "blob-size" => Kind::Count(u64::MAX),
                    _ => Kind::Address,
                };
                let name = format!("{}.{}", node.name.trim_matches('/'), property.name);
                let length = property.value.len();
                self.field(structure, name, kind, at + offset as u64, length)?;
            }
        }
        Ok(())
    }

    /// A node is called by the way to it.
    fn node(&mut self, at: u64, level: u32, way: &str) -> Result<()> {
        self.pages.push(Page {
            name: format!("kho{way}"),
            at,
            concern: Concern::All,
            is_landmark: level == LEVELS,
        });
        let bytes = self.memory.read(at, PAGE as usize)?;
        let words = bytes.chunks_exact(8).enumerate().map(|(index, word)| {
            let word = u64::from_le_bytes(word.try_into().expect("it has 8 bytes"));
            (index, word)
        });
        let words: Vec<_> = words.collect();
        let used: Vec<_> = words.iter().filter(|it| it.1 != 0).copied().collect();
        let name = |index: usize| format!("{way}[{index}]");
        let place = |index: usize| at + 8 * index as u64;
        if level == 0 {
            let unused = words.iter().find(|it| it.1 == 0);
            let some = [used.first(), used.last(), unused].into_iter().flatten();
            let some: BTreeSet<_> = some.map(|it| it.0).collect();
            for index in some {
                let structure = Structure::KhoBitmap;
                self.field(structure, name(index), Kind::Number, place(index), 8)?;
            }
            return Ok(());
        }
        // One that stands for nothing, at the top and above the bitmaps.
        let unused = words.iter().find(|it| it.1 == 0);
        let unused = unused.filter(|_| level == LEVELS || level == 1);
        for &(index, _) in used.iter().chain(unused) {
            self.field(
                Structure::KhoTable,
                name(index),
                Kind::Address,
                place(index),
                8,
            )?;
        }
        for (index, below) in used {
            self.node(below, level - 1, &name(index))?;
        }
        Ok(())
    }
}
