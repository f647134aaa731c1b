// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The cases: a changed field each, then flipped bits. The same seed gives the same cases.

use super::{
    field::{Concern, Field, Kind, Says, Structure},
    handover::Handover,
    memory::PAGE,
    random::Random,
    value,
};
use crate::machine::snapshot::Patch;

/// A way to corrupt a handover.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// Stays the same from run to run.
    pub name: String,
    pub structure: Structure,
    pub patches: Vec<Patch>,
    pub concern: Concern,
    /// What may be seen of it, and with which value.
    pub says: Vec<(Says, u64)>,
    /// Where a memfd's memory was named, other memory of the handover is.
    pub names_anothers: bool,
}

/// The handover as it is: if it does not come out whole, the test bed is broken.
pub(super) fn unchanged(structure: Structure) -> Case {
    Case {
        name: format!("{}/unchanged", structure.name()),
        structure,
        patches: Vec::new(),
        concern: Concern::nobody(),
        says: Vec::new(),
        names_anothers: false,
    }
}

/// Every field with every hostile value.
pub(super) fn enumerated(handover: &Handover) -> Vec<Case> {
    let fields = handover.fields.iter().filter(|field| field.enumerated);
    fields
        .flat_map(|field| {
            value::hostile(field, handover)
                .into_iter()
                .map(|value| Case {
                    name: format!("{}/{}/{}", field.structure.name(), field.name, value.name),
                    ..changed(field, handover, value.bytes, value.concern)
                })
        })
        .collect()
}

/// So many cases of one to four flipped bits in one field of any structure.
pub(super) fn flips(handover: &Handover, count: usize, seed: u64) -> Vec<Case> {
    (0..count)
        .filter_map(|number| {
            let mut random = Random::new(seed ^ (number as u64) << 32);
            // A structure first: most fields are those of the many folios.
            let structure = random.of(&Structure::ALL)?;
            let fields: Vec<_> = handover
                .fields
                .iter()
                .filter(|field| field.structure == *structure)
                .collect();
            let field = random.of(&fields)?;
            let mut bytes = field.bytes.clone();
            for _ in 0..1 + random.below(4) {
                let bit = random.below(8 * bytes.len() as u64) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            if bytes == field.bytes {
                bytes[0] ^= 1;
            }
            Some(Case {
                name: format!("flip-{number}/{}/{}", structure.name(), field.name),
                ..changed(field, handover, bytes, Concern::nobody())
            })
        })
        .collect()
}

fn changed(field: &Field, handover: &Handover, bytes: Vec<u8>, mut concern: Concern) -> Case {
    let changed = Field {
        bytes: bytes.clone(),
        ..field.clone()
    };
    let number = changed.number();
    concern.add(&field.concern);
    let owner = match field.kind {
        Kind::Address => handover.owner(number),
        Kind::Frame => handover.owner(frame(number) * PAGE),
        Kind::Name => handover.who_is_called(&bytes),
        _ => Concern::nobody(),
    };
    concern.add(&owner);
    let names_anothers = field.structure == Structure::Memfd
        && matches!(field.kind, Kind::Address | Kind::Frame)
        && owner != Concern::nobody();
    // A file of another handler shows by its kind alone.
    let shown = if field.kind == Kind::Handler {
        1
    } else {
        number
    };
    Case {
        name: String::new(),
        structure: field.structure,
        patches: vec![Patch {
            physical: field.at,
            bytes,
        }],
        concern,
        says: field
            .says
            .iter()
            .filter(|_| field.kind != Kind::Frame || frame(number) == frame(field.number()))
            .map(|says| (says.clone(), shown))
            .collect(),
        names_anothers,
    }
}

/// The number of the page, of a word that has flags in its upper bits.
fn frame(word: u64) -> u64 {
    word & ((1 << 52) - 1)
}

/// So many of the cases, from all structures alike; in the order of the cases. Whether a case is among them depends on its name
/// more than on what other cases there are: at other addresses some values coincide.
pub(super) fn sample(cases: Vec<Case>, count: usize, seed: u64) -> Vec<Case> {
    let mut groups: Vec<Vec<(usize, Case)>> = Structure::ALL.map(|_| Vec::new()).into();
    for (number, case) in cases.into_iter().enumerate() {
        let group = Structure::ALL.iter().position(|it| *it == case.structure);
        groups[group.unwrap_or_default()].push((number, case));
    }
    for group in &mut groups {
        // The next to be chosen is the last.
        group.sort_by_cached_key(|(_, case)| Random::of_text(seed, &case.name).next());
    }
    let mut chosen = Vec::new();
    while chosen.len() < count && groups.iter().any(|group| !group.is_empty()) {
        let left = count - chosen.len();
        chosen.extend(groups.iter_mut().filter_map(Vec::pop).take(left));
    }
    chosen.sort_by_key(|(number, _)| *number);
    chosen.into_iter().map(|(_, case)| case).collect()
}
