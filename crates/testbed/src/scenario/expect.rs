// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What an operation has to give.

use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, bail, ensure};
use luo_guest::proto::{Exit, Outcome, Reply};

/// What an operation has to give.
#[derive(Debug, Clone)]
pub enum Expect {
    /// It succeeds.
    Success,
    /// It fails with this errno.
    Errno(i32),
    /// It gives a text with all these parts.
    Text(Vec<&'static str>),
    /// It gives exactly this text.
    Exactly(&'static str),
    /// It gives a text that ends with this.
    Ending(String),
    /// It gives these bytes, but for white space at their end; shown as text.
    Contents(&'static str),
    /// It gives exactly these bytes.
    Bytes(Vec<u8>),
    /// It gives a number in this range, as text.
    Number(RangeInclusive<u64>),
    /// Somebody has counted so far, or further.
    CountedAtLeast(u64),
    /// The memfd is as it should be, and has exactly so many bytes of memory.
    Allocated(u64),
    /// It takes at most so many KiB of memory, also for a while.
    TakesKib(u64),
    /// The program exits with 0, and its standard output has all these parts and none of the words of a failed test.
    Passed(Vec<&'static str>),
    /// The forked process did each operation as expected.
    Child(Vec<Expect>),
    /// The forked process hangs in the operation after these.
    ChildHangs(Vec<Expect>),
}

impl Expect {
    /// Compares.
    ///
    /// # Errors
    /// Says what was wanted and what came.
    pub fn check(&self, outcome: &Outcome) -> Result<()> {
        match (self, outcome) {
            (Self::Success, Ok(_)) => Ok(()),
            (Self::Errno(wanted), Err(failure)) => {
                ensure!(
                    failure.errno == *wanted,
                    "failed with errno {}, not {wanted}: {}",
                    failure.errno,
                    failure.message
                );
                Ok(())
            }
            (Self::Errno(wanted), Ok(reply)) => {
                bail!("succeeded ({reply:?}) instead of failing with errno {wanted}")
            }
            (_, Err(failure)) => bail!("failed with errno {}: {}", failure.errno, failure.message),
            (Self::Text(parts), Ok(Reply::Text(text))) => contains_all(text, parts),
            (Self::Text(parts), Ok(Reply::Bytes(bytes))) => {
                contains_all(&String::from_utf8_lossy(bytes), parts)
            }
            (Self::Exactly(wanted), Ok(Reply::Text(text))) => {
                ensure!(text == wanted, "gave {text:?} instead of {wanted:?}");
                Ok(())
            }
            (Self::Ending(wanted), Ok(Reply::Text(text))) => {
                ensure!(
                    text.ends_with(wanted),
                    "gave {text:?}, which does not end with {wanted:?}"
                );
                Ok(())
            }
            (Self::Contents(wanted), Ok(Reply::Bytes(bytes))) => {
                let found = String::from_utf8_lossy(bytes);
                ensure!(
                    found.trim_end() == *wanted,
                    "holds {:?} instead of {wanted:?}",
                    found.trim_end()
                );
                Ok(())
            }
            (Self::Bytes(wanted), Ok(Reply::Bytes(bytes))) => {
                ensure!(bytes == wanted, "gave {bytes:x?} instead of {wanted:x?}");
                Ok(())
            }
            (Self::Number(wanted), Ok(Reply::Bytes(bytes))) => {
                let text = String::from_utf8_lossy(bytes);
                let number: u64 = text.trim_end().parse().with_context(|| text.into_owned())?;
                ensure!(wanted.contains(&number), "{number} is not in {wanted:?}");
                Ok(())
            }
            (
                Self::Allocated(wanted),
                Ok(Reply::Verified {
                    allocated_bytes, ..
                }),
            ) => {
                ensure!(
                    allocated_bytes == wanted,
                    "has {allocated_bytes} bytes of memory, not {wanted}"
                );
                Ok(())
            }
            (Self::CountedAtLeast(least), Ok(Reply::Counted(number))) => {
                ensure!(number >= least, "counted to {number}, not {least}");
                Ok(())
            }
            (Self::TakesKib(most), Ok(Reply::MemoryUse(usage))) => {
                let taken = usage.before_kib.saturating_sub(usage.lowest_kib);
                ensure!(taken <= *most, "takes {taken} KiB of memory, not {most}");
                Ok(())
            }
            (
                Self::Passed(parts),
                Ok(Reply::Exec {
                    end,
                    stdout,
                    stderr,
                }),
            ) => {
                ensure!(
                    *end == Exit::Code(0),
                    "ended with {end:?}\n{stdout}{stderr}"
                );
                ensure!(
                    !stdout.lines().any(|line| line.starts_with("not ok")),
                    "a test failed\n{stdout}"
                );
                contains_all(stdout, parts)
            }
            (Self::Child(wanted), Ok(Reply::Child { outcomes, .. })) => {
                ensure!(
                    outcomes.len() == wanted.len(),
                    "the child did {} of {} operations",
                    outcomes.len(),
                    wanted.len()
                );
                wanted
                    .iter()
                    .zip(outcomes)
                    .try_for_each(|(wanted, outcome)| wanted.check(outcome))
            }
            (Self::ChildHangs(before), Ok(Reply::Child { outcomes, end, .. })) => {
                ensure!(
                    end.is_none() && outcomes.len() == before.len(),
                    "the child did not hang: {outcomes:?}, {end:?}"
                );
                before
                    .iter()
                    .zip(outcomes)
                    .try_for_each(|(wanted, outcome)| wanted.check(outcome))
            }
            (wanted, Ok(reply)) => bail!("gave {reply:?}, which is not {wanted:?}"),
        }
    }
}

/// How many tests of an upstream program (KTAP lines) passed.
pub(super) fn passed_subtests(outcome: &Outcome) -> usize {
    match outcome {
        Ok(Reply::Exec { stdout, .. }) => stdout
            .lines()
            .filter(|line| line.starts_with("ok "))
            .count(),
        _ => 0,
    }
}

fn contains_all(text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(text.contains(part), "\"{part}\" is not in\n{text}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use luo_guest::proto::Failure;

    fn failure(errno: i32) -> Outcome {
        Err(Failure {
            errno,
            message: "x".into(),
        })
    }

    #[test]
    fn an_errno_must_be_the_one() {
        assert!(Expect::Errno(17).check(&failure(17)).is_ok());
        assert!(Expect::Errno(17).check(&failure(16)).is_err());
        assert!(Expect::Errno(17).check(&Ok(Reply::Done)).is_err());
        assert!(Expect::Success.check(&failure(17)).is_err());
    }

    #[test]
    fn a_failed_subtest_fails_though_the_program_exits_well() {
        let exec = |stdout: &str| {
            Ok(Reply::Exec {
                end: Exit::Code(0),
                stdout: stdout.into(),
                stderr: String::new(),
            })
        };
        let passed = Expect::Passed(vec!["# Totals"]);
        assert!(passed.check(&exec("ok 1 a\n# Totals: pass:1")).is_ok());
        assert!(passed.check(&exec("not ok 1 a\n# Totals: pass:0")).is_err());
        assert!(passed.check(&exec("ok 1 a\n")).is_err());
    }

    #[test]
    fn a_child_that_ended_did_not_hang() {
        let child = |outcomes, end| {
            Ok(Reply::Child {
                pid: 5,
                outcomes,
                end,
            })
        };
        let hangs = Expect::ChildHangs(vec![Expect::Success]);
        assert!(hangs.check(&child(vec![Ok(Reply::Done)], None)).is_ok());
        assert!(
            hangs
                .check(&child(vec![Ok(Reply::Done)], Some(Exit::Code(0))))
                .is_err()
        );
        assert!(hangs.check(&child(vec![], None)).is_err());
    }
}
