// SPDX-License-Identifier: GPL-2.0-only

//! The memory of a machine that boots: what is where, what the previous kernel wrote, and who gets it.

use crate::kho::extent::Extent;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
};

/// A page of numbers.
pub type Table = [u64; 512];

/// What a page is that is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// No memory, or none that the kernel knew when it booted.
    Absent,
    /// Memory that the kernel that boots allocates.
    Scratch,
    /// Memory that somebody has.
    Used,
}

static ZEROES: Table = [0; 512];

#[derive(Default)]
struct State {
    marks: BTreeMap<u64, u64>,
    reserved: Vec<Range<u64>>,
    freed: Vec<Range<u64>>,
    reservations_left: Option<usize>,
    folios: Vec<Extent>,
    managed: u64,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Ram>>> = const { RefCell::new(None) };
}

/// The memory of a machine.
pub struct Ram {
    /// What is where: in the order of the addresses. What is free is `None`.
    areas: Vec<(Range<u64>, Option<Usage>)>,
    tables: BTreeMap<u64, Box<Table>>,
    state: Mutex<State>,
}

impl Ram {
    /// Memory with `areas`, in the order of their addresses, and what the previous kernel wrote.
    #[must_use]
    pub fn new(
        areas: Vec<(Range<u64>, Option<Usage>)>,
        tables: BTreeMap<u64, Box<Table>>,
    ) -> Arc<Self> {
        assert!(areas.is_sorted_by(|a, b| a.0.end <= b.0.start));
        let state = Mutex::default();
        Arc::new(Self {
            areas,
            tables,
            state,
        })
    }

    /// Makes this the memory of the machine that the thread runs on.
    pub fn enter(self: &Arc<Self>) {
        CURRENT.set(Some(self.clone()));
    }

    pub(crate) fn current() -> Arc<Self> {
        let current = CURRENT.with_borrow(Clone::clone);
        current.expect("the thread runs on a machine")
    }

    /// The folios that were claimed.
    #[must_use]
    pub fn folios(&self) -> Vec<Extent> {
        self.state().folios.clone()
    }

    /// The number of pages that came to the allocator by claims.
    #[must_use]
    pub fn managed(&self) -> u64 {
        self.state().managed
    }

    pub(crate) fn use_folio(&self, folio: Extent) {
        self.state().folios.push(folio);
    }

    pub(crate) fn account(&self, nr_pages: u64) {
        self.state().managed += nr_pages;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Has all reservations fail but the first `nr`.
    pub fn allow_reservations(&self, nr: usize) {
        self.state().reservations_left = Some(nr);
    }

    /// The ranges that are reserved.
    #[must_use]
    pub fn reserved(&self) -> Vec<Range<u64>> {
        self.state().reserved.clone()
    }

    /// The ranges that the allocator got.
    #[must_use]
    pub fn freed(&self) -> Vec<Range<u64>> {
        self.state().freed.clone()
    }

    /// The marks of pages.
    #[must_use]
    pub fn marks(&self) -> BTreeMap<u64, u64> {
        self.state().marks.clone()
    }

    pub(crate) fn end(&self) -> u64 {
        let memory = self.areas.iter().filter(|it| it.1 != Some(Usage::Absent));
        memory.map(|it| it.0.end).max().unwrap_or(0)
    }

    pub(crate) fn area(&self, pfn: u64) -> (Range<u64>, Option<Usage>) {
        let next = self.areas.partition_point(|it| it.0.end <= pfn);
        match self.areas.get(next) {
            Some((pfns, usage)) if pfns.contains(&pfn) => (pfns.clone(), *usage),
            around => {
                let start = next.checked_sub(1).map_or(0, |it| self.areas[it].0.end);
                let end = around.map_or(u64::MAX, |it| it.0.start);
                (start..end, Some(Usage::Absent))
            }
        }
    }

    pub(crate) fn table(&self, pfn: u64) -> &Table {
        self.tables.get(&pfn).map_or(&ZEROES, |it| it)
    }

    pub(crate) fn mark(&self, pfn: u64) -> u64 {
        self.state().marks.get(&pfn).copied().unwrap_or(0)
    }

    pub(crate) fn set_mark(&self, pfn: u64, mark: u64) {
        assert_eq!(self.area(pfn).1, None, "page {pfn:#x} is not free");
        match mark {
            0 => self.state().marks.remove(&pfn),
            mark => self.state().marks.insert(pfn, mark),
        };
    }

    pub(crate) fn reserve(self: &Arc<Self>, pfns: Range<u64>) -> Option<Reservation> {
        let mut state = self.state();
        if let Some(left) = &mut state.reservations_left {
            *left = left.checked_sub(1)?;
        }
        for it in &state.reserved {
            assert!(
                it.end <= pfns.start || pfns.end <= it.start,
                "{pfns:?} is reserved twice"
            );
        }
        state.reserved.push(pfns);
        Some(Reservation(self.clone()))
    }

    pub(crate) fn free(&self, pfns: Range<u64>) {
        if !pfns.is_empty() {
            self.state().freed.push(pfns);
        }
    }
}

/// Memory that is reserved.
pub(crate) struct Reservation(Arc<Ram>);

impl Reservation {
    pub(crate) fn ram(&self) -> &Ram {
        &self.0
    }
}
