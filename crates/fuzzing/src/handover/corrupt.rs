// SPDX-License-Identifier: GPL-2.0-only

//! What a hostile kernel may have written.

use super::layout::Layout;
use arbitrary::Arbitrary;
use kernel::host;

/// One change to the bytes that are handed over.
#[derive(Arbitrary, Debug)]
pub(super) struct Corruption {
    page: Page,
    spot: Spot,
    value: Value,
}

/// A page; numbers are indices, modulo how many there are.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Page {
    Root,
    Flbs,
    Sessions(u8),
    Files(u8, u8),
    Parcel(u8, u8),
    Stranger(u8),
}

/// A place in a page.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Spot {
    /// A number of the header.
    Header(u8),
    /// A field of an entry.
    Entry(u8, u8),
    /// Anything.
    Offset(u16),
}

/// What is written there.
#[derive(Arbitrary, Debug)]
enum Value {
    Small(u8),
    Number(u64),
    /// What was there, and so much more.
    Near(i8),
    Flip(u8),
    Address(Page),
    AddressNear(Page, i8),
    /// What stands elsewhere.
    Copy(Page, Spot),
    Fill(u8, u8),
    Text(Vec<u8>),
    WholePage(Vec<u8>),
}

/// Where the fields of an entry stand, and how long the first is; the others are numbers.
struct Entries {
    size: usize,
    name: usize,
}

impl Page {
    fn entries(self) -> Entries {
        match self {
            Self::Sessions(_) => Entries { size: 80, name: 64 },
            _ => Entries { size: 64, name: 48 },
        }
    }

    fn find(self, layout: &Layout) -> Option<u64> {
        let session = |index: u8| pick(&layout.sessions, index);
        match self {
            Self::Root => Some(layout.root),
            Self::Flbs => Some(layout.flbs),
            Self::Sessions(index) => pick(&layout.blocks, index).copied(),
            Self::Files(index, block) => pick(&session(index)?.blocks, block).copied(),
            Self::Parcel(index, file) => pick(&session(index)?.parcels, file).copied(),
            Self::Stranger(index) => pick(&layout.strangers, index).copied(),
        }
    }
}

fn pick<T>(from: &[T], index: u8) -> Option<&T> {
    from.get(usize::from(index).checked_rem(from.len())?)
}

impl Spot {
    /// Where it is, and how long.
    fn range(self, page: Page) -> (usize, usize) {
        let entries = page.entries();
        match self {
            Self::Header(field) => (usize::from(field % 4) * 8, 8),
            Self::Offset(offset) => (usize::from(offset % 4096), 8),
            Self::Entry(index, field) => {
                let start = 16 + usize::from(index) % (4080 / entries.size) * entries.size;
                match field % 3 {
                    0 => (start, entries.name),
                    field => (start + entries.name + usize::from(field - 1) * 8, 8),
                }
            }
        }
    }
}

impl Corruption {
    /// Writes it, if there is such a page.
    pub(super) fn apply(&self, layout: &Layout) {
        if let Some(pa) = self.page.find(layout) {
            let (at, len) = self.spot.range(self.page);
            let page = host::peek(pa).unwrap();
            let len = len.min(page.len() - at);
            if let Some((at, bytes)) = self.value.bytes(layout, &page, at, len) {
                host::poke(pa, at, &bytes[..bytes.len().min(page.len() - at)]);
            }
        }
    }
}

impl Value {
    fn bytes(
        &self,
        layout: &Layout,
        page: &[u8; 4096],
        at: usize,
        len: usize,
    ) -> Option<(usize, Vec<u8>)> {
        let mut word = [0; 8];
        let known = len.min(8);
        word[..known].copy_from_slice(&page[at..at + known]);
        let there = u64::from_le_bytes(word);
        let number = |it: u64| Some((at, it.to_le_bytes().to_vec()));
        match self {
            Self::Small(value) => number(u64::from(*value)),
            Self::Number(value) => number(*value),
            Self::Near(by) => number(there.wrapping_add_signed(i64::from(*by))),
            Self::Flip(bit) => number(there ^ 1 << (bit % 64)),
            Self::Address(of) => number(of.find(layout)?),
            Self::AddressNear(of, by) => {
                number(of.find(layout)?.wrapping_add_signed(i64::from(*by)))
            }
            Self::Copy(of, spot) => {
                let from = host::peek(of.find(layout)?)?;
                let (start, _) = spot.range(*of);
                Some((at, from[start..(start + len).min(from.len())].to_vec()))
            }
            Self::Fill(byte, len) => Some((at, vec![*byte; usize::from(*len)])),
            Self::Text(text) => Some((at, text.clone())),
            Self::WholePage(start) => {
                let mut bytes = start.clone();
                bytes.resize(page.len(), 0);
                Some((0, bytes))
            }
        }
    }
}
