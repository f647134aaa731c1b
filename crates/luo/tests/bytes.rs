// SPDX-License-Identifier: GPL-2.0-only

//! The bytes that the next kernel finds are those that C writes for the same calls.

use kernel::{
    fs::File,
    host,
    liveupdate::{FileHandler, FileOps, Flb, Module, Retrieval, Saved},
    prelude::*,
    sync::aref::ARef,
};
use luo::host_api;
use luo_simulation::{
    create, image::number, image::Image, power_on_with, preserve_new, reboot, shared,
    shared::Shared,
};

/// A handler whose handle for a file is the length of its contents, and another once it is frozen.
struct Fixed(Module);

impl Fixed {
    fn data(file: &File) -> u64 {
        host::memfd::contents(file).unwrap().len() as u64
    }
}

impl FileOps for Fixed {
    fn compatible(&self) -> &str {
        "fixed-v1"
    }

    fn module(&self) -> &Module {
        &self.0
    }

    fn can_preserve(&self, _: &File) -> bool {
        true
    }

    fn preserve(&self, file: &File) -> Result<Saved> {
        let data = Self::data(file);
        Ok(Saved { data })
    }

    fn unpreserve(&self, _: &File, _: Saved) {}

    fn freeze(&self, _: &File, saved: &mut Saved) -> Result {
        saved.data += 0xABC0_0000_0000;
        Ok(())
    }

    fn retrieve(&self, _: u64) -> Result<ARef<File>> {
        Err(EIO)
    }

    fn finish(&self, _: u64, _: Retrieval<'_>) {}
}

/// A page, written field by field.
struct Page(Vec<u8>);

impl Page {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(mut self, text: &str, len: usize) -> Self {
        let end = self.0.len() + len;
        self.0.extend(text.as_bytes());
        self.0.resize(end, 0);
        self
    }

    #[track_caller]
    fn assert_at(mut self, pa: u64) {
        self.0.resize(4096, 0);
        assert!(pa != 0 && pa.is_multiple_of(4096));
        let found = host::peek(pa).unwrap();
        let differing = (0..4096).find(|it| found[*it] != self.0[*it]);
        assert_eq!(differing, None, "first differing byte of {pa:#x}");
    }
}

fn power_on_fixed() -> FileHandler {
    let fixed = FileHandler::new(Box::leak(Box::new(Fixed(Module::default()))));
    power_on_with(&[fixed]);
    fixed
}

#[test]
fn sessions_files_and_flbs_stand_where_the_format_says() {
    let fixed = power_on_fixed();
    // Linked, but of the second no file makes use.
    let shared = Flb::new(Shared::new("shared-v1"));
    host_api::register_flb(fixed, shared).unwrap();
    let zoo = create("zoo").unwrap();
    preserve_new(zoo, "four", u64::MAX).unwrap();
    preserve_new(zoo, "", 3).unwrap();
    create("ant").unwrap();
    host_api::flb_get_outgoing(shared).unwrap();
    reboot().unwrap();

    let image = Image::find();
    let files = image.files(0);
    Page::new()
        .text("luo-v5", 8)
        .u64(1)
        .u64(image.sessions)
        .u64(image.flbs)
        .assert_at(image.root);
    let sessions = Page::new().u64(0).u64(2);
    let sessions = sessions.text("zoo", 64).u64(files).u64(2);
    let sessions = sessions.text("ant", 64).u64(0).u64(0);
    sessions.assert_at(image.sessions);
    let files_page = Page::new().u64(0).u64(2);
    let files_page = files_page
        .text("fixed-v1", 48)
        .u64(0xABC0_0000_0004)
        .u64(u64::MAX);
    let files_page = files_page.text("fixed-v1", 48).u64(0xABC0_0000_0000).u64(3);
    files_page.assert_at(files);
    let flbs = Page::new().u64(1).u64(1);
    let flbs = flbs.text("shared-v1", 48).u64(shared::DATA).u64(2);
    flbs.assert_at(image.flbs);
    let of_the_file = 1;
    assert_eq!(host::pages_in_use(), 4 + of_the_file, "and nothing else");
}

#[test]
fn blocks_are_chained_and_filled_one_after_the_other() {
    power_on_fixed();
    let session = create("s-0").unwrap();
    for token in 0..64 {
        preserve_new(session, "f", token).unwrap();
    }
    for number in 1..103 {
        create(&format!("s-{number}")).unwrap();
    }
    reboot().unwrap();
    let image = Image::find();
    let (second, files) = (number(image.sessions, 0), image.files(0));
    let third = number(second, 0);
    assert_eq!(
        [image.sessions, second, third].map(|pa| number(pa, 8)),
        [51, 51, 1]
    );
    let last = Page::new().u64(0).u64(1);
    last.text("s-102", 64).u64(0).u64(0).assert_at(third);
    let last = Page::new().u64(0).u64(1);
    let last = last.text("fixed-v1", 48).u64(0xABC0_0000_0001).u64(63);
    last.assert_at(number(files, 0));
    assert_eq!(number(files, 8), 63);
}

#[test]
fn without_sessions_the_root_has_no_blocks_but_the_page_of_flbs() {
    power_on_fixed();
    host::close(create("closed").unwrap()).unwrap();
    reboot().unwrap();
    let image = Image::find();
    let root = Page::new().text("luo-v5", 8).u64(1).u64(0).u64(image.flbs);
    root.assert_at(image.root);
    Page::new().u64(1).u64(0).assert_at(image.flbs);
}

#[test]
fn what_stood_in_a_slot_before_does_not_show() {
    power_on_fixed();
    let sessions = ["long-name-of-a-closed-session", "b", "c"].map(|name| create(name).unwrap());
    preserve_new(sessions[2], "f", 1).unwrap();
    host::close(sessions[0]).unwrap();
    reboot().unwrap();
    let image = Image::find();
    let page = Page::new().u64(0).u64(2).text("b", 64).u64(0).u64(0);
    page.text("c", 64)
        .u64(image.files(1))
        .u64(1)
        .assert_at(image.sessions);
}
