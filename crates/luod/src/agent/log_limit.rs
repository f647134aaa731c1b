// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the log says of clients that do wrong: enough to find them, and never so much that it is full of one of them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::say;

/// Lines about one user's clients in each [`WINDOW`].
const LINES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// What has been said of whom.
#[derive(Debug, Default)]
pub(super) struct LogLimit(BTreeMap<u32, Window>);

#[derive(Debug)]
struct Window {
    since: Instant,
    lines: u32,
}

impl LogLimit {
    /// Says it, unless enough has been said of this user.
    pub(super) fn say(&mut self, uid: u32, text: impl std::fmt::Display) {
        self.at(Instant::now(), uid, &text.to_string(), &mut |line| {
            say(line);
        });
    }

    fn at(&mut self, now: Instant, uid: u32, text: &str, say: &mut dyn FnMut(&str)) {
        // Users who do nothing wrong any more are forgotten, once what was left out is told.
        self.0.retain(|uid, it| {
            let is_over = now.duration_since(it.since) >= WINDOW;
            if is_over && it.lines > LINES {
                let left_out = it.lines - LINES;
                say(&format!(
                    "{left_out} more lines about user {uid} were left out"
                ));
            }
            !is_over
        });
        let window = self.0.entry(uid).or_insert(Window {
            since: now,
            lines: 0,
        });
        window.lines = window.lines.saturating_add(1);
        if window.lines <= LINES {
            say(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_fill_the_log_and_silences_nobody_else() {
        let (mut limit, mut said) = (LogLimit::default(), Vec::new());
        let start = Instant::now();
        for number in 0..1000 {
            let text = format!("wrong {number}");
            limit.at(start, 5, &text, &mut |it| said.push(it.to_owned()));
        }
        assert_eq!(said.len(), LINES as usize);
        limit.at(start, 6, "wrong, too", &mut |it| said.push(it.to_owned()));
        assert_eq!(said.pop().unwrap(), "wrong, too");
        said.clear();
        limit.at(start + WINDOW, 6, "again", &mut |it| {
            said.push(it.to_owned());
        });
        assert_eq!(said, ["980 more lines about user 5 were left out", "again"]);
        assert_eq!(limit.0.len(), 1, "who has stopped is forgotten");
    }
}
