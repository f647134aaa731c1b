// SPDX-License-Identifier: Apache-2.0 OR MIT

//! One large memfd: what each folio costs, and what memory it takes to preserve it.

use anyhow::{Result, bail, ensure};
use luo_guest::{
    pattern::Content,
    proto::{MemfdSpec, MemoryUse, Op, Pages, Reply},
};
use serde::{Deserialize, Serialize};

use super::{Figure, MemoryFigure, Results, Work, stand::Stand};
use crate::scenario::{Flavor, Lab};

/// The session, and its slot.
pub(super) const SESSION: &str = "memory";
/// The slot of the memfd.
pub(super) const FILE: &str = "memfd";
const TOKEN: u64 = 1;
/// Room for the kernel, its ramdisk and KHO's scratch area; beside it there is the memfd, twice, so that no folio has to be taken
/// from the scratch area, where preserving would have to move it away.
const BESIDE_MIB: u32 = 2048;

/// What a memfd consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Folio {
    /// Of 4 KiB, as the kernel hands them out on a quiet machine: chance decides how many are beside each other.
    Small,
    /// Of 4 KiB, none beside another.
    Apart,
    /// Of 2 MiB.
    Huge,
}

impl Folio {
    pub(super) fn size(self) -> &'static str {
        match self {
            Self::Small => "4 KiB",
            Self::Apart => "4 KiB, apart",
            Self::Huge => "2 MiB",
        }
    }

    fn per_mib(self, mib: u32) -> u32 {
        match self {
            Self::Small | Self::Apart => mib * 256,
            Self::Huge => mib / 2,
        }
    }

    fn pages(self) -> Pages {
        match self {
            Self::Small => Pages::Small,
            Self::Apart => Pages::Fragmented,
            Self::Huge => Pages::Huge,
        }
    }

    fn works(self) -> (Work, Work) {
        match self {
            Self::Small => (Work::PreserveSmallFolio, Work::RetrieveSmallFolio),
            Self::Apart => (Work::PreserveApartFolio, Work::RetrieveApartFolio),
            Self::Huge => (Work::PreserveHugeFolio, Work::RetrieveHugeFolio),
        }
    }
}

pub(super) fn measure(
    lab: &Lab,
    flavor: Flavor,
    folio: Folio,
    mib: u32,
    results: &mut Results,
) -> Result<()> {
    let about = format!("{mib} MiB of {}", folio.size());
    let mut stand = Stand::start(lab, flavor, &about, machine_mib(mib))?;
    let spec = spec(folio, mib);
    stand.open_device()?;
    let (slot, create) = (FILE.to_owned(), spec.clone());
    stand.call(Op::MemfdCreate { slot, spec: create })?;
    expect_folios(&mut stand, folio, mib)?;

    // Folios that happen to lie in KHO's scratch area are moved away by the first call; that is not what is measured.
    let first = watched(&mut stand)?;
    give_up(&mut stand)?;
    stand.create_session(SESSION)?;
    let (_, preserving) = stand.call(preserve())?;
    give_up(&mut stand)?;
    let last = watched(&mut stand)?;

    stand.kexec()?;
    stand.open_device()?;
    stand.retrieve_session(SESSION)?;
    let (_, retrieving) = stand.call(retrieve())?;
    if folio == Folio::Huge {
        // Small ones may come back as large ones.
        expect_folios(&mut stand, folio, mib)?;
    }
    let slot = FILE.into();
    stand.call(Op::MemfdVerify { slot, spec })?;

    let (count, works) = (folio.per_mib(mib), folio.works());
    for (work, total) in [(works.0, preserving), (works.1, retrieving)] {
        results
            .figures
            .push(Figure::of_one_call(work, flavor, count, total));
    }
    // What the first call has left to the others counts too.
    let taken = |left_kib| first.before_kib.saturating_sub(left_kib);
    results.memory.push(MemoryFigure {
        flavor,
        folio,
        mib,
        kept_kib: taken(last.after_kib),
        peak_kib: taken(last.lowest_kib),
        samples: last.samples,
    });
    Ok(())
}

/// The memory of a machine that hands over a memfd of this size.
pub(super) fn machine_mib(mib: u32) -> u32 {
    BESIDE_MIB + 2 * mib
}

pub(super) fn spec(folio: Folio, mib: u32) -> MemfdSpec {
    MemfdSpec {
        content: Content::full(mib.into(), u64::from(mib) << 20),
        pages: folio.pages(),
        flags: 0,
        seals: 0,
        position: 0,
    }
}

pub(super) fn preserve() -> Op {
    Op::Preserve {
        session: SESSION.into(),
        token: TOKEN,
        file: FILE.into(),
    }
}

pub(super) fn retrieve() -> Op {
    Op::Retrieve {
        session: SESSION.into(),
        token: TOKEN,
        file: FILE.into(),
    }
}

/// Preserves the memfd in a new session, with an eye on the memory: which costs instructions.
fn watched(stand: &mut Stand) -> Result<MemoryUse> {
    stand.create_session(SESSION)?;
    match stand.call(Op::Watched(Box::new(preserve())))? {
        (Reply::MemoryUse(usage), _) => Ok(usage),
        (other, _) => bail!("no memory use: {other:?}"),
    }
}

/// Closes the session, and so takes back what was preserved.
fn give_up(stand: &mut Stand) -> Result<()> {
    let slot = SESSION.into();
    stand.call(Op::Close { slot })?;
    Ok(())
}

/// That the memfd consists of what is to be measured.
fn expect_folios(stand: &mut Stand, folio: Folio, mib: u32) -> Result<()> {
    let (Reply::MemInfo(info), _) = stand.call(Op::MemInfo)? else {
        bail!("no information about memory")
    };
    let huge_kib = info.get("ShmemHugePages").copied().unwrap_or_default();
    let wanted_kib = match folio {
        Folio::Small | Folio::Apart => 0,
        Folio::Huge => u64::from(mib) << 10,
    };
    ensure!(
        huge_kib == wanted_kib,
        "{huge_kib} KiB of huge folios, not {wanted_kib}"
    );
    Ok(())
}
