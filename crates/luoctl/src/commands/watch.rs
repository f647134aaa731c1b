// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `luoctl watch`.

use luod::{
    client::Error,
    protocol::{Command, Ended, Event},
};

use super::status;
use crate::{
    agent::Agent,
    exit::{Exit, Failure, Result},
    screen::{Look, Screen},
};

pub(crate) fn run(agent: &Agent, screen: &Screen) -> Result<Exit> {
    let mut client = agent.connect()?;
    client.send(&Command::Watch)?;
    loop {
        match client.next(None) {
            Ok((event, _)) => screen.show_next(&event, render)?,
            Err(Error::Closed | Error::Broken(_)) => {
                return Err(Failure::new(Exit::NoAgent, "the agent is gone"));
            }
            Err(err) => return Err(err.into()),
        }
    }
}

fn render(event: &Event, look: &Look) -> String {
    match event {
        Event::Progress(progress) => format!("update: {}", status::progress(progress)),
        Event::Ended { outcome, reason } => {
            let because = reason.as_deref().map(|it| format!(": {it}"));
            let what = match outcome {
                Ended::Rebooting => look.good("the kernel is being replaced"),
                Ended::Rehearsed => look.good("rehearsed"),
                Ended::Refused => look.bad("refused"),
                Ended::Cancelled => look.doubtful("called off"),
                Ended::Failed => look.bad("failed"),
            };
            format!("update: {what}{}", because.unwrap_or_default())
        }
        other => serde_json::to_string(other).expect("events are JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_with_its_reason() {
        let ended = Event::Ended {
            outcome: Ended::Cancelled,
            reason: Some("vm-1 says no".into()),
        };
        assert_eq!(
            render(&ended, &Look::PLAIN),
            "update: called off: vm-1 says no"
        );
    }
}
