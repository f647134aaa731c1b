// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Steps at which tests kill the agent, to see that nothing is lost.
//!
//! With the feature `kill-points`, the agent kills itself at the step that `LUOD_KILL_AT` names. Without, this does nothing.

/// All steps, in the order in which an update comes to them.
pub const ALL: [&str; 22] = [
    "update-accepted",
    "session-created",
    "session-parked",
    "session-sent",
    "own-session-parked",
    "kept-file-preserved",
    "client-ready",
    "all-ready",
    "manifest-preserved",
    "before-reboot",
    "own-session-retrieved",
    "manifest-read",
    "kept-file-retrieved",
    "kept-file-back",
    "ledger-written",
    "own-session-finished",
    "listening",
    "claim-received",
    "claimed-session-parked",
    "claimed-session-sent",
    "done-received",
    "done-written",
];

/// Kills the agent here if a test wants that.
pub fn reach(name: &'static str) {
    debug_assert!(ALL.contains(&name), "{name} is not in the list");
    #[cfg(feature = "kill-points")]
    if std::env::var_os("LUOD_KILL_AT").is_some_and(|it| it == name) {
        use rustix::process::{Signal, getpid, kill_process};
        // With SIGKILL nothing of the agent runs afterwards: no destructor, no handler.
        kill_process(getpid(), Signal::KILL).ok();
    }
}
