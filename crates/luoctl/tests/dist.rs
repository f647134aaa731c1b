// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What is in `dist` fits the programs.

use std::{fs, path::PathBuf};

use luod::{kexec::STATE_DIR, policy::Policy, protocol::SOCKET_PATH};

fn dist(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../dist")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

fn load(text: &str) -> Result<Policy, luod::policy::Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    Policy::load(file.path())
}

#[test]
fn the_policy_is_valid_as_it_comes_and_with_its_examples() {
    let text = dist("policy.toml");
    let policy = load(&text).unwrap();
    assert!(policy.required.is_empty() && !policy.is_operator(54_321));
    // Examples have no blank behind their mark. Their users are not on every host.
    let examples = text.lines().map(|it| match it.strip_prefix('#') {
        Some(example) if !example.starts_with(' ') => example,
        _ => it,
    });
    let examples: String = examples.map(|it| format!("{it}\n")).collect();
    let examples = ["luo-operator", "qemu", "memcached"]
        .into_iter()
        .fold(examples, |text, user| {
            text.replace(&format!("\"{user}\""), "54321")
        });
    let policy = load(&examples).unwrap();
    assert_eq!(policy.required.len(), 2);
    assert!(policy.is_operator(54_321));
    let id = |text| luod::protocol::Id::new(text).unwrap();
    assert!(policy.may_own(54_321, &id("vm-7")) && policy.may_own(54_321, &id("cache")));
    assert!(!policy.may_own(54_321, &id("db")));
}

#[test]
fn the_service_has_its_folder_where_the_programs_look() {
    let unit = dist("luod.service");
    let folder = STATE_DIR.strip_prefix("/run/").unwrap();
    for line in [
        &format!("RuntimeDirectory={folder}"),
        "RuntimeDirectoryPreserve=yes",
        "FileDescriptorStorePreserve=yes",
        "Type=notify",
    ] {
        assert!(unit.lines().any(|it| it == line), "no {line}");
    }
    assert!(SOCKET_PATH.starts_with(STATE_DIR));
    assert!(dist("luod.tmpfiles.conf").contains(&format!("d {STATE_DIR} 0755")));
}
