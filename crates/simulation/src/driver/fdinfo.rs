// SPDX-License-Identifier: GPL-2.0-only

//! From what `fdinfo` says to what the model does.

use crate::ledger;
use luo_model::{Direction, FileState, Handler, Session, SessionState, SessionView, Token};

/// What `fdinfo` says about `session`.
pub(super) fn read(session: Session, name: &str, fdinfo: &str) -> SessionView {
    let field = |name| fdinfo.lines().find_map(|it| it.strip_prefix(name)).unwrap();
    assert_eq!(field("luo-session:\t"), name);
    let direction = match session.direction {
        Direction::Outgoing => "outgoing",
        Direction::Incoming => "incoming",
    };
    assert_eq!(field("luo-direction:\t"), direction);
    let state = match field("luo-state:\t") {
        "open" => SessionState::Open,
        "handed over" => SessionState::HandedOver,
        "retrieved" => SessionState::Retrieved,
        "finished" => SessionState::Finished,
        state => panic!("unknown state {state}"),
    };
    let files = fdinfo
        .lines()
        .filter_map(|it| it.strip_prefix("luo-file:\t"));
    let files = files.map(file).collect();
    SessionView { state, files }
}

fn file(line: &str) -> (Token, Handler, FileState) {
    let [token, compatible, state] = line.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
    let token = u64::from_str_radix(token.strip_prefix("0x").unwrap(), 16).unwrap();
    let own = |it: &Handler| ledger::compatible(*it) == compatible;
    let handler = Handler::ALL.into_iter().find(own).unwrap();
    let state = match state {
        "preserved" => FileState::Preserved,
        "handed over" => FileState::HandedOver,
        "waiting" => FileState::Waiting,
        "failed" => FileState::Failed,
        "restored" => FileState::Restored,
        "retrieved" => FileState::Retrieved,
        _ => panic!("unknown state {state}"),
    };
    (Token(token), handler, state)
}
