// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Data that several files share: preserved with the first file, finished with the last. References keep the object, too, and
//! are not handed over.

use super::{Oracle, Outgoing};
use crate::{Answer, Callback, Errno, Flb, Outcome};

/// How far the incoming life of an FLB has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Retrieved,
    /// For good.
    Failed,
    Finished,
}

#[derive(Clone, Copy, Debug)]
struct Incoming {
    stage: Stage,
    nr_files: usize,
    nr_refs: usize,
}

/// Both lives of an FLB. Which files keep the outgoing one is known from the sessions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FlbLife {
    nr_outgoing_refs: usize,
    incoming: Option<Incoming>,
}

impl FlbLife {
    /// In a kernel that gets so many files that depend on it.
    pub(super) fn restored(nr_files: usize) -> Self {
        let incoming = Incoming {
            stage: Stage::Waiting,
            nr_files,
            nr_refs: 0,
        };
        Self {
            nr_outgoing_refs: 0,
            incoming: (nr_files > 0).then_some(incoming),
        }
    }
}

impl Oracle {
    fn flb(&mut self, flb: Flb) -> &mut FlbLife {
        &mut self.flbs[usize::from(flb.0)]
    }

    /// How many files depend on it that are preserved or passed on.
    pub(super) fn nr_files_of(&self, flb: Flb) -> usize {
        let memfds = self.outgoing.iter().flat_map(Outgoing::memfds);
        let passed_on = self.passed_on().flat_map(super::Incoming::memfds);
        memfds
            .chain(passed_on)
            .filter(|it| flb.is_linked_to(it.handler))
            .count()
    }

    /// Whether what the previous kernel kept of it was not taken over.
    pub(super) fn waits(&self, flb: Flb) -> bool {
        let incoming = self.flbs[usize::from(flb.0)].incoming;
        incoming.is_some_and(|it| matches!(it.stage, Stage::Waiting | Stage::Failed))
    }

    /// Whether it is preserved.
    pub(super) fn is_kept(&self, flb: Flb) -> bool {
        self.nr_files_of(flb) + self.flbs[usize::from(flb.0)].nr_outgoing_refs > 0
    }

    /// In how many lives its module is in use.
    pub(super) fn nr_lives_held(&self, flb: Flb) -> usize {
        let incoming = self.flbs[usize::from(flb.0)].incoming;
        let is_retrieved = incoming.is_some_and(|it| it.stage == Stage::Retrieved);
        usize::from(self.is_kept(flb)) + usize::from(is_retrieved)
    }

    /// Whether its incoming life is over.
    pub(super) fn is_finished(&self, flb: Flb) -> bool {
        let incoming = self.flbs[usize::from(flb.0)].incoming;
        incoming.is_some_and(|it| it.stage == Stage::Finished)
    }

    pub(super) fn borrow_outgoing(&mut self, flb: Flb) -> Outcome {
        if !self.is_kept(flb) {
            return Err(Errno::ENOENT);
        }
        self.flb(flb).nr_outgoing_refs += 1;
        Ok(Answer::Done)
    }

    pub(super) fn give_back_outgoing(&mut self, flb: Flb) -> Outcome {
        let refs = &mut self.flb(flb).nr_outgoing_refs;
        *refs = refs.saturating_sub(1);
        Ok(Answer::Done)
    }

    pub(super) fn borrow_incoming(&mut self, flb: Flb) -> Outcome {
        if !self.is_live_updated {
            return Err(Errno::ENODATA);
        }
        let retrieved = self.call(Callback::FlbRetrieve(flb));
        let life = self.flb(flb).incoming.as_mut().ok_or(Errno::ENOENT)?;
        if life.stage == Stage::Waiting {
            life.stage = retrieved.map_or(Stage::Failed, |()| Stage::Retrieved);
        }
        match life.stage {
            Stage::Failed => Err(Errno::EDOM),
            Stage::Finished => Err(Errno::ENODATA),
            Stage::Waiting | Stage::Retrieved => {
                life.nr_refs += 1;
                Ok(Answer::Done)
            }
        }
    }

    pub(super) fn give_back_incoming(&mut self, flb: Flb) -> Outcome {
        if let Some(life) = &mut self.flb(flb).incoming {
            life.nr_refs = life.nr_refs.saturating_sub(1);
        }
        self.finish_if_unused(flb);
        Ok(Answer::Done)
    }

    /// With the last file an FLB is finished, even if nobody ever asked for its object.
    pub(super) fn file_finished(&mut self, flb: Flb) {
        let retrieved = self.call(Callback::FlbRetrieve(flb));
        if let Some(life) = &mut self.flb(flb).incoming {
            life.nr_files -= 1;
            if life.nr_files + life.nr_refs == 0 && life.stage == Stage::Waiting {
                life.stage = retrieved.map_or(Stage::Failed, |()| Stage::Retrieved);
            }
        }
        self.finish_if_unused(flb);
    }

    fn finish_if_unused(&mut self, flb: Flb) {
        if let Some(life) = &mut self.flb(flb).incoming
            && life.nr_files + life.nr_refs == 0
            && life.stage == Stage::Retrieved
        {
            life.stage = Stage::Finished;
        }
    }
}
