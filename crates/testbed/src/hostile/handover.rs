// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Reads a handover out of a machine's memory: "luo-v5" and "memfd-v2", written down here once more, so that a mistake in the
//! overlay's own reading is not repeated.

use anyhow::{Context as _, Result, ensure};
use luo_guest::proto::survey::Sought;

use super::{
    field::{CONTENTS, Concern, Field, Kind, Page, Says, Structure},
    goods, kho,
    memory::{Memory, PAGE},
};

const VERSION: &[u8; 8] = b"luo-v5\0\0";
const BLOCK_HEAD: u64 = 16;
const SESSION: u64 = 80;
const SESSIONS_PER_BLOCK: u64 = 51;
const FILE: u64 = 64;
const FILES_PER_BLOCK: u64 = 63;
const FLB: u64 = 64;
const MAX_FLBS: u64 = 63;
const MEMFD_HANDLER: &[u8] = b"memfd-v2\0";
/// An entry of the array of a memfd's folios.
const FOLIO: u64 = 16;
/// A handover: its fields, and the pages that they point at.
#[derive(Debug)]
pub(super) struct Handover {
    pub fields: Vec<Field>,
    pub pages: Vec<Page>,
    pub memory_end: u64,
    /// A page that nobody preserved.
    pub unused: u64,
}

impl Handover {
    /// Finds and reads the handover with these sessions.
    pub(super) fn read(memory: &Memory, sought: &[Sought]) -> Result<Self> {
        let mut reader = Reader {
            memory,
            fields: Vec::new(),
            pages: Vec::new(),
        };
        let root = reader.find_root(&sought[0].name)?;
        let flbs = reader.root(root)?;
        reader.flbs(flbs)?;
        reader.sessions(memory.number(root + 16)?, sought)?;
        Ok(Self {
            fields: reader.fields,
            pages: reader.pages,
            memory_end: memory.end,
            unused: memory.unused_page()?,
        })
    }

    /// Adds what KHO reads of it.
    pub(super) fn with_kho(mut self, memory: &Memory) -> Result<Self> {
        let (fields, pages) = kho::read(memory)?;
        self.fields.extend(fields);
        self.pages.extend(pages);
        Ok(self)
    }

    /// Who is concerned when something points to an address by mistake.
    pub(super) fn owner(&self, at: u64) -> Concern {
        let page = self.pages.iter().find(|page| page.at == at / PAGE * PAGE);
        page.map_or_else(Concern::nobody, |page| page.concern.clone())
    }

    /// The sessions of this name, whatever is behind its end.
    pub(super) fn who_is_called(&self, name: &[u8]) -> Concern {
        let text = |bytes: &[u8]| bytes.split(|byte| *byte == 0).next().map(<[u8]>::to_vec);
        let same = |it: &&Field| it.kind == Kind::Name && text(&it.bytes) == text(name);
        let mut concern = Concern::nobody();
        for field in self.fields.iter().filter(same) {
            concern.add(&field.concern);
        }
        concern
    }
}

struct Reader<'a> {
    memory: &'a Memory,
    fields: Vec<Field>,
    pages: Vec<Page>,
}

/// What the fields of one structure have in common.
struct Within<'a> {
    structure: Structure,
    name: &'a str,
    at: u64,
    concern: Concern,
    enumerated: bool,
}

impl Reader<'_> {
    fn find_root(&self, first_session: &str) -> Result<u64> {
        for page in self.memory.pages_with(VERSION)? {
            let sessions = self.memory.number(page + 16)?;
            let name = self.memory.read(sessions + BLOCK_HEAD, first_session.len());
            if sessions != 0 && name.is_ok_and(|name| name == first_session.as_bytes()) {
                return Ok(page);
            }
        }
        anyhow::bail!("there is no root of a handover in memory")
    }

    fn page(&mut self, name: &str, at: u64, concern: &Concern) {
        self.pages.push(Page {
            name: name.into(),
            at,
            concern: concern.clone(),
            is_landmark: match concern {
                Concern::All => true,
                Concern::Sessions(numbers) => {
                    numbers.iter().any(|it| goods::is_landmark(*it, name))
                }
            },
        });
    }

    fn field(
        &mut self,
        within: &Within<'_>,
        name: &str,
        offset: u64,
        length: usize,
        kind: Kind,
    ) -> Result<&mut Field> {
        let at = within.at + offset;
        self.fields.push(Field {
            structure: within.structure,
            name: format!("{}.{name}", within.name),
            kind,
            at,
            bytes: self.memory.read(at, length)?,
            concern: within.concern.clone(),
            says: None,
            enumerated: within.enumerated,
        });
        self.fields.last_mut().context("a field was added")
    }

    fn root(&mut self, at: u64) -> Result<u64> {
        let within = Within {
            structure: Structure::Root,
            name: "root",
            at,
            concern: Concern::All,
            enumerated: true,
        };
        self.page("root", at, &Concern::All);
        self.field(&within, "compatible", 0, 8, Kind::Version)?;
        self.field(&within, "liveupdate_num", 8, 8, Kind::Number)?;
        self.field(&within, "sessions_pa", 16, 8, Kind::Address)?;
        let flbs = self.field(&within, "flbs_pa", 24, 8, Kind::Address)?;
        Ok(flbs.number())
    }

    fn flbs(&mut self, at: u64) -> Result<()> {
        self.page("flb-page", at, &Concern::All);
        let within = Within {
            structure: Structure::FlbPage,
            name: "head",
            at,
            concern: Concern::All,
            enumerated: true,
        };
        self.field(&within, "pgcnt", 0, 8, Kind::Count(1))?;
        let count = self.field(&within, "count", 8, 8, Kind::Count(MAX_FLBS))?;
        for number in 0..count.number() {
            let name = format!("flb-{number}");
            let within = Within {
                name: &name,
                at: at + BLOCK_HEAD + number * FLB,
                concern: Concern::All,
                ..within
            };
            self.field(&within, "name", 0, 48, Kind::Flb)?;
            self.field(&within, "data", 48, 8, Kind::Number)?;
            self.field(&within, "count", 56, 8, Kind::Count(u64::MAX))?;
        }
        Ok(())
    }

    /// Reads a chain of blocks; gives the address of each entry.
    fn blocks(
        &mut self,
        structure: Structure,
        of: &str,
        head: u64,
        (entry, per_block): (u64, u64),
        concern: &Concern,
    ) -> Result<Vec<u64>> {
        let mut entries = Vec::new();
        let (mut at, mut number) = (head, 0);
        while at != 0 {
            let name = format!("{of}block-{number}");
            self.page(&name, at, concern);
            let within = Within {
                structure,
                name: &name,
                at,
                concern: concern.clone(),
                enumerated: true,
            };
            let next = self.field(&within, "next", 0, 8, Kind::Address)?.number();
            let count = self.field(&within, "count", 8, 8, Kind::Count(per_block))?;
            let count = count.number();
            ensure!(count <= per_block, "{name} has {count} entries");
            entries.extend((0..count).map(|slot| at + BLOCK_HEAD + slot * entry));
            (at, number) = (next, number + 1);
        }
        Ok(entries)
    }

    fn sessions(&mut self, head: u64, sought: &[Sought]) -> Result<()> {
        let size = (SESSION, SESSIONS_PER_BLOCK);
        let entries = self.blocks(
            Structure::SessionBlock,
            "session-",
            head,
            size,
            &Concern::All,
        )?;
        ensure!(
            entries.len() == sought.len(),
            "{} sessions were handed over, not {}",
            entries.len(),
            sought.len()
        );
        for (number, (&at, sought)) in entries.iter().zip(sought).enumerate() {
            let within = Within {
                structure: Structure::Session,
                name: &sought.name,
                at,
                concern: Concern::of(number),
                enumerated: goods::is_unlike_others(number),
            };
            let name = &self.field(&within, "name", 0, 64, Kind::Name)?.bytes;
            ensure!(
                name.starts_with(sought.name.as_bytes()),
                "session {number} is not {}",
                sought.name
            );
            let files = self.field(&within, "files_pa", 64, 8, Kind::Address)?;
            let files = files.number();
            self.field(&within, "count", 72, 8, Kind::Count(u64::MAX))?;
            self.files(number, files, sought)?;
        }
        Ok(())
    }

    fn files(&mut self, session: usize, head: u64, sought: &Sought) -> Result<()> {
        let concern = Concern::of(session);
        let size = (FILE, FILES_PER_BLOCK);
        let of = format!("{}/", sought.name);
        let entries = self.blocks(Structure::FileBlock, &of, head, size, &concern)?;
        let last = entries.len().saturating_sub(1) as u64;
        for (number, (&at, &(token, _))) in (0_u64..).zip(entries.iter().zip(&sought.files)) {
            let name = format!("{}/{token:#x}", sought.name);
            let within = Within {
                structure: Structure::File,
                name: &name,
                at,
                concern: concern.clone(),
                enumerated: goods::is_unlike_others(session)
                    && [0, 1, 2, FILES_PER_BLOCK - 1, FILES_PER_BLOCK, last].contains(&number),
            };
            let handler = self.field(&within, "compatible", 0, 48, Kind::Handler)?;
            let is_memfd = handler.bytes.starts_with(MEMFD_HANDLER);
            handler.says = is_memfd.then_some(Says {
                session,
                token,
                what: "kind",
            });
            let found = self.field(&within, "token", 56, 8, Kind::Number)?.number();
            ensure!(found == token, "token {found:#x} is not {token:#x}");
            if is_memfd {
                let structure = Structure::Memfd;
                let within = Within {
                    structure,
                    ..within
                };
                let data = self.field(&within, "data", 48, 8, Kind::Address)?;
                let data = data.number();
                self.memfd(&within, session, token, data)?;
            } else {
                let structure = Structure::ProbeData;
                let within = Within {
                    structure,
                    ..within
                };
                let data = self.field(&within, "data", 48, 8, Kind::Number)?;
                data.says = Some(Says {
                    session,
                    token,
                    what: "value",
                });
            }
        }
        Ok(())
    }

    fn memfd(&mut self, file: &Within<'_>, session: usize, token: u64, at: u64) -> Result<()> {
        self.page(&format!("{}/memfd", file.name), at, &file.concern);
        let within = Within {
            at,
            concern: file.concern.clone(),
            enumerated: goods::has_tried_memfds(session),
            ..*file
        };
        for (name, offset, length, what) in [
            ("pos", 0, 8, "position"),
            ("size", 8, 8, "length"),
            ("seals", 16, 4, "seals"),
        ] {
            let field = self.field(&within, name, offset, length, Kind::Number)?;
            field.says = Some(Says {
                session,
                token,
                what,
            });
        }
        self.field(&within, "flags", 20, 4, Kind::Number)?;
        let nr_folios = self.field(&within, "nr_folios", 24, 8, Kind::Count(u64::MAX))?;
        let nr_folios = nr_folios.number();
        let first = self.field(&within, "first", 32, 8, Kind::Address)?.number();
        self.field(&within, "total_pages", 40, 4, Kind::Count(u64::MAX))?;
        self.field(&within, "vmalloc_flags", 44, 2, Kind::Number)?;
        self.field(&within, "order", 46, 2, Kind::Number)?;
        if nr_folios != 0 {
            self.folios(&within, (session, token), first, nr_folios)?;
        }
        Ok(())
    }

    /// One chunk is enough for the arrays of all our memfds.
    fn folios(
        &mut self,
        memfd: &Within<'_>,
        (session, token): (usize, u64),
        chunk: u64,
        nr_folios: u64,
    ) -> Result<()> {
        let name = format!("{}/chunk", memfd.name);
        self.page(&name, chunk, &memfd.concern);
        let within = Within {
            name: &name,
            at: chunk,
            concern: memfd.concern.clone(),
            ..*memfd
        };
        self.field(&within, "next", 0, 8, Kind::Address)?;
        for (number, first) in (0..nr_folios).step_by((PAGE / FOLIO) as usize).enumerate() {
            let offset = 8 + 8 * number as u64;
            let page = self.field(&within, &format!("phys-{number}"), offset, 8, Kind::Address)?;
            let page = page.number();
            self.page(
                &format!("{}/folios-{number}", memfd.name),
                page,
                &memfd.concern,
            );
            for folio in first..nr_folios.min(first + PAGE / FOLIO) {
                let name = format!("{}/folio-{folio}", memfd.name);
                let within = Within {
                    name: &name,
                    at: page + (folio - first) * FOLIO,
                    concern: memfd.concern.clone(),
                    enumerated: memfd.enumerated && (folio == 0 || folio + 1 == nr_folios),
                    ..*memfd
                };
                let frame = self.field(&within, "frame", 0, 8, Kind::Frame)?;
                frame.says = Some(Says {
                    session,
                    token,
                    what: CONTENTS,
                });
                let frame = frame.number();
                let content = (frame & ((1 << 52) - 1)) * PAGE;
                self.page(&format!("{name}/content"), content, &memfd.concern);
                let index = self.field(&within, "index", 8, 8, Kind::Number)?;
                index.says = Some(Says {
                    session,
                    token,
                    what: CONTENTS,
                });
            }
        }
        Ok(())
    }
}
