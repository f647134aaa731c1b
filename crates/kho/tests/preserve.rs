// SPDX-License-Identifier: GPL-2.0-only

//! What is preserved is what the next kernel finds, and a page is preserved once.

use crate::{
    extents::anywhere,
    machine::{boot, is_free, overlap, Booted, NODES},
};
use kernel::{
    error::code::*,
    host::{self, ram::Ram},
    kho::{extent::Extent, mark::Claimed, PhysAddr},
};
use luo_kho::{
    claim::{claim_folios, claim_pages},
    extents::{split, Extents},
};
use proptest::{collection::vec, prelude::*};
use std::{collections::BTreeMap, ops::Range};

/// Nodes whose borders are aligned to nothing.
fn node(pfn: u64) -> i32 {
    match pfn {
        0..0x5123 => 0,
        0x5123..0x1_0001 => 1,
        _ => 0,
    }
}

/// Free memory of [`node`]s.
fn on_nodes(extents: &Extents) -> Booted {
    let areas = [
        0..0x1000,
        0x1000..0x5123,
        0x5123..0x1_0001,
        0x1_0001..0x4_0000,
    ];
    let areas = areas.map(|it| (it, None)).into();
    let ram = Ram::new(areas, extents.tree().tables());
    let booted = boot(&ram, PhysAddr(extents.tree().phys()));
    ram.enter();
    booted
}

/// Lets any extent pass.
fn anything(_: Extent) -> kernel::error::Result {
    Ok(())
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<Extent>),
    Remove(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => vec(anywhere(), 1..4).prop_map(Step::Insert),
        1 => any::<usize>().prop_map(Step::Remove),
    ];
    vec(step, 1..60)
}

/// Adds extents to those that there are, or says why not.
fn insert(model: &mut BTreeMap<u64, Extent>, extents: &[Extent]) -> kernel::error::Result {
    let before = model.clone();
    for it in extents {
        if model
            .values()
            .any(|other| overlap(&other.pages(), &it.pages()))
        {
            *model = before;
            return Err(EEXIST);
        }
        model.insert(it.pfn(), *it);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_page_is_preserved_once(steps in steps()) {
        let mut model = BTreeMap::new();
        let mut extents = Extents::new().unwrap();
        for step in steps {
            match step {
                Step::Insert(new) => prop_assert_eq!(
                    extents.insert(new.iter().copied(), anything),
                    insert(&mut model, &new)
                ),
                Step::Remove(nr) if !model.is_empty() => {
                    let pfn = *model.keys().nth(nr % model.len()).unwrap();
                    let it = model.remove(&pfn).unwrap();
                    prop_assert_eq!(extents.remove([it].into_iter()), 0);
                    prop_assert_eq!(extents.remove([it].into_iter()), 1);
                }
                Step::Remove(_) => {}
            }
        }
        let ram = Ram::new(crate::machine::areas(), extents.tree().tables());
        let booted = boot(&ram, PhysAddr(extents.tree().phys()));
        let there: Vec<_> = model.into_values().filter(|it| is_free(*it)).collect();
        prop_assert_eq!(booted.claimable(), there);
    }

    #[test]
    fn without_memory_nothing_is_preserved(
        before in vec(anywhere(), 0..4),
        new in vec(anywhere(), 1..20),
        allocations in 0_usize..12,
    ) {
        let mut model = BTreeMap::new();
        let mut extents = Extents::new().unwrap();
        let _ = extents.insert(before.iter().copied(), anything);
        let _ = insert(&mut model, &before);
        host::fail_allocation(Some(allocations));
        let inserted = extents.insert(new.iter().copied(), anything);
        host::fail_allocation(None);
        if inserted == Err(ENOMEM) {
            let ram = Ram::new(crate::machine::areas(), extents.tree().tables());
            let booted = boot(&ram, PhysAddr(extents.tree().phys()));
            let there: Vec<_> = model.values().copied().filter(|it| is_free(*it)).collect();
            prop_assert_eq!(booted.claimable(), there);
            prop_assert_eq!(extents.insert(new.iter().copied(), anything), insert(&mut model, &new));
        } else {
            prop_assert_eq!(inserted, insert(&mut model, &new));
        }
    }

    #[test]
    fn a_range_on_two_nodes_comes_back(range in ranges()) {
        let mut extents = Extents::new().unwrap();
        let split: Vec<_> = split(range.clone(), node).collect();
        for it in &split {
            prop_assert_eq!(it.pfn() % it.nr_pages(), 0);
            prop_assert_eq!(node(it.pfn()), node(it.pfn() + it.nr_pages() - 1));
        }
        extents.insert(split.iter().copied(), anything).unwrap();
        let booted = on_nodes(&extents);
        prop_assert_eq!(booted.claimable(), split);
        claim_pages(range.clone()).unwrap();
        let claimed: Vec<_> = booted.ram.folios().iter().map(|it| (it.pfn(), it.order())).collect();
        prop_assert_eq!(claimed, range.clone().map(|it| (it, 0)).collect::<Vec<_>>());
        prop_assert_eq!(booted.ram.managed(), range.end - range.start);
        prop_assert_eq!(claim_pages(range), Err(EINVAL));
    }

    #[test]
    fn what_is_not_all_there_is_not_claimed(preserved in ranges(), claimed in ranges()) {
        let mut extents = Extents::new().unwrap();
        extents.insert(split(preserved.clone(), node), anything).unwrap();
        let booted = on_nodes(&extents);
        let before = booted.claimable();
        let ends_of = |it: &Extent| [it.pfn(), it.pfn() + it.nr_pages()];
        let ends: Vec<_> = before.iter().flat_map(ends_of).collect();
        let is_there = preserved.start <= claimed.start
            && claimed.end <= preserved.end
            && ends.contains(&claimed.start)
            && ends.contains(&claimed.end);
        prop_assert_eq!(claim_pages(claimed.clone()).is_ok(), is_there);
        match is_there {
            true => prop_assert_eq!(booted.ram.managed(), claimed.end - claimed.start),
            false => prop_assert_eq!(booted.claimable(), before),
        }
    }
}

/// Ranges around the border of two nodes, and elsewhere.
fn ranges() -> impl Strategy<Value = Range<u64>> {
    let start = prop_oneof![0x4f00_u64..0x5130, NODES.end..0x3_0000];
    (start, 1_u64..0x800).prop_map(|(start, nr)| start..start + nr)
}

#[test]
fn folios_are_claimed_up_to_the_first_that_is_not_there() {
    let extents =
        [(0x2000, 0), (0x2200, 9), (0x2001, 0)].map(|(pfn, order)| Extent::new(pfn, order));
    let mut preserved = Extents::new().unwrap();
    preserved.insert(extents.into_iter(), anything).unwrap();
    let booted = on_nodes(&preserved);
    let claim = |pfns: &[u64], max| claim_folios(pfns.iter(), max, Claimed::into_folio);
    assert_eq!(claim(&[0x2000, 0x2200, 0x2001], 8), 1);
    assert_eq!(claim(&[0x2200, 0x2000, 0x2001], 9), 1);
    assert_eq!(claim(&[u64::MAX, 0x2001], 9), 0);
    assert_eq!(booted.claimable(), [extents[2]]);
    assert_eq!(booted.ram.folios(), &extents[..2]);
}

#[test]
fn what_may_not_be_preserved_takes_what_comes_with_it_along() {
    let [good, bad] = [Extent::new(0x2000, 4), Extent::new(0x4000, 9)];
    let mut extents = Extents::new().unwrap();
    let may = |it| match it == bad {
        true => Err(ENXIO),
        false => Ok(()),
    };
    assert_eq!(extents.insert([good, bad].into_iter(), may), Err(ENXIO));
    assert_eq!(extents.remove([good, bad].into_iter()), 2);
    extents.insert([bad, good].into_iter(), anything).unwrap();
    assert_eq!(extents.remove([good, bad].into_iter()), 0);
}

#[test]
fn what_is_not_aligned_is_not_preserved() {
    let mut extents = Extents::new().unwrap();
    let wrong = Extent::new(0x2001, 1);
    assert_eq!(extents.insert([wrong].into_iter(), anything), Err(EINVAL));
    assert_eq!(
        extents.insert([Extent::new(0, 60)].into_iter(), anything),
        Err(EINVAL)
    );
}
