// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Moments on both sides of a kexec.
//!
//! No clock of Linux goes on over one: a new kernel starts at zero, and takes the date from a clock that counts seconds. The
//! processor's own counter does. Where there is none the date has to do, and phases are known to a second.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The processor's counter.
    pub ticks: Option<u64>,
    /// Since this kernel's clock was started.
    pub uptime_ns: u64,
    /// Since 1970.
    pub date_ns: u64,
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let time = Duration::try_from(time).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(target_arch = "x86_64")]
fn ticks() -> Option<u64> {
    // SAFETY: the instruction reads a counter and nothing else. Linux leaves it allowed in user space.
    Some(unsafe { core::arch::x86_64::_rdtsc() })
}

#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> Option<u64> {
    None
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self {
            ticks: ticks(),
            uptime_ns: nanoseconds(ClockId::Boottime),
            date_ns: nanoseconds(ClockId::Realtime),
        }
    }
}

/// Puts moments of two kernels on one line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    ticks_per_ns: Option<f64>,
}

impl Scale {
    /// From two moments of one kernel, the farther apart the better.
    pub fn new(earlier: &Moment, later: &Moment) -> Self {
        let ns = later.uptime_ns.saturating_sub(earlier.uptime_ns);
        let ticks = later
            .ticks
            .zip(earlier.ticks)
            .and_then(|(b, a)| b.checked_sub(a));
        let rate = ticks
            .filter(|_| ns > 0)
            .map(|ticks| ticks as f64 / ns as f64);
        Self {
            ticks_per_ns: rate.filter(|it| *it > 0.0),
        }
    }

    /// From one to the other, in milliseconds; never negative.
    pub fn ms(&self, from: &Moment, to: &Moment) -> f64 {
        let ticks = to.ticks.zip(from.ticks).and_then(|(b, a)| b.checked_sub(a));
        let ns = match (self.ticks_per_ns, ticks) {
            (Some(rate), Some(ticks)) => ticks as f64 / rate,
            _ => to.date_ns.saturating_sub(from.date_ns) as f64,
        };
        ns / 1e6
    }

    /// When the clock of this kernel was started, of which `now` is a moment.
    pub fn boot(&self, now: &Moment) -> Moment {
        let ticks = self
            .ticks_per_ns
            .map(|rate| (now.uptime_ns as f64 * rate) as u64);
        Moment {
            ticks: now
                .ticks
                .zip(ticks)
                .and_then(|(now, since)| now.checked_sub(since)),
            uptime_ns: 0,
            date_ns: now.date_ns.saturating_sub(now.uptime_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ticks: Option<u64>, uptime_ns: u64, date_ns: u64) -> Moment {
        Moment {
            ticks,
            uptime_ns,
            date_ns,
        }
    }

    #[test]
    fn the_counter_goes_on_where_the_clock_starts_anew() {
        let (a, b) = (at(Some(1_000), 500, 0), at(Some(3_000), 1_500, 0));
        let scale = Scale::new(&a, &b); // two ticks a nanosecond
        let next_kernel = at(Some(20_003_000), 2_000_000, 9_000_000_000);
        assert_eq!(scale.ms(&b, &next_kernel), 10.0);
        let boot = scale.boot(&next_kernel);
        assert_eq!((scale.ms(&b, &boot), boot.uptime_ns), (8.0, 0));
    }

    #[test]
    fn without_a_counter_the_date_has_to_do() {
        let (a, b) = (at(None, 0, 1_000_000), at(None, 0, 4_000_000));
        assert_eq!(Scale::new(&a, &b).ms(&a, &b), 3.0);
        assert_eq!(Scale::new(&a, &b).ms(&b, &a), 0.0);
    }

    #[test]
    fn time_goes_on() {
        let (a, b) = (Moment::now(), Moment::now());
        assert!(b.uptime_ns >= a.uptime_ns && a.date_ns > 0);
    }
}
