// SPDX-License-Identifier: GPL-2.0-only

//! What LUO relies on in the `kernel` crate.
//!
//! Two crates have that name: Linux's, on which these are KUnit tests, and the one that stands in
//! for it in user space, on which they are ordinary tests. What holds on both is what the
//! user-space tests of LUO may be trusted with.

use kernel::{
    fs::file::{flags::O_CLOEXEC, FileDescriptorReservation},
    kho::{self, PhysAddr, Preserved, Restored},
    new_mutex, new_rwsem,
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    sync::{
        atomic::{ordering, Atomic},
        rwsem::RwSem,
        Arc, Mutex, SetOnce,
    },
};

/// A page of numbers.
#[derive(FromBytes)]
#[repr(C)]
struct Numbers([u64; 512]);

static ONCE: SetOnce<u32> = SetOnce::new();

#[pin_data]
struct Locked {
    #[pin]
    mutex: Mutex<u32>,
    #[pin]
    rwsem: RwSem<u32>,
}

impl Locked {
    fn new() -> Result<Arc<Self>> {
        let init = pin_init!(Self {
            mutex <- new_mutex!(1, "luo_conformance_mutex"),
            rwsem <- new_rwsem!(2, "luo_conformance_rwsem"),
        });
        Arc::pin_init(init, GFP_KERNEL)
    }
}

/// Counts how often it is dropped.
struct Dropped<'a>(&'a Atomic<bool>);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        assert!(!self.0.xchg(true, ordering::Acquire), "dropped twice");
    }
}

fn tree(keys: &[u32]) -> Result<RBTree<u32, u32>> {
    let mut tree = RBTree::new();
    for &key in keys {
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        tree.insert(node.into_node(key, key * 10));
    }
    Ok(tree)
}

fn claim(addr: u64) -> Result<Restored<Numbers>> {
    Restored::claim(PhysAddr(addr))
}

#[cfg_attr(CONFIG_LIVEUPDATE, kunit_tests(luo_kernel_crate))]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_number() {
        assert_eq!(ENOENT.to_errno(), -2);
        assert_eq!(Error::from_errno(-61).to_errno(), -61);
        assert!(Error::from_errno(-12) == ENOMEM);
    }

    #[test]
    fn vectors_keep_order_and_drop_what_is_cut_off() {
        let dropped = [const { Atomic::new(false) }; 3];
        let mut vec = KVec::with_capacity(1, GFP_KERNEL).unwrap();
        for flag in &dropped {
            assert!(vec.push(Dropped(flag), GFP_KERNEL).is_ok());
        }
        vec.truncate(2);
        assert!(dropped[2].xchg(true, ordering::Acquire));
        assert!(vec.pop().is_some());
        assert!(dropped[1].xchg(true, ordering::Acquire));
        assert_eq!(vec.len(), 1);
        drop(vec);
        assert!(dropped[0].xchg(true, ordering::Acquire));
    }

    #[test]
    fn room_that_is_reserved_is_there() {
        let mut vec: KVVec<u32> = KVVec::new();
        vec.reserve(100, GFP_KERNEL).unwrap();
        let start = vec.as_ptr();
        for number in 0..100 {
            vec.push(number, GFP_KERNEL).unwrap();
        }
        assert_eq!(vec.as_ptr(), start);
        vec.retain(|number| *number % 2 == 1);
        assert_eq!(vec.iter().sum::<u32>(), 2500);
    }

    #[test]
    fn trees_are_in_the_order_of_keys() {
        let mut tree = tree(&[3, 1, 2]).unwrap();
        assert!(tree.values().eq(&[10, 20, 30]));
        assert_eq!(tree.get(&2), Some(&20));
        assert!(tree.remove_node(&2).is_some());
        assert!(tree.remove_node(&2).is_none());
        assert_eq!(tree.get(&2), None);
        assert!(tree.values().eq(&[10, 30]));
    }

    #[test]
    fn inserting_a_key_again_gives_the_old_node_back() {
        let mut tree = tree(&[7]).unwrap();
        let node = RBTreeNodeReservation::new(GFP_KERNEL).unwrap();
        assert!(tree.insert(node.into_node(7, 71)).is_some());
        assert_eq!(tree.get(&7), Some(&71));
    }

    #[test]
    fn a_cursor_begins_at_the_lower_bound_and_goes_back() {
        let mut tree = tree(&[10, 20, 30]).unwrap();
        let cursor = tree.cursor_lower_bound_mut(&15).unwrap();
        assert_eq!(*cursor.current().0, 20);
        let cursor = cursor.move_prev().unwrap();
        assert_eq!(*cursor.current().0, 10);
        assert!(cursor.move_prev().is_none());
        assert!(tree.cursor_lower_bound_mut(&31).is_none());
    }

    #[test]
    fn locks_protect_and_let_go() {
        let locked = Locked::new().unwrap();
        *locked.mutex.lock() += 10;
        assert_eq!(*locked.mutex.lock(), 11);
        *locked.rwsem.write() += 20;
        let read = locked.rwsem.read();
        assert_eq!(*read, 22);
        // The order in which the lockdep of both crates may see them.
        assert_eq!(*locked.mutex.lock(), 11);
    }

    #[test]
    fn references_know_their_value() {
        let (one, other) = (Locked::new().unwrap(), Locked::new().unwrap());
        assert!(Arc::ptr_eq(&one, &one.clone()));
        assert!(!Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn a_static_is_set_once() {
        assert!(ONCE.as_ref().is_none());
        assert!(ONCE.populate(1));
        assert!(!ONCE.populate(2));
        assert_eq!(ONCE.as_ref(), Some(&1));
    }

    #[test]
    fn an_exchange_gives_what_was_there() {
        let flag = Atomic::new(false);
        assert!(!flag.xchg(true, ordering::Acquire));
        assert!(flag.xchg(true, ordering::Acquire));
        flag.store(false, ordering::Release);
        assert!(!flag.xchg(true, ordering::Acquire));
    }

    #[test]
    fn descriptors_are_reserved_one_by_one_and_given_back() {
        let reserve = || FileDescriptorReservation::get_unused_fd_flags(O_CLOEXEC).unwrap();
        let (first, second) = (reserve(), reserve());
        let number = first.reserved_fd();
        assert!(number < second.reserved_fd());
        drop(first);
        assert_eq!(reserve().reserved_fd(), number);
    }

    #[test]
    fn preserved_pages_are_zero_aligned_and_apart() {
        let mut page: Preserved<Numbers> = Preserved::new().unwrap();
        let other: Preserved<Numbers> = Preserved::new().unwrap();
        assert!(page.0.iter().all(|number| *number == 0));
        page.0[511] = 7;
        assert_eq!(page.0[511], 7);
        assert!(other.0.iter().all(|number| *number == 0));
        let (addr, other_addr) = (page.phys().0, other.phys().0);
        assert!(addr != 0 && addr % 4096 == 0 && addr != other_addr);
    }

    #[test]
    fn only_what_the_previous_kernel_preserved_can_be_claimed() {
        let mine: Preserved<Numbers> = Preserved::new().unwrap();
        let addr = mine.phys().0;
        for wrong in [
            0,
            8,
            addr,
            addr + 8,
            addr + 4096 - 1,
            u64::MAX,
            u64::MAX - 4095,
            1 << 52,
        ] {
            assert!(claim(wrong).err() == Some(EINVAL));
        }
    }

    #[test]
    fn what_nobody_published_is_not_found() {
        assert!(kho::retrieve_subtree(c"luo-conformance").err() == Some(ENOENT));
    }
}
