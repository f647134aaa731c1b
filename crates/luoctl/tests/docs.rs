// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `docs/protocol.md` is complete, and its examples are what the programs speak; `docs/operators.md` knows every command.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command as Process};

use luod::protocol::{Code, Command, Ended, Event, MAX_LINE_BYTES, Phase, SOCKET_PATH};
use serde::Serialize;

fn text(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

/// What stands in its blocks of JSON, line by line.
fn examples(text: &str) -> Vec<&str> {
    let blocks = text.split("```json\n").skip(1);
    blocks
        .flat_map(|it| it.split("```").next().unwrap().lines())
        .collect()
}

fn word(value: impl Serialize) -> String {
    serde_json::to_value(value)
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn every_example_is_spoken_and_every_command_and_event_has_one() {
    let text = text("protocol.md");
    let (mut commands, mut events) = (BTreeSet::new(), BTreeSet::new());
    for line in examples(&text) {
        if line.contains("\"cmd\"") && !line.contains("\"event\"") {
            let command: Command =
                serde_json::from_str(line).unwrap_or_else(|err| panic!("{err}: {line}"));
            commands.insert(command.name());
        } else {
            let event: Event =
                serde_json::from_str(line).unwrap_or_else(|err| panic!("{err}: {line}"));
            // What it says is all that there is: nothing is left out.
            let again = serde_json::to_value(&event).unwrap();
            assert_eq!(
                again,
                serde_json::from_str::<serde_json::Value>(line).unwrap()
            );
            events.insert(again["event"].as_str().unwrap().to_owned());
        }
    }
    // Serde lists the names that it knows when it is given one that it does not.
    let known = |err: serde_json::Error| {
        let names: Vec<_> = err
            .to_string()
            .split('`')
            .skip(3)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        assert!(names.len() > 10, "{err}");
        names
    };
    for name in known(serde_json::from_str::<Command>(r#"{"cmd":"?"}"#).unwrap_err()) {
        assert!(
            commands.contains(name.as_str()),
            "no example of the command {name}"
        );
    }
    for name in known(serde_json::from_str::<Event>(r#"{"event":"?"}"#).unwrap_err()) {
        let described = events.contains(&name) || text.contains(&format!("`{name}`"));
        assert!(described, "no example of the event {name}");
    }
}

#[test]
fn every_word_and_limit_is_explained() {
    let text = text("protocol.md");
    let codes = [
        Code::BadLine,
        Code::BadCommand,
        Code::NotAllowed,
        Code::NotFound,
        Code::Exists,
        Code::WrongState,
        Code::Limit,
        Code::Kernel,
    ];
    let ends = [
        Ended::Rebooting,
        Ended::Rehearsed,
        Ended::Refused,
        Ended::Cancelled,
        Ended::Failed,
    ];
    let phases = [Phase::Idle, Phase::Preserving, Phase::Leaving];
    let words = codes
        .map(word)
        .into_iter()
        .chain(ends.map(word))
        .chain(phases.map(word));
    for word in words {
        assert!(text.contains(&format!("`{word}`")), "nothing of {word}");
    }
    assert_eq!(MAX_LINE_BYTES, 65_536);
    assert!(text.contains("65,536 bytes") && text.contains(SOCKET_PATH));
}

#[test]
fn operators_are_told_of_every_command() {
    let help = Process::new(env!("CARGO_BIN_EXE_luoctl"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help
        .split("Commands:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let names = commands
        .lines()
        .filter(|it| it.starts_with("  ") && !it.starts_with("   "));
    let names: Vec<_> = names
        .filter_map(|it| it.split_whitespace().next())
        .collect();
    assert!(names.len() >= 12, "{names:?}");
    let text = text("operators.md");
    for name in names.into_iter().filter(|it| *it != "help") {
        assert!(
            text.contains(&format!("luoctl {name}")),
            "nothing of luoctl {name}"
        );
    }
}
