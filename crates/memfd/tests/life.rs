// SPDX-License-Identifier: GPL-2.0-only

//! A file on its way through kernels, with a failure here and there.

use crate::plan::SEAL_FUTURE_WRITE;
use kernel::{
    fs::File,
    host::{
        self,
        shmem::{show, Shown},
        Image,
    },
    liveupdate::ops::{Failure, FileOps},
    prelude::*,
    sync::aref::ARef,
};

/// What goes wrong, once, after so many successes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    None,
    /// An allocation.
    Memory(usize),
    /// The task is killed.
    Kill(usize),
}

impl Fault {
    /// Does `task` while it goes wrong; says whether it came to that.
    pub(crate) fn during<R>(self, task: impl FnOnce() -> R) -> (R, bool) {
        let (memory, kill) = match self {
            Self::None => (None, None),
            Self::Memory(successes) => (Some(successes), None),
            Self::Kill(successes) => (None, Some(successes)),
        };
        host::fail_allocation(memory);
        host::kill(kill);
        let result = task();
        let left = (host::fail_allocation(None), host::kill(None));
        (
            result,
            (memory, kill) != (None, None) && left == (None, None),
        )
    }

    /// The errno that a call gives then.
    fn errno(self) -> Error {
        match self {
            Self::None | Self::Memory(_) => ENOMEM,
            Self::Kill(_) => EINTR,
        }
    }
}

/// A preserved file.
pub(crate) struct Outgoing<T: FileOps> {
    pub(crate) file: ARef<File>,
    data: u64,
    preserved: KBox<T::Preserved>,
}

impl<T: FileOps> Outgoing<T> {
    /// Preserves `file`; with a fault first, which changes nothing. Says whether it came to it.
    pub(crate) fn preserve(_: &T, file: ARef<File>, fault: Fault) -> (Self, bool) {
        assert!(T::can_preserve(&file));
        let (before, pages) = (show(&file), host::pages_in_use());
        let (result, has_failed) = fault.during(|| T::preserve(&file));
        let (data, preserved) = match result {
            Err(err) => {
                assert!(has_failed && err == fault.errno(), "{err:?}");
                assert_eq!((show(&file), host::pages_in_use()), (before, pages));
                T::preserve(&file).unwrap()
            }
            Ok(preserved) => preserved,
        };
        assert!(show(&file).is_frozen);
        let this = Self {
            file,
            data,
            preserved,
        };
        (this, has_failed)
    }

    /// Gives it up again.
    pub(crate) fn unpreserve(self) -> ARef<File> {
        T::unpreserve(&self.file, self.preserved);
        assert!(!show(&self.file).is_frozen);
        self.file
    }

    /// The last call before the jump; with a fault first, which changes nothing.
    pub(crate) fn freeze(&mut self, fault: Fault) -> bool {
        let (before, pages) = (show(&self.file), host::pages_in_use());
        let (result, has_failed) = fault.during(|| T::freeze(&self.file, &mut self.preserved));
        if let Err(err) = result {
            assert!(has_failed && err == fault.errno(), "{err:?}");
            assert_eq!((show(&self.file), host::pages_in_use()), (before, pages));
            T::freeze(&self.file, &mut self.preserved).unwrap();
        }
        assert!(show(&self.file).is_complete);
        has_failed
    }

    /// The jump did not come.
    pub(crate) fn unfreeze(&mut self) {
        T::unfreeze(&self.file, &mut self.preserved);
        assert!(!show(&self.file).is_complete);
    }

    /// The jump.
    pub(crate) fn kexec(self) -> Incoming<T> {
        let mut expected = show(&self.file);
        expected.is_frozen = false;
        expected.is_complete = false;
        if !expected.is_executable && expected.seals & !1 == 0x3e {
            expected.seals &= !SEAL_FUTURE_WRITE;
        }
        let data = self.data;
        // The kernel that had it is gone.
        core::mem::forget(self);
        jump();
        Incoming {
            data,
            claimed: None,
            expected,
        }
    }
}

fn jump() {
    host::load_image(Image::WithHandover);
    host::kexec();
}

/// A file that the previous kernel preserved.
pub(crate) struct Incoming<T: FileOps> {
    pub(crate) data: u64,
    claimed: Option<KBox<T::Claimed>>,
    expected: Shown,
}

impl<T: FileOps> Incoming<T> {
    /// Tries to retrieve it.
    ///
    /// # Errors
    ///
    /// If it cannot be retrieved for good.
    pub(crate) fn try_retrieve(&mut self) -> Result<Option<ARef<File>>> {
        match T::retrieve(self.data, self.claimed.take()) {
            Ok(file) => Ok(Some(file)),
            Err(Failure::Final(err)) => Err(err),
            Err(Failure::Transient(_, claimed)) => {
                self.claimed = claimed;
                Ok(None)
            }
        }
    }

    /// Fails to retrieve it, which changes nothing but what has been claimed. Says whether it came to that; if not, it is there.
    pub(crate) fn fail_to_retrieve(mut self, fault: Fault) -> Result<Self, ARef<File>> {
        let pages = host::pages_in_use();
        let (result, has_failed) = fault.during(|| self.try_retrieve());
        match result.expect("nothing is broken") {
            Some(file) => Err(self.check(file)),
            None => {
                assert!(has_failed);
                assert_eq!(host::pages_in_use(), pages);
                Ok(self)
            }
        }
    }

    /// Retrieves it.
    pub(crate) fn retrieve(mut self) -> ARef<File> {
        let file = self.try_retrieve().expect("nothing is broken");
        self.check(file.expect("nothing goes wrong"))
    }

    fn check(&self, file: ARef<File>) -> ARef<File> {
        assert_eq!(show(&file), self.expected);
        file
    }

    /// Tries to preserve it for the next kernel.
    ///
    /// # Errors
    ///
    /// If it cannot be passed on.
    pub(crate) fn try_carry(&mut self) -> Result {
        match T::carry(self.data, self.claimed.take()) {
            Ok((data, claimed)) => {
                self.data = data;
                self.claimed = Some(claimed);
                Ok(())
            }
            Err(Failure::Final(err)) => Err(err),
            Err(Failure::Transient(err, claimed)) => {
                self.claimed = claimed;
                Err(err)
            }
        }
    }

    /// Preserves it for the next kernel, with a fault first, which changes nothing. Says whether it came to it.
    pub(crate) fn carry(&mut self, fault: Fault) -> bool {
        let pages = host::pages_in_use();
        let (result, has_failed) = fault.during(|| self.try_carry());
        if let Err(err) = result {
            assert!(has_failed && err == fault.errno(), "{err:?}");
            assert_eq!(host::pages_in_use(), pages);
            self.try_carry().expect("it can be passed on");
        }
        has_failed
    }

    /// The jump did not come.
    pub(crate) fn uncarry(&mut self) {
        T::uncarry(self.claimed.as_mut().expect("it was passed on"));
    }

    /// The jump.
    pub(crate) fn kexec(self) -> Self {
        core::mem::forget(self.claimed);
        jump();
        Self {
            claimed: None,
            ..self
        }
    }

    /// Gives it up, while something goes wrong; says whether it came to that.
    pub(crate) fn discard(self, fault: Fault) -> bool {
        fault.during(|| T::discard(self.data, self.claimed)).1
    }
}
