// SPDX-License-Identifier: GPL-2.0-only

//! The life of an incoming session.
//!
//! ```text
//!            retrieve            deliver
//! available ----------> offered ---------> checked out --- finish ---> finished
//!   ^  |  ^                |                 |      \                     ^
//!   |  |  '--- close ------'                 |       '-- close, all ------'
//!   |  |                                     |           files fetched
//!   |  '-- break --> broken                  |
//!   '------------- close, files unfetched ---'
//! ```
//!
//! *Offered* is the time between the choice of the session and the moment the caller has a
//! descriptor for it: whatever goes wrong there must not count as having fetched anything.

/// The state of an incoming session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Nobody has it.
    Available,
    /// A caller is about to get a descriptor.
    Offered,
    /// A descriptor of it is open.
    CheckedOut,
    /// Its files are gone, to user space or for good.
    Finished,
    /// What the previous kernel wrote about it cannot be used. Its memory stays preserved.
    Broken,
}

/// What happens to an incoming session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// RETRIEVE_SESSION names it.
    Retrieve,
    /// The caller has its descriptor.
    Deliver,
    /// All files were finished: by FINISH, or by a close after all were fetched.
    Finish,
    /// The descriptor is closed, and the session not finished.
    CheckIn,
    /// Its data turn out to be unusable.
    Break,
}

impl Phase {
    /// The phase after `event`, or `None` if the event cannot happen or must be refused.
    pub(crate) const fn after(self, event: Event) -> Option<Self> {
        match (self, event) {
            (Self::Available, Event::Retrieve) => Some(Self::Offered),
            (Self::Available, Event::Break) => Some(Self::Broken),
            (Self::Offered, Event::Deliver) => Some(Self::CheckedOut),
            (Self::Offered | Self::CheckedOut, Event::CheckIn) => Some(Self::Available),
            (Self::CheckedOut, Event::Finish) => Some(Self::Finished),
            _ => None,
        }
    }

    /// Whether a kexec would lose something that could still be fetched.
    pub(crate) const fn holds_back_kexec(self) -> bool {
        matches!(self, Self::Available | Self::Offered | Self::CheckedOut)
    }

    /// The word that `fdinfo` shows.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Offered => "offered",
            Self::CheckedOut => "retrieved",
            Self::Finished => "finished",
            Self::Broken => "broken",
        }
    }
}
