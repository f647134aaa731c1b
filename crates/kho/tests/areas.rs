// SPDX-License-Identifier: GPL-2.0-only

//! Where the next kernel boots.

use kernel::{
    error::code::*,
    kho::scratch::{Area, Place, Plan},
};
use luo_kho::areas::{check, cover, overlap, reserve, Sizes};
use std::collections::BTreeMap;

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

#[test]
fn ranges_lie_in_areas_or_beside_them() {
    let areas = [(0x1000, 0x1000), (0x3000, 0x2000)].map(|(addr, size)| Area { addr, size });
    for (bytes, is_covered, overlaps) in [
        (0x1000..0x2000, true, true),
        (0x2000..0x3000, false, false),
        (0x1000..0x3001, false, true),
        (0x0..0x6000, false, true),
        (0x4fff..0x5000, true, true),
        (0x5000..0x6000, false, false),
    ] {
        assert_eq!(cover(&areas, &bytes), is_covered, "{bytes:#x?}");
        assert_eq!(overlap(&areas, &bytes), overlaps, "{bytes:#x?}");
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
