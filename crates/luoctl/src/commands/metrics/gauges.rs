// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Each metric. All are gauges: what is counted starts from nothing with every kernel.

use std::sync::atomic::AtomicU64;

use luod::protocol::{Phase, SessionState, Severity, Status, Timeline};
use prometheus_client::{
    encoding::text::encode_registry,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{super::status, Seen};

type Number = Gauge<f64, AtomicU64>;
type Labels = Vec<(&'static str, String)>;

/// All that is known, as Prometheus reads it. What is not known is left out.
pub(super) fn text(seen: &Seen) -> String {
    let mut gauges = Gauges(Registry::with_prefix("luo"));
    gauges.one(
        "agent_up",
        "Whether the agent luod answers",
        f64::from(u8::from(seen.status.is_some())),
    );
    match &seen.status {
        Some(status) => gauges.status(status),
        None => {
            let release = &seen.local.release;
            let loaded = seen.local.image_loaded == Some(true);
            gauges.kernel(release, seen.local.device, loaded);
        }
    }
    if let Some(check) = &seen.check {
        let of = |severity| {
            let same = check
                .findings
                .iter()
                .filter(move |it| it.severity == severity);
            same.count() as f64
        };
        let name = "check_findings";
        let help = "What `luoctl check` has found; a problem stands against an update";
        let rows = [
            ("problem", Severity::Problem),
            ("warning", Severity::Warning),
        ];
        gauges.many(
            name,
            help,
            rows.map(|(word, severity)| (vec![("severity", word.to_owned())], of(severity))),
        );
    }
    if let Some(timeline) = &seen.timeline {
        gauges.timeline(timeline);
    }
    let mut text = String::new();
    encode_registry(&mut text, &gauges.0).expect("a string takes everything");
    text
}

struct Gauges(Registry);

impl Gauges {
    fn one(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Number::default();
        gauge.set(value);
        self.0.register(name, help, gauge);
    }

    fn many(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Labels, f64)>) {
        let family = Family::<Labels, Number>::default();
        for (labels, value) in rows {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, help, family);
    }

    fn kernel(&mut self, release: &str, supported: bool, loaded: bool) {
        self.many(
            "kernel",
            "The running kernel, and whether it has live update",
            [(
                vec![("release", release.to_owned())],
                f64::from(u8::from(supported)),
            )],
        );
        self.one(
            "next_kernel_loaded",
            "Whether a next kernel is loaded",
            f64::from(u8::from(loaded)),
        );
    }

    fn status(&mut self, status: &Status) {
        let kernel = &status.kernel;
        self.kernel(
            &kernel.release,
            kernel.unsupported.is_none(),
            kernel.image_loaded,
        );
        self.one(
            "update_under_way",
            "Whether clients are preserving, or the kernel is being replaced",
            f64::from(u8::from(status.update.phase != Phase::Idle)),
        );
        let ids: usize = status.clients.iter().map(|it| it.ids.len()).sum();
        self.one("subscriptions", "Ids that take part in updates", ids as f64);
        let states = [
            SessionState::Preserving,
            SessionState::Ready,
            SessionState::Waiting,
            SessionState::Claimed,
            SessionState::Unavailable,
        ];
        let row = |state| {
            let number = status
                .sessions
                .iter()
                .filter(|it| it.state == state)
                .count();
            let word = status::state(state).to_owned();
            (vec![("state", word)], number as f64)
        };
        self.many("sessions", "Sessions by where they are", states.map(row));
        if let Some(incoming) = &kernel.incoming {
            self.one(
                "incoming_sessions",
                "Sessions of the previous kernel that are not finished",
                incoming.sessions as f64,
            );
            self.one(
                "leaked_bytes",
                "Memory of the previous kernel that is free again after a cold boot only",
                incoming.leaked_bytes as f64,
            );
            self.one(
                "leaked_parts",
                "Parts of the hand-over that cannot be had",
                incoming.leaked.len() as f64,
            );
        }
        let named = |name: &luod::protocol::Id| vec![("name", name.to_string())];
        let sizes = status
            .kept
            .iter()
            .map(|it| (named(&it.name), it.bytes as f64));
        self.many("kept_bytes", "Sizes of kept files", sizes);
        let memory = status
            .kept
            .iter()
            .map(|it| (named(&it.name), it.allocated_bytes as f64));
        self.many(
            "kept_allocated_bytes",
            "Memory that kept files take",
            memory,
        );
    }

    fn timeline(&mut self, timeline: &Timeline) {
        self.one(
            "last_update_start_time_seconds",
            "When the last update was asked for, since 1970",
            timeline.started as f64,
        );
        self.one(
            "last_update_blackout_seconds",
            "From the last client's READY to the last claim",
            timeline.blackout_ms / 1000.0,
        );
        let row =
            |span: &luod::protocol::Span| (vec![("phase", span.name.clone())], span.ms / 1000.0);
        self.many(
            "last_update_phase_seconds",
            "How long each phase of the last update took",
            timeline.spans.iter().map(row),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::Local;
    use luod::protocol::{Check, Finding, Id, KeptReport, KernelReport, Progress, Span};

    fn alone() -> Seen {
        Seen {
            local: Local {
                release: "7.2.12".into(),
                device: true,
                cmdline_lacks: Vec::new(),
                image_loaded: Some(true),
                image: None,
                incoming: None,
            },
            status: None,
            check: None,
            timeline: None,
        }
    }

    /// Prometheus' text format knows these types only; a line of another one makes the collector drop the file.
    fn assert_readable(text: &str) {
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            match words.as_slice() {
                ["#", "HELP", ..] | ["#", "TYPE", _, "gauge"] => {}
                [_, .., value] if !line.starts_with('#') => {
                    value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
                }
                _ => panic!("{line}"),
            }
        }
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn without_an_agent_that_is_what_is_told() {
        let text = text(&alone());
        assert_readable(&text);
        assert!(text.contains("\nluo_agent_up 0.0\n"), "{text}");
        assert!(
            text.contains("luo_kernel{release=\"7.2.12\"} 1.0\n"),
            "{text}"
        );
        assert!(!text.contains("luo_sessions"), "{text}");
    }

    #[test]
    fn everything_is_a_gauge_with_its_value() {
        let mut seen = alone();
        seen.status = Some(Status {
            agent: "luod".into(),
            kernel: KernelReport {
                release: "7.2.12".into(),
                unsupported: Some("off".into()),
                image_loaded: false,
                image: None,
                incoming: Some(luod::protocol::Incoming {
                    sessions: 0,
                    leaked: Vec::new(),
                    leaked_bytes: 0,
                }),
            },
            update: Progress {
                phase: Phase::Leaving,
                waiting: Vec::new(),
                ready: Vec::new(),
                left_ms: 0,
            },
            clients: Vec::new(),
            sessions: Vec::new(),
            kept: vec![KeptReport {
                name: Id::new("cache").unwrap(),
                uid: 0,
                path: String::new(),
                bytes: 4096,
                allocated_bytes: 0,
            }],
        });
        seen.check = Some(Check {
            ok: false,
            findings: vec![Finding {
                severity: Severity::Problem,
                name: "image".into(),
                message: String::new(),
                remedy: None,
            }],
        });
        seen.timeline = Some(Timeline {
            from: "a".into(),
            to: "b".into(),
            started: 1_800_000_000,
            spans: vec![Span {
                name: "kernel \"boots\"".into(),
                start_ms: 0.0,
                ms: 1500.0,
            }],
            blackout_ms: 2500.0,
        });
        let text = text(&seen);
        assert_readable(&text);
        let told = include_str!("../../../../../docs/operators.md");
        let types = text.lines().filter_map(|it| it.strip_prefix("# TYPE "));
        for name in types.filter_map(|it| it.split(' ').next()) {
            assert!(
                told.contains(&format!("`{name}")),
                "operators are not told of {name}"
            );
        }
        for line in [
            "luo_agent_up 1.0",
            "luo_kernel{release=\"7.2.12\"} 0.0",
            "luo_update_under_way 1.0",
            "luo_sessions{state=\"waiting\"} 0.0",
            "luo_kept_bytes{name=\"cache\"} 4096.0",
            "luo_check_findings{severity=\"problem\"} 1.0",
            "luo_last_update_blackout_seconds 2.5",
            "luo_last_update_start_time_seconds 1800000000.0",
            "luo_last_update_phase_seconds{phase=\"kernel \\\"boots\\\"\"} 1.5",
        ] {
            assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
        }
    }
}
