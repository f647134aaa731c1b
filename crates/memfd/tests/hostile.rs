// SPDX-License-Identifier: GPL-2.0-only

//! What a broken previous kernel may have written down. Whatever it is, a file comes back or an error, no page has two owners (the
//! arena would panic), and what is not freed is leaked.

use crate::{life::Fault, life::Incoming, life::Outgoing, plan::Plan};
use kernel::{
    error::{code::*, Error},
    host::{self, peek, poke, shmem::show},
    kho::PAGE_SIZE,
    liveupdate::ops::FileOps,
};
use luo_memfd::handler;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

/// Where the previous kernel has written something: the page, and the place in it.
type Place = (u64, usize);

fn read(pa: u64, offset: usize) -> u64 {
    let page = peek(pa).expect("the page is there");
    u64::from_le_bytes(page[offset..offset + 8].try_into().unwrap())
}

/// Every word of the description, of a chunk, and of both ends of a page of the array.
fn places(data: u64) -> Vec<Place> {
    let chunk = read(data, 32);
    let [first, last] = [8, 16].map(|slot| read(chunk, slot));
    let words = |pa, count: usize| (0..count).map(move |it| (pa, 8 * it));
    let tail = (PAGE_SIZE - 16..PAGE_SIZE).step_by(8).map(|it| (first, it));
    words(data, 6)
        .chain(words(chunk, 5))
        .chain(words(first, 4))
        .chain(tail)
        .chain(words(last, 12))
        .collect()
}

fn values(old: u64, data: u64) -> Vec<u64> {
    let mut values = vec![0, 1, 7, u64::MAX, i64::MAX as u64, 1 << 32, 1 << 52, data];
    let chunk = read(data, 32);
    values.extend([chunk, read(chunk, 8), read(read(chunk, 8), 0), 0xdead_b000]);
    values.extend((0..64).map(|bit| old ^ 1 << bit));
    values.extend([
        old.wrapping_add(1),
        old.wrapping_sub(1),
        old + PAGE_SIZE as u64,
    ]);
    values.retain(|it| *it != old);
    values
}

fn arrived<T: FileOps>(handler: &T) -> Incoming<T> {
    host::kexec();
    let mut outgoing = Outgoing::preserve(handler, Plan::scattered(260).make(), Fault::None).0;
    outgoing.freeze(Fault::None);
    outgoing.kexec()
}

/// Has `task` done with every corruption.
fn corrupt_everything<T: FileOps>(handler: &T, task: impl Fn(Incoming<T>)) {
    let data = arrived(handler).data;
    let values = |(pa, offset)| values(read(pa, offset), data).into_iter();
    let places = places(data).into_iter();
    let cases: Vec<_> = places
        .flat_map(|place| values(place).map(move |value| (place, value)))
        .collect();
    println!("{} corruptions", cases.len());
    assert!(cases.len() > 2000);
    for ((pa, offset), value) in cases {
        // Every kernel is like the first one: the same addresses, the same bytes.
        let incoming = arrived(handler);
        assert_eq!(incoming.data, data);
        poke(pa, offset, &value.to_le_bytes());
        task(incoming);
    }
}

#[test]
fn a_broken_description_is_refused_or_taken_as_it_stands() {
    let (refused, taken) = (Cell::new(0), Cell::new(0));
    let file = arrived(&handler()).try_retrieve().unwrap();
    let pages = show(&file.expect("nothing goes wrong")).pages.len();
    corrupt_everything(&handler(), |mut incoming| match incoming.try_retrieve() {
        Ok(file) => {
            // All its pages are there, and its own; none is left out.
            let shown = show(&file.expect("nothing goes wrong"));
            assert_eq!(shown.pages.len(), pages);
            taken.set(taken.get() + 1);
        }
        Err(err) => {
            assert!(
                [EINVAL, EEXIST, Error::from_errno(-95)].contains(&err),
                "{err:?}"
            );
            refused.set(refused.get() + 1);
        }
    });
    println!("{} refused, {} taken", refused.get(), taken.get());
    assert!(refused.get() > 1000 && taken.get() > 100);
}

#[test]
fn a_broken_description_is_freed_or_leaked() {
    corrupt_everything(&handler(), |incoming| {
        incoming.discard(Fault::None);
    });
}

#[test]
fn passing_on_makes_it_neither_better_nor_worse() {
    let retrieve = |incoming: &mut Incoming<_>| {
        let file = incoming.try_retrieve().ok()?;
        Some(show(&file.expect("nothing goes wrong")))
    };
    let outcomes = RefCell::new(VecDeque::new());
    corrupt_everything(&handler(), |mut incoming| {
        outcomes.borrow_mut().push_back(retrieve(&mut incoming));
    });
    corrupt_everything(&handler(), |mut incoming| {
        let carried = incoming.try_carry();
        let passed_on = carried.and_then(|()| retrieve(&mut incoming.kexec()).ok_or(EINVAL));
        let direct = outcomes.borrow_mut().pop_front().expect("as many");
        assert_eq!(passed_on.ok(), direct);
    });
}

#[test]
fn a_folio_with_flags_that_nobody_knows_is_refused() {
    let mut incoming = arrived(&handler());
    let array = read(read(incoming.data, 32), 8);
    let folio = read(array, 0);
    poke(array, 0, &(folio | 1 << 54).to_le_bytes());
    assert_eq!(incoming.try_retrieve().err(), Some(EINVAL));
    assert!(host::console().contains("a memfd of 1064959 bytes is leaked"));
}

/// Zeros are what broken memory has most.
#[test]
fn a_folio_that_is_left_out_is_missed() {
    let nr_folios = read(arrived(&handler()).data, 24);
    let count = |value: u64| move |data| poke(data, 24, &value.to_le_bytes());
    let nothing = |entry: usize| move |data| poke(read(read(data, 32), 8), 16 * entry, &[0; 16]);
    let changes: [Box<dyn Fn(u64)>; 5] = [
        Box::new(count(nr_folios - 1)),
        Box::new(count(nr_folios + 1)),
        Box::new(count(0)),
        Box::new(nothing(0)),
        Box::new(nothing(200)),
    ];
    for change in changes {
        let mut incoming = arrived(&handler());
        change(incoming.data);
        assert_eq!(incoming.try_retrieve().err(), Some(EINVAL));
    }
}
