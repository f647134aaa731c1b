// SPDX-License-Identifier: GPL-2.0-only

//! Handlers and FLBs that bear broken handles, and write down what they are asked.

use kernel::{
    fs::{
        File,
        handle::{Handle, anon_file},
    },
    host,
    kho::{PhysAddr, Preserved, Restored},
    liveupdate::{FileHandler, FileOps, Flb, FlbObject, FlbOps, Module, Retrieval, Saved, fget},
    prelude::*,
    sync::aref::ARef,
};
use luo::host_api;
use std::{
    cell::RefCell,
    sync::{LazyLock, Mutex},
};

/// The compatibility strings of the handlers: a file of kind `n` is for handler `n`.
pub const HANDLERS: [&str; 2] = ["keeper-a", "keeper-b"];
/// The names of the FLBs.
pub const FLBS: [&str; 2] = ["vault-a", "vault-b"];
/// Which FLBs each handler depends on.
pub const LINKS: [&[usize]; 2] = [&[0, 1], &[1]];

/// What a handler writes first into its page.
pub const MAGIC: u64 = u64::from_le_bytes(*b"a parcel");

/// A call that a handler or an FLB got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A handler: its number, and the handle.
    Retrieve(usize, u64),
    /// A handler: its number, the handle, and what became of the file.
    Finish(usize, u64, Fate),
    /// An FLB: its number, and the handle.
    FlbRetrieve(usize, u64),
    /// An FLB: its number, and the handle.
    FlbFinish(usize, u64),
}

/// What had become of a file when it was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nobody asked for it.
    Untried,
    /// It could not be retrieved.
    Failed,
    /// It was retrieved, with these contents.
    Done(u64),
}

/// What is handed over of a file.
#[derive(FromBytes)]
#[repr(C)]
struct ParcelSer {
    magic: u64,
    kind: u64,
    contents: u64,
}

/// A file that holds a number.
struct Parcel {
    kind: usize,
    contents: u64,
    preserved: Mutex<Option<Preserved<ParcelSer>>>,
}

impl Handle for Parcel {
    fn ioctl(&self, _: u32, _: usize) -> Result {
        Err(ENOTTY)
    }
}

fn parcel(file: &File) -> &Parcel {
    file.private().expect("a file of another handler")
}

fn new_file(kind: usize, contents: u64) -> Result<ARef<File>> {
    let preserved = Mutex::default();
    let parcel = Parcel {
        kind,
        contents,
        preserved,
    };
    anon_file(c"parcel", KBox::new(parcel, GFP_KERNEL)?)
}

/// Makes a file; gives its descriptor.
///
/// # Errors
///
/// `ENOMEM`, `EMFILE`.
pub fn create(kind: usize, contents: u64) -> Result<i32> {
    host::link(new_file(kind, contents)?)
}

/// What the file behind `fd` holds: `EBADF`.
pub fn contents(fd: i32) -> Result<u64> {
    Ok(parcel(&*fget(fd)?).contents)
}

thread_local! {
    static CALLS: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

fn called(event: Event) {
    CALLS.with_borrow_mut(|it| it.push(event));
}

/// The calls since the last time.
pub fn calls() -> Vec<Event> {
    CALLS.take()
}

/// Claims and reads the page behind a handle. What is none of ours is left alone, for good.
fn claim(kind: usize, data: u64) -> Result<u64> {
    let page: Restored<ParcelSer> = Restored::claim(PhysAddr(data))?;
    if page.magic != MAGIC || page.kind != kind as u64 {
        core::mem::forget(page);
        return Err(EINVAL);
    }
    Ok(page.contents)
}

/// A handler.
struct Keeper {
    number: usize,
    module: Module,
}

impl FileOps for Keeper {
    fn compatible(&self) -> &str {
        HANDLERS[self.number]
    }

    fn module(&self) -> &Module {
        &self.module
    }

    fn can_preserve(&self, file: &File) -> bool {
        let parcel: Option<&Parcel> = file.private();
        parcel.is_some_and(|it| it.kind == self.number)
    }

    fn preserve(&self, file: &File) -> Result<Saved> {
        let parcel = parcel(file);
        let mut page: Preserved<ParcelSer> = Preserved::new()?;
        *page = ParcelSer {
            magic: MAGIC,
            kind: parcel.kind as u64,
            contents: parcel.contents,
        };
        let data = page.phys().0;
        let before = parcel.preserved.lock().unwrap().replace(page);
        assert!(before.is_none(), "a file is preserved twice");
        Ok(Saved { data })
    }

    fn unpreserve(&self, file: &File, saved: Saved) {
        let page = parcel(file).preserved.lock().unwrap().take();
        assert_eq!(page.map(|it| it.phys().0), Some(saved.data));
    }

    fn retrieve(&self, data: u64) -> Result<ARef<File>> {
        called(Event::Retrieve(self.number, data));
        let contents = claim(self.number, data)?;
        new_file(self.number, contents)
    }

    fn finish(&self, data: u64, retrieval: Retrieval<'_>) {
        let fate = match retrieval {
            Retrieval::Waiting(_) => {
                // Claimed only to be freed.
                let _ = claim(self.number, data);
                Fate::Untried
            }
            Retrieval::Failed(_) => Fate::Failed,
            Retrieval::Done(file) => Fate::Done(parcel(file).contents),
        };
        called(Event::Finish(self.number, data, fate));
    }
}

/// An FLB.
struct Vault {
    number: usize,
    module: Module,
}

impl Vault {
    fn data(&self) -> u64 {
        flb_data(self.number)
    }

    fn object(&self) -> FlbObject {
        FlbObject(0xF1B0 + self.number)
    }
}

/// The handle of an FLB.
#[must_use]
pub fn flb_data(number: usize) -> u64 {
    0xDA7A_0000 + number as u64
}

impl FlbOps for Vault {
    fn compatible(&self) -> &str {
        FLBS[self.number]
    }

    fn module(&self) -> &Module {
        &self.module
    }

    fn preserve(&self) -> Result<(u64, FlbObject)> {
        Ok((self.data(), self.object()))
    }

    fn unpreserve(&self, data: u64, obj: FlbObject) {
        assert_eq!((data, obj), (self.data(), self.object()));
    }

    fn retrieve(&self, data: u64) -> Result<FlbObject> {
        called(Event::FlbRetrieve(self.number, data));
        if data == self.data() {
            Ok(self.object())
        } else {
            Err(EINVAL)
        }
    }

    fn finish(&self, data: u64, obj: FlbObject) {
        assert_eq!((data, obj), (self.data(), self.object()));
        called(Event::FlbFinish(self.number, data));
    }
}

static KEEPERS: LazyLock<[Keeper; 2]> = LazyLock::new(|| {
    [0, 1].map(|number| Keeper {
        number,
        module: Module::default(),
    })
});
static VAULTS: LazyLock<[Vault; 2]> = LazyLock::new(|| {
    [0, 1].map(|number| Vault {
        number,
        module: Module::default(),
    })
});

/// FLB `number`.
#[must_use]
pub fn flb(number: usize) -> Flb {
    Flb::new(&VAULTS[number])
}

/// Boots the kernel that is there, with all handlers and FLBs.
///
/// # Errors
///
/// Those of LUO's own boot.
///
/// # Panics
///
/// If a registration fails.
pub fn boot() -> Result {
    host_api::boot()?;
    for (number, keeper) in KEEPERS.iter().enumerate() {
        let handler = FileHandler::new(keeper);
        host_api::register_file_handler(handler).unwrap();
        for link in LINKS[number] {
            host_api::register_flb(handler, flb(*link)).unwrap();
        }
    }
    calls();
    Ok(())
}

/// Powers a machine on that has LUO, and all handlers and FLBs.
///
/// # Panics
///
/// If it does not boot.
pub fn power_on() {
    host::load_image(host::Image::WithoutHandover);
    host::kexec();
    boot().unwrap();
}
