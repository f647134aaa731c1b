// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Whether the machine is on its way to the next kernel after the agent has gone.
//!
//! With `reboot(2)` nobody sees an end: this program just stops with everything else. So whoever loses the agent and still runs is
//! either in a shutdown by the service manager, or the agent has died.

use std::{process::Command, thread, time::Duration};

const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Asks systemd, a few times, since it may be told just now.
pub(super) fn is_under_way() -> bool {
    (0..ATTEMPTS).any(|attempt| {
        if attempt > 0 {
            thread::sleep(PAUSE);
        }
        let asked = Command::new("systemctl").arg("is-system-running").output();
        asked.is_ok_and(|it| it.stdout.starts_with(b"stopping"))
    })
}
