// SPDX-License-Identifier: Apache-2.0 OR MIT

use rustix::fs::fcntl_get_seals;

use super::*;

fn file_of(memory: &Memory) -> OwnedFd {
    memory.as_fd().try_clone_to_owned().unwrap()
}

#[test]
fn two_mappings_of_a_file_show_the_same() {
    let memory = Memory::create("a", 3 * 4096).unwrap();
    let again = Memory::from_file(file_of(&memory)).unwrap();
    assert_ne!(memory.as_ptr(), again.as_ptr());
    memory.write_at(4095, b"xy").unwrap();
    let mut got = [0; 4];
    again.read_at(4094, &mut got).unwrap();
    assert_eq!(&got, b"\0xy\0");
}

#[test]
fn the_size_is_fixed() {
    let memory = Memory::create("a", 8192).unwrap();
    assert_eq!(ftruncate(&memory, 4096), Err(Errno::PERM));
    assert_eq!(ftruncate(&memory, 16384), Err(Errno::PERM));
    let seals = fcntl_get_seals(&memory).unwrap();
    assert!(
        !seals.contains(SealFlags::WRITE),
        "it can still be written: {seals:?}"
    );
}

#[test]
fn nothing_beyond_the_end_is_touched() {
    let memory = Memory::create("a", 100).unwrap();
    for (offset, bytes) in [(100, 1), (99, 2), (usize::MAX, 1), (101, 0), (0, 101)] {
        let wrong = OutOfBounds {
            offset,
            bytes,
            len: 100,
        };
        assert_eq!(memory.read_at(offset, &mut vec![0; bytes]), Err(wrong));
        assert_eq!(memory.write_at(offset, &vec![1; bytes]), Err(wrong));
    }
    memory.write_at(100, &[]).unwrap();
    let mut all = [1; 100];
    memory.read_at(0, &mut all).unwrap();
    assert_eq!(all, [0; 100]);
}

/// On upstream's kernel a memfd made with `MFD_NOEXEC_SEAL` comes back like this.
#[test]
fn what_is_sealed_against_writing_is_refused_with_the_reason() {
    let file = make("a").unwrap();
    ftruncate(&file, 4096).unwrap();
    fcntl_add_seals(&file, SealFlags::WRITE).unwrap();
    let error = Memory::from_file(file).unwrap_err();
    assert_eq!(
        (error.operation, error.errno),
        (Operation::MapMemory, Errno::PERM)
    );
    let text = error.to_string();
    assert!(text.contains("sealed against writing"), "{text}");
}

#[test]
fn what_cannot_be_mapped_is_refused() {
    let null = std::fs::File::open("/dev/null").unwrap();
    let empty = make("a").unwrap();
    for file in [null.into(), empty] {
        let error = Memory::from_file(file).unwrap_err();
        assert_eq!(error.operation, Operation::MapMemory);
        assert!(error.to_string().contains("map memory"), "{error}");
    }
    let error = Memory::create("a\0b", 4096).unwrap_err();
    assert_eq!(
        (error.operation, error.errno),
        (Operation::CreateMemory, Errno::INVAL)
    );
}

#[test]
fn threads_may_share_it() {
    let memory = Memory::create("a", 4096).unwrap();
    std::thread::scope(|scope| {
        for byte in 1..=4_u8 {
            let memory = &memory;
            scope.spawn(move || memory.write_at(0, &[byte; 4096]).unwrap());
        }
    });
    let mut all = [0; 4096];
    memory.read_at(0, &mut all).unwrap();
    assert!(all.iter().all(|it| (1..=4).contains(it)));
}

#[test]
fn it_is_unmapped_with_its_end() {
    let memory = Memory::create("gone-with-its-end", 4096).unwrap();
    let mapped = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.contains("gone-with-its-end")
    };
    assert!(mapped());
    drop(memory);
    assert!(!mapped());
}
