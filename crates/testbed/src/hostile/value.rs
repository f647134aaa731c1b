// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Hostile values, by what a field means.

use super::{
    field::{Concern, Field, Kind},
    handover::Handover,
    memory::PAGE,
};

/// Where the kernel itself is, without randomness: text, and the data behind it.
const KERNEL: u64 = 16 << 20;
/// Devices, below 4 GiB.
const DEVICES: u64 = 0xfee0_0000;

/// A value to put into a field.
#[derive(Debug)]
pub(super) struct Value {
    pub name: String,
    pub bytes: Vec<u8>,
    /// Who is concerned besides those whose field it is.
    pub concern: Concern,
}

/// All values to try in a field, but for its own.
pub(super) fn hostile(field: &Field, handover: &Handover) -> Vec<Value> {
    let mut values = match field.kind {
        Kind::Address => addresses(field, handover),
        Kind::Frame => frames(field, handover),
        Kind::Count(most) => numbers(field, &counts(field.number(), most)),
        Kind::Number => numbers(field, &any_number(field.number())),
        Kind::Name => names(field, handover),
        Kind::Handler => texts(field, &["memfd-v2", "luo-probe-v1"]),
        Kind::Flb => texts(field, &["luo-probe-flb-v1"]),
        Kind::Version => texts(field, &["luo-v4", "luo-v6"]),
    };
    let mut seen = vec![field.bytes.clone()];
    values.retain(|value| {
        let is_new = !seen.contains(&value.bytes);
        seen.push(value.bytes.clone());
        is_new
    });
    values
}

fn numbers(field: &Field, values: &[(&str, u64)]) -> Vec<Value> {
    let length = field.bytes.len();
    let value = |&(name, number): &(&str, u64)| Value {
        name: name.into(),
        bytes: number.to_le_bytes()[..length].to_vec(),
        concern: Concern::nobody(),
    };
    values.iter().map(value).collect()
}

fn any_number(old: u64) -> Vec<(&'static str, u64)> {
    vec![
        ("0", 0),
        ("1", 1),
        ("one-more", old.wrapping_add(1)),
        ("one-less", old.wrapping_sub(1)),
        ("inverted", !old),
        ("low-bit-31", old ^ 1 << 31),
        ("negative", 1 << 63),
        ("max-positive", i64::MAX as u64),
        ("max", u64::MAX),
        ("kernel-address", KERNEL),
    ]
}

fn counts(old: u64, most: u64) -> Vec<(&'static str, u64)> {
    let mut counts = any_number(old);
    counts.extend([
        ("all", most),
        ("too-many", most.wrapping_add(1)),
        ("65536", 1 << 16),
        ("2^32", 1 << 32),
        ("2^32-more", old.wrapping_add(1 << 32)),
        ("times-8-is-small", (1 << 61) + 1),
        ("times-64-is-small", (1 << 58) + 1),
    ]);
    counts
}

/// Addresses that are nothing, or nothing good, and the landmarks of the handover.
fn places(old: u64, handover: &Handover) -> Vec<(String, u64)> {
    let end = handover.memory_end;
    let mut places: Vec<(String, u64)> = [
        ("0", 0),
        ("1", 1),
        ("page-1", PAGE),
        ("unaligned-1", old.wrapping_add(1)),
        ("unaligned-8", old.wrapping_add(8)),
        ("half-a-page-on", old.wrapping_add(PAGE / 2)),
        ("next-page", old.wrapping_add(PAGE)),
        ("page-before", old.wrapping_sub(PAGE)),
        ("kernel-text", KERNEL),
        ("kernel-data", KERNEL + (16 << 20)),
        ("unused", handover.unused),
        ("last-page", end - PAGE),
        ("end-of-memory", end),
        ("beyond-memory", end * 3),
        ("devices", DEVICES),
        ("2^52", 1 << 52),
        ("2^46", 1 << 46),
        ("virtual", 0xffff_8880_0000_0000 + old),
        ("negative", 1 << 63),
        ("last-aligned", !(PAGE - 1)),
        ("max", u64::MAX),
    ]
    .map(|(name, at)| (name.into(), at))
    .into();
    let landmarks = handover.pages.iter().filter(|page| page.is_landmark);
    places.extend(landmarks.map(|page| (format!("to:{}", page.name), page.at)));
    places
}

fn addresses(field: &Field, handover: &Handover) -> Vec<Value> {
    let own = field.at / PAGE * PAGE;
    let places = places(field.number(), handover).into_iter();
    places
        .chain([("own-page".into(), own)])
        .map(|(name, at)| Value {
            name,
            bytes: at.to_le_bytes().into(),
            concern: handover.owner(at),
        })
        .collect()
}

/// Bits 0 to 51 are a page's number, the others flags.
fn frames(field: &Field, handover: &Handover) -> Vec<Value> {
    const FLAGS: u64 = !0 << 52;
    let old = field.number();
    let address = (old & !FLAGS) * PAGE;
    let places = places(address, handover).into_iter();
    let frames = places.filter(|(_, at)| at % PAGE == 0).map(|(name, at)| {
        let frame = (old & FLAGS) | ((at / PAGE) & !FLAGS);
        (name, frame, handover.owner(at))
    });
    let others = [
        ("no-flags".into(), old & !FLAGS, Concern::nobody()),
        ("all-flags".into(), old | FLAGS, Concern::nobody()),
        ("zero".into(), 0, Concern::nobody()),
    ];
    frames
        .chain(others)
        .map(|(name, frame, concern)| Value {
            name,
            bytes: frame.to_le_bytes().into(),
            concern,
        })
        .collect()
}

/// Strings, each in a field that it fills with NULs.
fn texts(field: &Field, others: &[&str]) -> Vec<Value> {
    let length = field.bytes.len();
    let filled = |text: &[u8]| {
        let mut bytes = text[..text.len().min(length)].to_vec();
        bytes.resize(length, 0);
        bytes
    };
    let end = field
        .bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(length);
    let changed = |at: usize, byte: u8| {
        let mut bytes = field.bytes.clone();
        bytes[at] = byte;
        bytes
    };
    let mut values = vec![
        ("empty".into(), filled(b"")),
        ("nul-first".into(), changed(0, 0)),
        ("unterminated".into(), vec![b'A'; length]),
        ("terminated-late".into(), filled(&vec![b'A'; length - 1])),
        ("bytes-ff".into(), vec![0xff; length]),
        ("format".into(), filled(b"%s%s%n%p%99999d")),
        ("one-bit".into(), changed(0, field.bytes[0] ^ 1)),
        ("shorter".into(), changed(end.saturating_sub(1), 0)),
        ("longer".into(), changed(end.min(length - 1), b'x')),
        ("junk-behind".into(), changed(length - 1, b'x')),
        ("control".into(), filled(b"\n\x1b[2J\x07")),
        ("not-utf8".into(), filled(b"\xc3\x28\xff")),
    ];
    values.extend(
        others
            .iter()
            .map(|text| (format!("is:{text}"), filled(text.as_bytes()))),
    );
    values
        .into_iter()
        .map(|(name, bytes)| Value {
            name,
            bytes,
            concern: Concern::nobody(),
        })
        .collect()
}

/// Also the names of two other sessions, which are concerned then.
fn names(field: &Field, handover: &Handover) -> Vec<Value> {
    let mut values = texts(field, &["no such session"]);
    let names: Vec<_> = handover
        .fields
        .iter()
        .filter(|it| it.kind == Kind::Name && it.enumerated)
        .collect();
    let ends = [names.first(), names.last()].into_iter().flatten();
    values.extend(ends.map(|other| Value {
        name: format!("is:{}", other.name),
        bytes: other.bytes.clone(),
        concern: other.concern.clone(),
    }));
    values
}
