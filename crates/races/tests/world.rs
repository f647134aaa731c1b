// SPDX-License-Identifier: GPL-2.0-only

//! What the models have in common.

use kernel::{host, liveupdate::FileHandler, prelude::*};
use luo_simulation::{boot, finish, open_device, probe::Probe, reboot, uapi::Call};
use std::collections::BTreeMap;

/// `CREATE_SESSION`, on a device that is open already.
pub(crate) fn create(device: i32, name: &str) -> Result<i32> {
    let call = Call::create(name);
    call.on(device).map(|()| call.fd())
}

/// `RETRIEVE_SESSION`, on a device that is open already.
pub(crate) fn retrieve(device: i32, name: &str) -> Result<i32> {
    let call = Call::retrieve(name);
    call.on(device).map(|()| call.fd())
}

/// Jumps to the next kernel, which has this handler; gives its device. Programs end before: what
/// they close is handed over by then, and stays as it is.
pub(crate) fn jump(probe: &'static Probe) -> i32 {
    host::exit();
    host::kexec();
    boot(&[FileHandler::new(probe)]);
    open_device().unwrap()
}

/// Jumps as [`jump`], from a kernel that has not been asked yet.
pub(crate) fn kexec(probe: &'static Probe) -> i32 {
    assert_eq!(reboot(), Ok(()));
    jump(probe)
}

/// Finishes a session and closes it.
pub(crate) fn done_with(session: i32) {
    assert_eq!(finish(session), Ok(()));
    host::close(session).unwrap();
}

/// Checks that nothing is left of the previous kernel: what there is are its root, and this kernel's
/// root and page of FLBs.
pub(crate) fn nothing_is_left(device: i32) {
    host::close(device).unwrap();
    host::exit();
    assert_eq!(host::pages_in_use(), 3, "{}", host::console());
}

/// Where a preserved file stands, by the calls of its handler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stands {
    Preserved,
    Frozen,
}

/// Follows the handler's calls in a kernel that preserves: none may come at a wrong time. Gives
/// where the files stand then; those that are unpreserved are not among them.
///
/// A call that is in `refused` has had no effect.
pub(crate) fn follow(probe: &Probe, refused: &[&str]) -> BTreeMap<String, Stands> {
    let calls = probe.calls();
    let mut files = BTreeMap::new();
    for call in calls.iter().filter(|it| !refused.contains(&it.as_str())) {
        let (what, file) = call.split_once(' ').unwrap();
        let (from, to) = match what {
            "preserve" => (None, Some(Stands::Preserved)),
            "freeze" => (Some(Stands::Preserved), Some(Stands::Frozen)),
            "unfreeze" => (Some(Stands::Frozen), Some(Stands::Preserved)),
            "unpreserve" => (Some(Stands::Preserved), None),
            _ => panic!("{what} in {calls:?}"),
        };
        assert_eq!(files.remove(file), from, "{call} in {calls:?}");
        files.extend(to.map(|it| (file.to_owned(), it)));
    }
    files
}

/// Those files, all standing there.
pub(crate) fn all<const N: usize>(files: [&str; N], stand: Stands) -> BTreeMap<String, Stands> {
    files.map(|it| (it.to_owned(), stand)).into()
}

/// The files that their handler has finished since the last time, in that order.
///
/// None may be finished before it was asked.
pub(crate) fn finishes(probe: &Probe) -> Vec<String> {
    let mut asked = 0;
    let mut finished = Vec::new();
    for call in probe.calls() {
        match call.split_once(' ').unwrap() {
            ("can_finish", _) => asked += 1,
            ("finish", file) => finished.push(file.to_owned()),
            ("retrieve", _) => {}
            _ => panic!("{call}"),
        }
    }
    assert!(finished.len() <= asked);
    finished
}
