// SPDX-License-Identifier: GPL-2.0-only

//! Where the next kernel boots.

use kernel::{
    error::code::*,
    kho::scratch::{Area, Place, Plan},
};
use luo_kho::areas::{check, meet, reserve, Free, Sizes};
use std::{collections::BTreeMap, ops::Range};

const MIB: u64 = 1 << 20;

#[test]
fn sizes_are_parsed_as_documented() {
    for (text, sizes) in [
        ("200%", Sizes::Percent(200)),
        ("0%", Sizes::Percent(0)),
        ("512M,1G,0", Sizes::Fixed([512 * MIB, 1024 * MIB, 0])),
        ("0x1000,010,1k", Sizes::Fixed([0x1000, 8, 1024])),
        ("1e,0,0", Sizes::Fixed([1 << 60, 0, 0])),
        ("0x1e,0,0", Sizes::Fixed([0x1e, 0, 0])),
    ] {
        assert_eq!(Sizes::parse(text), Ok(sizes), "{text}");
    }
    let wrong = [
        "",
        "%",
        "-1%",
        "4294967296%",
        "1",
        "1,2",
        "1,2,3,4",
        "1,2,",
        "0,0,0",
        "1q,0,0",
        "1kk,0,0",
        "0x,0,0",
        " 1,0,0",
        "16e,16e,16e",
        "18446744073709551616,0,0",
    ];
    for text in wrong {
        assert_eq!(Sizes::parse(text), Err(EINVAL), "{text}");
    }
}

fn plan(nodes: &[u64]) -> Plan {
    let place = |it, allocated| (it, (allocated, 1 << 30));
    let mut places = BTreeMap::from([place(Place::Low, 30 * MIB), place(Place::Any, 70 * MIB)]);
    let node = |(node, allocated): (usize, &u64)| place(Place::Node(node as i32), *allocated);
    places.extend(nodes.iter().enumerate().map(node));
    let reserved = Vec::new();
    Plan { places, reserved }
}

#[test]
fn areas_follow_what_is_allocated() {
    let mut plan = plan(&[50 * MIB, 20 * MIB]);
    reserve(&mut plan, Sizes::Percent(Sizes::DEFAULT_PERCENT)).unwrap();
    let areas = [
        (Place::Low, 60 * MIB),
        (Place::Any, 80 * MIB),
        (Place::Node(0), 100 * MIB),
        (Place::Node(1), 40 * MIB),
    ];
    assert_eq!(plan.reserved, areas);
}

#[test]
fn areas_are_made_of_whole_blocks() {
    let mut plan = plan(&[MIB]);
    reserve(&mut plan, Sizes::Fixed([MIB, 0, 5 * MIB])).unwrap();
    assert_eq!(
        plan.reserved,
        [(Place::Low, 4 * MIB), (Place::Node(0), 8 * MIB)]
    );
}

#[test]
fn too_large_areas_are_an_error() {
    for sizes in [
        Sizes::Percent(u32::MAX),
        Sizes::Fixed([MIB, 1 << 40, MIB]),
        Sizes::Fixed([u64::MAX, 0, 0]),
    ] {
        assert_eq!(reserve(&mut plan(&[MIB]), sizes), Err(ENOMEM));
    }
}

fn areas<const N: usize>(areas: [Range<u64>; N]) -> [Area; N] {
    areas.map(|it| Area {
        addr: it.start,
        size: it.end - it.start,
    })
}

#[test]
fn memory_is_free_where_the_next_kernel_leaves_it_alone() {
    // The last page of the second area is not whole.
    let memory = areas([0x10_000..0x90_000, 0x90_000..0xa0_800, 0x100_000..0x200_000]);
    // An area of no bytes is none.
    let scratch = areas([0x30_000..0x40_000, 0x60_000..0x60_000, 0x70_000..0x80_000]);
    let ranges = [
        (0x10..0x30, Ok(())),
        (0x10..0x31, Err(EINVAL)),
        (0x20..0x50, Err(EINVAL)),
        (0x3f..0x40, Err(EINVAL)),
        (0x40..0x70, Ok(())),
        (0x40..0x71, Err(EINVAL)),
        (0x50..0x51, Ok(())),
        (0x80..0x90, Ok(())),
        (0x80..0x91, Err(ENXIO)),
        (0x90..0xa0, Ok(())),
        (0x90..0xa1, Err(ENXIO)),
        (0x0..0x11, Err(ENXIO)),
        (0xa0..0xa1, Err(ENXIO)),
        (0x100..0x200, Ok(())),
        (0xff..0x101, Err(ENXIO)),
        (0x0..0x300, Err(EINVAL)),
        (1 << 52..(1 << 52) + 1, Err(ENXIO)),
    ];
    // Whatever was looked at before.
    for (before, _) in &ranges {
        for (pfns, expected) in &ranges {
            let mut free = Free::new(&memory, &scratch);
            let _ = free.check(before);
            assert_eq!(free.check(pfns), *expected, "{pfns:#x?} after {before:#x?}");
        }
    }
}

#[test]
fn ranges_meet_areas() {
    let areas = areas([0x1000..0x2000, 0x2800..0x2800, 0x3000..0x5000]);
    for (bytes, meets) in [
        (0x0..0x1000, false),
        (0x0..0x1001, true),
        (0x1fff..0x2000, true),
        (0x2000..0x3000, false),
        (0x0..0x6000, true),
        (0x4fff..u64::MAX, true),
        (0x5000..0x6000, false),
    ] {
        assert_eq!(meet(&areas, &bytes), meets, "{bytes:#x?}");
    }
}

#[test]
fn areas_of_the_previous_kernel_are_checked() {
    let area = |addr, size| Area { addr, size };
    let apart = [0x10_0000..0x10_1000, 0x10_2000..0x10_3000];
    let good = [
        area(0x20_0000, 0x10_0000),
        area(0, 0),
        area(0x40_0000, 0x1000),
    ];
    assert_eq!(check(&good, &apart), Ok(()));
    for wrong in [
        vec![],
        vec![area(0, 0)],
        vec![area(0x1001, 0x1000)],
        vec![area(0x1000, 0x1001)],
        vec![area(u64::MAX - 0xfff, 0x2000)],
        vec![area(1 << 52, 0x1000)],
        vec![area(0xf_f000, 0x2000)],
        vec![area(0x20_0000, 0x2000), area(0x20_1000, 0x1000)],
    ] {
        assert!(check(&wrong, &apart).is_err(), "{wrong:?}");
    }
}
