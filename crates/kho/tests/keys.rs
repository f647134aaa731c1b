// SPDX-License-Identifier: GPL-2.0-only

//! Keys.

use kernel::kho::extent::Extent;
use luo_kho::key::{decode, encode, may_hold};
use proptest::prelude::*;

#[test]
fn keys_are_those_of_the_format() {
    assert_eq!(encode(Extent::new(0, 0)), 1 << 52);
    assert_eq!(encode(Extent::new(0x1234, 0)), 1 << 52 | 0x1234);
    assert_eq!(encode(Extent::new(0x1200, 9)), 1 << 43 | 0x9);
    assert_eq!(encode(Extent::new(0, 52)), 1);
    assert_eq!(decode(0), None);
    assert_eq!(decode(1 << 53), None);
    assert_eq!(decode(u64::MAX), None);
}

proptest! {
    #[test]
    fn an_extent_and_its_key_tell_each_other(number: u64, order in 0_u8..=52) {
        let number = number % (1 << (52 - order));
        let extent = Extent::new(number << order, order);
        prop_assert_eq!(decode(encode(extent)), Some(extent));
    }

    #[test]
    fn a_key_that_is_one_is_that_of_its_extent(key in 1_u64..1 << 53) {
        prop_assert_eq!(decode(key).map(encode), Some(key));
    }

    #[test]
    fn nodes_above_an_extent_may_hold_it(number: u64, order in 0_u8..=52, above in 1_u64..) {
        let number = number % (1 << (52 - order));
        let extent = Extent::new(number << order, order);
        for level in 0..5 {
            let bits = luo_kho::key::bits(level);
            let first = encode(extent) >> bits << bits;
            prop_assert!(may_hold(first, level, extent.pfn().saturating_add(above)));
        }
    }
}
