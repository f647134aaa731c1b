// SPDX-License-Identifier: GPL-2.0-only

//! Errnos, and the order of the checks that choose them: number, size, command, direction of the
//! session, smallest size, contents.

use kernel::{
    host::{self, memfd},
    prelude::*,
};
use luo_simulation::{
    create, finish, kexec, open_device, power_on, preserve, preserve_new, retrieve, retrieve_fd,
    uapi::{self, with_name, with_token, Call},
};

/// An address at which nothing is mapped.
const NOWHERE: usize = 8;

/// The structure with another size in its first field, and as many bytes as that.
fn resized(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(size, 0);
    bytes[..4].copy_from_slice(&(size as u32).to_le_bytes());
    bytes
}

/// An outgoing and an incoming session.
fn both_directions() -> [i32; 2] {
    let probe = power_on();
    create("incoming").unwrap();
    kexec(probe);
    [create("outgoing").unwrap(), retrieve("incoming").unwrap()]
}

#[test]
fn a_number_out_of_range_is_refused_before_memory_is_touched() {
    let [outgoing, incoming] = both_directions();
    let device = open_device().unwrap();
    for number in [0x02, 0x3f, 0x40, 0xff] {
        assert_eq!(host::ioctl(device, 0xBA00 | number, NOWHERE), Err(EINVAL));
    }
    for session in [outgoing, incoming] {
        for number in [0x00, 0x3f, 0x44, 0xff] {
            assert_eq!(host::ioctl(session, 0xBA00 | number, NOWHERE), Err(EINVAL));
        }
    }
}

#[test]
fn the_size_is_fetched_before_the_command_is_compared() {
    let [outgoing, incoming] = both_directions();
    let device = open_device().unwrap();
    for (fd, number) in [(device, 0x00), (outgoing, 0x40), (incoming, 0x42)] {
        // Another type, a direction, a size.
        for cmd in [0x1200 | number, 0xC000_BA00 | number, 0x0048_BA00 | number] {
            assert_eq!(host::ioctl(fd, cmd, NOWHERE), Err(EFAULT));
            assert_eq!(Call::new(cmd, &[0; 4]).on(fd), Err(ENOTTY));
        }
    }
}

#[test]
fn the_direction_is_checked_before_size_and_contents() {
    let [outgoing, incoming] = both_directions();
    let mut oversized = resized(&with_token(-1, 1), 64);
    oversized[63] = 1;
    let finish = resized(&[0; 8], 8);
    for (session, cmd) in [
        (outgoing, uapi::RETRIEVE_FD),
        (incoming, uapi::PRESERVE_FD),
        (outgoing, uapi::FINISH),
    ] {
        assert_eq!(Call::new(cmd, &oversized).on(session), Err(EINVAL));
        assert_eq!(Call::new(cmd, &finish).on(session), Err(EINVAL));
    }
    // The other direction shows that it was not the contents.
    assert_eq!(
        Call::new(uapi::PRESERVE_FD, &oversized).on(outgoing),
        Err(E2BIG)
    );
    assert_eq!(
        Call::new(uapi::RETRIEVE_FD, &oversized).on(incoming),
        Err(E2BIG)
    );
}

#[test]
fn structures_may_grow_but_only_by_zeroes() {
    power_on();
    let device = open_device().unwrap();
    let create = |bytes: &[u8]| Call::new(uapi::CREATE_SESSION, bytes).on(device);
    let small = with_name("a");
    for size in [4, 8, 71] {
        assert_eq!(create(&resized(&small, size)), Err(EINVAL));
    }
    assert_eq!(create(&resized(&small, 4096)), Ok(()));
    let mut grown = resized(&with_name("b"), 4096);
    *grown.last_mut().unwrap() = 1;
    assert_eq!(create(&grown), Err(E2BIG));
    // The size reaches beyond what is mapped.
    assert_eq!(create(&resized(&small, 4096)[..100]), Err(EFAULT));
    assert_eq!(create(&resized(&small, 72)[..40]), Err(EFAULT));
}

#[test]
fn only_what_the_caller_knows_is_written_back() {
    power_on();
    let device = open_device().unwrap();
    let call = Call::new(uapi::CREATE_SESSION, &resized(&with_name("a"), 80));
    call.on(device).unwrap();
    let mut expected = resized(&with_name("a"), 80);
    expected[4..8].copy_from_slice(&call.fd().to_le_bytes());
    assert_eq!(call.bytes(), expected);
}

#[test]
fn a_name_is_not_empty_ends_in_nul_and_is_used_once() {
    power_on();
    assert_eq!(create(""), Err(EINVAL));
    assert_eq!(create(&"x".repeat(64)), Err(EINVAL));
    let longest = "x".repeat(63);
    let session = create(&longest).unwrap();
    assert_eq!(create(&longest), Err(EEXIST));
    // Bytes behind the NUL are not part of the name.
    assert_eq!(create("a\0b").map(drop), Ok(()));
    assert_eq!(create("a\0c"), Err(EEXIST));
    host::close(session).unwrap();
    assert_eq!(create(&longest).map(drop), Ok(()));
}

#[test]
fn a_session_is_not_found_by_what_cannot_be_a_name() {
    let probe = power_on();
    create("s").unwrap();
    kexec(probe);
    assert_eq!(retrieve(""), Err(ENOENT));
    assert_eq!(retrieve(&"x".repeat(64)), Err(ENOENT));
    assert_eq!(retrieve("S"), Err(ENOENT));
    assert_eq!(retrieve("s").map(drop), Ok(()));
}

#[test]
fn an_outgoing_session_is_not_retrieved_in_its_own_kernel() {
    power_on();
    create("s").unwrap();
    assert_eq!(retrieve("s"), Err(ENOENT));
}

#[test]
fn incoming_and_outgoing_names_do_not_meet() {
    let [_, incoming] = both_directions();
    let outgoing = create("incoming").unwrap();
    finish(incoming).unwrap();
    assert_eq!(create("incoming"), Err(EEXIST));
    host::close(outgoing).unwrap();
}

#[test]
fn reserved_fields_are_zero() {
    let [outgoing, incoming] = both_directions();
    let mut bytes = resized(&[0; 8], 8);
    bytes[4] = 1;
    assert_eq!(Call::new(uapi::FINISH, &bytes).on(incoming), Err(EINVAL));
    let bytes = resized(&bytes, 72);
    assert_eq!(Call::new(uapi::GET_NAME, &bytes).on(incoming), Err(EINVAL));
    assert_eq!(Call::new(uapi::GET_NAME, &bytes).on(outgoing), Err(EINVAL));
    assert_eq!(finish(incoming), Ok(()));
}

#[test]
fn one_at_a_time_has_the_device_open() {
    power_on();
    let first = open_device().unwrap();
    assert_eq!(host::as_process(2, open_device), Err(EBUSY));
    host::close(first).unwrap();
    let second = host::as_process(2, open_device).unwrap();
    assert_eq!(open_device(), Err(EBUSY));
    host::as_process(2, host::exit);
    assert_eq!(open_device().map(drop), Ok(()));
    assert_eq!(second, 0);
}

#[test]
fn preserve_fd_refuses_for_the_first_reason_that_holds() {
    power_on();
    let session = create("s").unwrap();
    let file = memfd::create(b"f").unwrap();
    preserve(session, file, 1).unwrap();
    assert_eq!(preserve(session, -1, 1), Err(EEXIST));
    for fd in [-1, 1000] {
        assert_eq!(preserve(session, fd, 2), Err(EBADF));
    }
    // No handler takes a session.
    assert_eq!(preserve(session, session, 2), Err(ENOENT));
    assert_eq!(preserve(session, file, 2), Err(EBUSY));
    let other = create("other").unwrap();
    assert_eq!(preserve(other, file, 1), Err(EBUSY));
    host::close(session).unwrap();
    assert_eq!(preserve(other, file, 1), Ok(()));
}

#[test]
fn a_retrieved_file_is_preserved_anew_only_when_its_session_is_finished() {
    let probe = power_on();
    preserve_new(create("s").unwrap(), "f", 1).unwrap();
    kexec(probe);
    let incoming = retrieve("s").unwrap();
    let file = retrieve_fd(incoming, 1).unwrap();
    let outgoing = create("s").unwrap();
    assert_eq!(preserve(outgoing, file, 1), Err(EBUSY));
    finish(incoming).unwrap();
    assert_eq!(preserve(outgoing, file, 1), Ok(()));
}

#[test]
fn without_a_free_descriptor_nothing_is_made() {
    let probe = power_on();
    host::limit_descriptors(1);
    assert_eq!(create("s"), Err(EMFILE));
    host::limit_descriptors(2);
    let session = create("s").unwrap();
    host::limit_descriptors(10);
    preserve_new(session, "f", 1).unwrap();
    kexec(probe);

    host::limit_descriptors(1);
    assert_eq!(retrieve("s"), Err(EMFILE));
    host::limit_descriptors(2);
    let session = retrieve("s").unwrap();
    assert_eq!(session, 1);
    let device = open_device().unwrap();
    assert_eq!(device, 0);
    assert_eq!(retrieve_fd(session, 1), Err(EMFILE));
    host::close(device).unwrap();
    assert_eq!(retrieve_fd(session, 1), Ok(0));
}
