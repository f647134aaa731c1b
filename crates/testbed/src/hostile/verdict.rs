// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a kernel made of a corrupted handover.

use luo_guest::proto::survey::{Deviation, Difference, Survey};
use serde::Serialize;

use super::{
    case::Case,
    field::{CONTENTS, Structure},
};

/// What a kernel made of a corrupted handover, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every session and every file came back as it was.
    Harmless,
    /// Errors, for those alone whom the corruption concerns; what came back is as it was.
    Contained,
    /// What the corrupted value says came back: a number of a handler's that nobody else can check, or a page of a memfd in
    /// another place, or without contents that count.
    AsWritten,
    /// Memory came back that the previous kernel had preserved for something else, at the address that was written over the right
    /// one: the format does not say whose a page is. It has one owner even so; the other gets an error.
    Anothers,
    /// The kernel stops its boot with the panic that is the rule, on C too, when the root is unusable, or KHO has lost it: devices
    /// may go on writing to memory that nobody knows of.
    Refused,
    /// Otherwise as it should be, but the kernel has printed a warning with a backtrace: KHO does when somebody asks for a
    /// page that is no longer, or never was, preserved.
    Warned,
    /// Sessions are lost that the corruption does not concern, or none can be made for the next kernel.
    Spread,
    /// A file came back that is not what it was.
    WrongData,
    /// The kernel stops, or the agent dies in it.
    Crash,
    /// There is no answer.
    Hang,
}

impl Verdict {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 10] = [
        Self::Harmless,
        Self::Contained,
        Self::AsWritten,
        Self::Anothers,
        Self::Refused,
        Self::Warned,
        Self::Spread,
        Self::WrongData,
        Self::Crash,
        Self::Hang,
    ];

    /// Whether a kernel must not do this.
    pub fn is_bad(self) -> bool {
        self > Self::Warned
    }

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Harmless => "harmless",
            Self::Contained => "contained",
            Self::AsWritten => "as written",
            Self::Anothers => "another's",
            Self::Refused => "refused",
            Self::Warned => "warned",
            Self::Spread => "spread",
            Self::WrongData => "wrong data",
            Self::Crash => "crash",
            Self::Hang => "hang",
        }
    }
}

/// How a machine ended.
#[derive(Debug)]
pub(super) enum End {
    /// The agent has told what it found.
    Told(Survey),
    /// The kernel has ended.
    Died,
    /// Neither.
    Silent,
}

/// Parts of the panics that end a boot without a usable root.
const REFUSALS: [&str; 2] = [
    "luo: devices may still write to memory that is lost",
    "The incoming tree failed to initialize properly",
];

/// Judges how a machine ended that has printed these lines, those of trouble among them apart.
pub(super) fn judge(case: &Case, end: &End, lines: &[String], trouble: &[String]) -> Verdict {
    match end {
        End::Silent => Verdict::Hang,
        End::Died => {
            let refused = lines
                .iter()
                .any(|line| REFUSALS.iter().any(|text| line.contains(text)));
            if refused && (case.structure == Structure::Root || case.structure.is_khos()) {
                Verdict::Refused
            } else {
                Verdict::Crash
            }
        }
        End::Told(survey) => {
            let of_files = survey.deviations.iter().map(|it| deviation(case, it)).max();
            let of_files = of_files.unwrap_or(Verdict::Harmless);
            if trouble.is_empty() {
                of_files
            } else {
                of_files.max(Verdict::Warned)
            }
        }
    }
}

fn deviation(case: &Case, deviation: &Deviation) -> Verdict {
    let within = |is_concerned| {
        if is_concerned {
            Verdict::Contained
        } else {
            Verdict::Spread
        }
    };
    match deviation {
        Deviation::Device { .. } => within(case.concern == super::field::Concern::All),
        Deviation::Flb { .. } => {
            let is_theirs = matches!(case.structure, Structure::FlbPage | Structure::Root);
            within(is_theirs || case.structure.is_khos())
        }
        Deviation::Session { session, .. }
        | Deviation::File { session, .. }
        | Deviation::Finish { session, .. } => within(case.concern.includes(*session)),
        Deviation::Differs {
            session,
            token,
            difference,
        }
        | Deviation::Changed {
            session,
            token,
            difference,
        } => {
            if says(case, *session, *token, difference) {
                Verdict::AsWritten
            } else if case.names_anothers {
                Verdict::Anothers
            } else {
                Verdict::WrongData
            }
        }
        Deviation::Outgoing { .. } => Verdict::Spread,
    }
}

/// Whether a difference is the corrupted value itself.
fn says(case: &Case, session: usize, token: u64, difference: &Difference) -> bool {
    case.says.iter().any(|(says, value)| {
        let is_it = match says.what {
            CONTENTS => difference.what.starts_with("byte "),
            what => what == difference.what && *value == difference.found,
        };
        says.session == session && says.token == token && is_it
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::field::{Concern, Says};

    fn case(structure: Structure, concern: Concern) -> Case {
        let says = Says {
            session: 2,
            token: 7,
            what: "value",
        };
        Case {
            name: "x".into(),
            structure,
            patches: Vec::new(),
            concern,
            says: vec![(says, 99)],
            names_anothers: false,
        }
    }

    fn told(deviation: Deviation) -> End {
        End::Told(Survey {
            deviations: vec![deviation],
        })
    }

    fn judged(case: &Case, end: &End) -> Verdict {
        judge(case, end, &[], &[])
    }

    #[test]
    fn what_concerns_others_has_spread() {
        let case = case(Structure::File, Concern::of(2));
        let lost = |session| told(Deviation::Session { session, errno: 5 });
        assert_eq!(judged(&case, &lost(2)), Verdict::Contained);
        assert_eq!(judged(&case, &lost(3)), Verdict::Spread);
        let device = told(Deviation::Device { errno: 5 });
        assert_eq!(judged(&case, &device), Verdict::Spread);
    }

    #[test]
    fn only_the_corrupted_value_itself_may_come_back() {
        let case = case(Structure::ProbeData, Concern::of(2));
        let differs = |found| {
            told(Deviation::Differs {
                session: 2,
                token: 7,
                difference: Difference::new("value", found, 1),
            })
        };
        assert_eq!(judged(&case, &differs(99)), Verdict::AsWritten);
        assert_eq!(judged(&case, &differs(98)), Verdict::WrongData);
    }

    #[test]
    fn anothers_memory_is_wrong_where_no_address_was_changed() {
        let differs = told(Deviation::Differs {
            session: 2,
            token: 7,
            difference: Difference::new("content", 0, 1),
        });
        let number = case(Structure::Memfd, Concern::of(2));
        assert_eq!(judged(&number, &differs), Verdict::WrongData);
        let address = Case {
            names_anothers: true,
            ..number
        };
        assert_eq!(judged(&address, &differs), Verdict::Anothers);
        let spread = told(Deviation::Session {
            session: 3,
            errno: 5,
        });
        assert_eq!(judged(&address, &spread), Verdict::Spread);
    }

    #[test]
    fn a_panic_is_a_refusal_for_the_root_alone() {
        let panic = [format!("Kernel panic - not syncing: {}", REFUSALS[0])];
        let root = case(Structure::Root, Concern::All);
        let file = case(Structure::File, Concern::of(2));
        assert_eq!(judge(&root, &End::Died, &panic, &panic), Verdict::Refused);
        assert_eq!(judge(&file, &End::Died, &panic, &panic), Verdict::Crash);
        assert_eq!(judge(&root, &End::Died, &[], &[]), Verdict::Crash);
    }

    #[test]
    fn a_warning_is_no_excuse_for_worse() {
        let case = case(Structure::File, Concern::of(2));
        let warning = ["WARNING: x".to_owned()];
        let well = End::Told(Survey::default());
        assert_eq!(judge(&case, &well, &warning, &warning), Verdict::Warned);
        let lost = told(Deviation::Session {
            session: 3,
            errno: 5,
        });
        assert_eq!(judge(&case, &lost, &warning, &warning), Verdict::Spread);
    }
}
