// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The update that led into this kernel, by phases.

use super::{Agent, Answer, Refusal};
use crate::{
    clock::Scale,
    kernel::Kernel,
    manifest::Arrival,
    protocol::{Code, Event, Span, Timeline},
};

impl<K: Kernel> Agent<K> {
    pub(super) fn timeline(&self) -> Answer {
        match &self.ledger.arrival {
            Some(arrival) => {
                let timeline = timeline(arrival, &self.settings.release);
                Ok(Some((Event::Timeline(timeline), None)))
            }
            None => Err(Refusal::new(
                Code::NotFound,
                "this kernel was not entered by an update of luod; there is nothing to show",
            )),
        }
    }
}

fn timeline(arrival: &Arrival, release: &str) -> Timeline {
    let Arrival {
        departure,
        agent_started,
        restored,
        claimed,
        ..
    } = arrival;
    let scale = Scale::new(&departure.agent_started, &departure.left);
    let boot = scale.boot(agent_started);
    let end = claimed.unwrap_or(*restored);
    let ends = [
        ("clients preserve", departure.ready),
        ("agent writes down who owns what", departure.left),
        ("old kernel leaves, new one is entered", boot),
        ("new kernel boots, up to the agent", *agent_started),
        ("agent restores", *restored),
        ("clients claim", end),
    ];
    let mut start = departure.asked;
    let mut spans = Vec::new();
    for (name, end) in ends {
        spans.push(Span {
            name: name.to_owned(),
            start_ms: scale.ms(&departure.asked, &start),
            ms: scale.ms(&start, &end),
        });
        start = end;
    }
    Timeline {
        from: arrival.from.clone(),
        to: release.to_owned(),
        started: departure.asked.date_ns / 1_000_000_000,
        spans,
        blackout_ms: scale.ms(&departure.ready, &end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Moment, manifest::Departure};

    /// A counter of two ticks a nanosecond; the new kernel's clock starts at 100 ms.
    fn at(ms: u64) -> Moment {
        let kernel_ms = if ms < 100 { ms } else { ms - 100 };
        Moment {
            ticks: Some(ms * 2_000_000),
            uptime_ns: kernel_ms * 1_000_000,
            date_ns: 0,
        }
    }

    #[test]
    fn the_phases_of_both_kernels_are_on_one_line() {
        let arrival = Arrival {
            from: "old".into(),
            departure: Departure {
                agent_started: at(1),
                asked: at(10),
                ready: at(30),
                left: at(35),
            },
            agent_started: at(400),
            restored: at(405),
            claimed: Some(at(425)),
        };
        let timeline = timeline(&arrival, "new");
        let ms: Vec<_> = timeline.spans.iter().map(|it| it.ms).collect();
        assert_eq!(ms, [20.0, 5.0, 65.0, 300.0, 5.0, 20.0]);
        assert_eq!(timeline.spans[3].start_ms, 90.0);
        assert_eq!(timeline.blackout_ms, 395.0);
    }
}
