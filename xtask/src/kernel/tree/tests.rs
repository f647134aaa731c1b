// SPDX-License-Identifier: Apache-2.0 OR MIT

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::*;
use crate::kernel::Series;

/// A cache, a source in it and the files it starts with.
struct World {
    dir: tempfile::TempDir,
    cache: Cache,
    source: Source,
}

impl World {
    fn new(owner: Owner) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache"));
        let source = Source {
            id: "linux-test".into(),
            stamp: String::new(),
            version: "7.2.0".into(),
            series: Series::V7_2,
            dir: dir.path().join("source"),
            owner,
        };
        let world = Self { dir, cache, source };
        world.write("mm/shmem.c", "shmem\n");
        world.write("mm/Makefile", "one\ntwo\nthree\n");
        world
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.source.dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn prepare(&self, overlay: &[(&str, &str)]) -> Tree {
        let top = self.dir.path().join("overlay");
        drop(fs::remove_dir_all(&top));
        for (path, text) in overlay {
            let path = top.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir_all(&top).unwrap();
        let overlay = Overlay::read(&top, Series::V7_2).unwrap();
        let tree = Tree::locate(&self.cache, &self.source).unwrap();
        tree.prepare(&self.cache, &self.source, &overlay).unwrap();
        tree
    }
}

fn contents(top: &Path) -> BTreeMap<String, String> {
    walkdir::WalkDir::new(top)
        .into_iter()
        .map(Result::unwrap)
        .filter(|e| e.file_type().is_file())
        .map(|e| {
            let name = e
                .path()
                .strip_prefix(top)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            (name, fs::read_to_string(e.path()).unwrap())
        })
        .collect()
}

fn modified(tree: &Tree, path: &str) -> SystemTime {
    fs::metadata(tree.dir.join(path))
        .unwrap()
        .modified()
        .unwrap()
}

const EDIT: (&str, &str) = (
    "edits/10-mm.patch",
    "--- a/mm/Makefile\n+++ b/mm/Makefile\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n",
);

#[test]
fn the_source_stays_as_it_is_and_leaves_no_trace_when_the_overlay_goes() {
    for owner in [Owner::Cache, Owner::User] {
        let world = World::new(owner);
        let before = contents(&world.source.dir);
        let tree = world.prepare(&[EDIT, ("mm/luo.rs", "rust"), ("mm/shmem.c", "ours")]);
        let got = contents(&tree.dir);
        assert_eq!(got["mm/Makefile"], "one\nTWO\nthree\n");
        assert_eq!((&*got["mm/luo.rs"], &*got["mm/shmem.c"]), ("rust", "ours"));
        assert_eq!(contents(&world.source.dir), before);

        let tree = world.prepare(&[]);
        assert_eq!(contents(&tree.dir), before);
    }
}

#[test]
fn only_what_changed_is_written() {
    let world = World::new(Owner::Cache);
    let tree = world.prepare(&[EDIT, ("mm/luo.rs", "rust"), ("mm/abi.rs", "abi")]);
    let before = ["mm/Makefile", "mm/luo.rs", "mm/abi.rs"].map(|p| modified(&tree, p));
    let tree = world.prepare(&[EDIT, ("mm/luo.rs", "RUST"), ("mm/abi.rs", "abi")]);
    let after = ["mm/Makefile", "mm/luo.rs", "mm/abi.rs"].map(|p| modified(&tree, p));
    assert_eq!((before[0], before[2]), (after[0], after[2]));
    assert_ne!(before[1], after[1]);
}

#[test]
fn a_file_that_returns_to_the_source_is_newer_than_what_was_built_from_the_edited_one() {
    let world = World::new(Owner::Cache);
    let tree = world.prepare(&[("mm/shmem.c", "ours")]);
    let edited = modified(&tree, "mm/shmem.c");
    assert!(modified(&world.prepare(&[]), "mm/shmem.c") > edited);
}

#[test]
fn the_users_later_edits_arrive_and_build_products_do_not() {
    let world = World::new(Owner::User);
    world.write("mm/shmem.o", "object");
    world.write(".config", "CONFIG_SMP=y");
    world.write("include/config/auto.conf", "CONFIG_SMP=y");
    let tree = world.prepare(&[("mm/luo.rs", "rust")]);
    for product in ["mm/shmem.o", ".config", "include/config"] {
        assert!(!tree.dir.join(product).exists());
    }

    world.write("mm/shmem.c", "edited\n");
    world.write("mm/new.c", "new");
    fs::remove_file(world.source.dir.join("mm/Makefile")).unwrap();
    let got = contents(&world.prepare(&[("mm/luo.rs", "rust")]).dir);
    assert_eq!(got["mm/shmem.c"], "edited\n");
    assert_eq!((&*got["mm/new.c"], &*got["mm/luo.rs"]), ("new", "rust"));
    assert!(!got.contains_key("mm/Makefile"));
}
