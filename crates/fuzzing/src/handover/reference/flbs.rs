// SPDX-License-Identifier: GPL-2.0-only

//! The FLBs of the previous kernel.

use super::number;
use crate::{
    handover::layout::Bytes,
    keeper::{self, Event},
};
use kernel::prelude::*;
use luo_simulation::ENODATA;
use std::collections::BTreeSet;

/// All of them.
pub(super) enum Flbs {
    None,
    Broken,
    Some(Vec<Flb>),
}

/// One of them.
pub(super) struct Flb {
    name: [u8; 48],
    data: u64,
    files: u64,
    refs: u64,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Retrieved,
    Failed,
    Finished,
}

impl Flbs {
    /// What is in their page; `None` if it is broken.
    pub(super) fn read(page: &Bytes) -> Option<Self> {
        let count = usize::try_from(number(page, 8))
            .ok()
            .filter(|it| *it <= 63)?;
        let read = |entry: &[u8]| Flb {
            name: entry[..48].try_into().unwrap(),
            data: number(entry, 48),
            files: number(entry, 56),
            refs: 0,
            stage: Stage::Waiting,
        };
        let flbs: Vec<_> = page[16..].chunks_exact(64).take(count).map(read).collect();
        let names: BTreeSet<_> = flbs.iter().map(|it| it.name).collect();
        let sound = |it: &Flb| it.name[0] != 0 && it.name.contains(&0) && it.files != 0;
        let all_sound = flbs.iter().all(sound) && names.len() == count;
        (number(page, 0) == 1 && all_sound).then_some(Self::Some(flbs))
    }

    fn find(&mut self, number: usize) -> Result<&mut Flb> {
        let name = keeper::FLBS[number].as_bytes();
        let is_it = |it: &&mut Flb| {
            let (start, rest) = it.name.split_at(name.len());
            start == name && rest.iter().all(|it| *it == 0)
        };
        match self {
            Self::None => Err(ENODATA),
            Self::Broken => Err(EIO),
            Self::Some(flbs) => flbs.iter_mut().find(is_it).ok_or(ENOENT),
        }
    }

    /// Ends the use that a file made of an FLB.
    pub(super) fn file_finished(&mut self, number: usize, calls: &mut Vec<Event>) {
        let Ok(flb) = self.find(number) else {
            return;
        };
        if flb.files == 0 {
            return;
        }
        flb.files -= 1;
        if flb.files == 0 && flb.refs == 0 {
            let _ = flb.retrieve(number, calls);
        }
        flb.finish_if_unused(number, calls);
    }

    pub(super) fn borrow(&mut self, number: usize, calls: &mut Vec<Event>) -> Result {
        let flb = self.find(number)?;
        flb.retrieve(number, calls)?;
        flb.refs += 1;
        Ok(())
    }

    pub(super) fn give_back(&mut self, number: usize, calls: &mut Vec<Event>) -> Result {
        let flb = self.find(number)?;
        if flb.refs > 0 {
            flb.refs -= 1;
            flb.finish_if_unused(number, calls);
        }
        Ok(())
    }
}

impl Flb {
    fn retrieve(&mut self, number: usize, calls: &mut Vec<Event>) -> Result {
        if self.stage == Stage::Waiting {
            calls.push(Event::FlbRetrieve(number, self.data));
            self.stage = if self.data == keeper::flb_data(number) {
                Stage::Retrieved
            } else {
                Stage::Failed
            };
        }
        match self.stage {
            Stage::Retrieved => Ok(()),
            Stage::Finished => Err(ENODATA),
            _ => Err(EINVAL),
        }
    }

    fn finish_if_unused(&mut self, number: usize, calls: &mut Vec<Event>) {
        if self.files == 0 && self.refs == 0 && self.stage == Stage::Retrieved {
            calls.push(Event::FlbFinish(number, self.data));
            self.stage = Stage::Finished;
        }
    }
}
