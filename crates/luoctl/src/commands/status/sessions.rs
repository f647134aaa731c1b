// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The tables of `luoctl status`.

use comfy_table::Color;
use luod::protocol::{ClientReport, KeptReport, SessionReport, SessionState};

use crate::screen::{Look, cell, lines, size};

pub(super) fn sessions(sessions: &[SessionReport], look: &Look) -> String {
    if sessions.is_empty() {
        return String::new();
    }
    let mut table = look.table(&[
        "session", "owner", "state", "token", "handler", "size", "file",
    ]);
    for session in sessions {
        let state = cell(state(session.state), colour(session.state));
        let head = [
            cell(&session.id, None),
            cell(look.user(session.uid), None),
            state,
        ];
        let files = session.files.as_deref();
        match files {
            None => table.add_row(head.into_iter().chain([cell("?", None)])),
            Some([]) => table.add_row(head.into_iter().chain([cell("-", None)])),
            Some(files) => {
                // What is the session's stands beside its first file only.
                let blank = || [(); 3].map(|()| cell("", None));
                let heads = std::iter::once(head).chain(std::iter::repeat_with(blank));
                table.add_rows(files.iter().zip(heads).map(|(file, head)| {
                    let token = format!("{:#x}", file.token);
                    let bytes = file.bytes.map_or_else(|| "?".to_owned(), size);
                    let file =
                        [&token, &file.handler, &bytes, &file.state].map(|it| cell(it, None));
                    head.into_iter().chain(file).collect::<Vec<_>>()
                }))
            }
        };
    }
    format!("\n{}", lines(&table))
}

pub(super) fn clients(clients: &[ClientReport], look: &Look) -> String {
    if clients.is_empty() {
        return String::new();
    }
    let mut table = look.table(&["client", "user", "subscribed"]);
    for client in clients {
        let ids: Vec<_> = client.ids.iter().map(luod::protocol::Id::as_str).collect();
        let ids = match ids.as_slice() {
            [] => "-".to_owned(),
            ids => ids.join(", "),
        };
        table.add_row([client.pid.to_string(), look.user(client.uid), ids]);
    }
    format!("\n{}", lines(&table))
}

/// Also `luoctl keep list`.
pub(in crate::commands) fn kept(kept: &[KeptReport], look: &Look) -> String {
    if kept.is_empty() {
        return String::new();
    }
    let mut table = look.table(&["kept", "owner", "size", "memory", "path"]);
    for file in kept {
        table.add_row([
            file.name.to_string(),
            look.user(file.uid),
            size(file.bytes),
            size(file.allocated_bytes),
            file.path.clone(),
        ]);
    }
    format!("\n{}", lines(&table))
}

/// As it stands in JSON.
pub(in crate::commands) fn state(state: SessionState) -> &'static str {
    match state {
        SessionState::Preserving => "preserving",
        SessionState::Ready => "ready",
        SessionState::Waiting => "waiting",
        SessionState::Claimed => "claimed",
        SessionState::Unavailable => "unavailable",
    }
}

fn colour(state: SessionState) -> Option<Color> {
    match state {
        SessionState::Ready => Some(Color::Green),
        SessionState::Waiting => Some(Color::Yellow),
        SessionState::Unavailable => Some(Color::Red),
        SessionState::Preserving | SessionState::Claimed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use luod::protocol::{FileReport, Id};

    #[test]
    fn a_session_with_many_files_is_named_once() {
        let file = |token| FileReport {
            token,
            handler: "memfd-v2".into(),
            bytes: (token == 1).then_some(2 << 20),
            state: "preserved".into(),
        };
        let session = |id: &str, files| SessionReport {
            id: Id::new(id).unwrap(),
            uid: 5,
            state: SessionState::Waiting,
            files,
        };
        let all = [
            session("many", Some(vec![file(1), file(0x1a)])),
            session("empty", Some(vec![])),
            session("hidden", None),
        ];
        let text = sessions(&all, &Look::PLAIN);
        let words: Vec<Vec<_>> = text
            .lines()
            .skip(2)
            .map(|it| it.split_whitespace().collect())
            .collect();
        let expected = [
            vec![
                "many",
                "5",
                "waiting",
                "0x1",
                "memfd-v2",
                "2.0",
                "MiB",
                "preserved",
            ],
            vec!["0x1a", "memfd-v2", "?", "preserved"],
            vec!["empty", "5", "waiting", "-"],
            vec!["hidden", "5", "waiting", "?"],
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn states_are_named_as_in_json() {
        let all = [
            SessionState::Preserving,
            SessionState::Ready,
            SessionState::Waiting,
            SessionState::Claimed,
            SessionState::Unavailable,
        ];
        for it in all {
            assert_eq!(serde_json::to_value(it).unwrap(), state(it));
        }
    }
}
