// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `luoctl update`: the barrier, as its operator sees it.

mod board;
mod departure;
mod interrupt;

use luod::{
    client::{Client, Error},
    protocol::{Command, Ended, Event},
};

use crate::{
    agent::{Agent, unexpected},
    cli::UpdateArgs,
    exit::{Exit, Failure, Result},
    screen::{Look, Screen},
};
use board::Board;
use interrupt::Leaving;

use super::{check, load};

pub(crate) fn run(args: &UpdateArgs, agent: &Agent, screen: &Screen) -> Result<Exit> {
    // An update that nobody can carry out does not begin with loading a kernel.
    let mut client = agent.connect()?;
    if let Some(kernel) = &args.load {
        let image = load::load(kernel, &args.next, args.force, &args.state.dir)?;
        screen.say(format!("Loaded {}.", image.kernel))?;
    } else if args.next.initrd.is_some() || args.next.cmdline.is_some() || args.next.reuse_cmdline {
        let message = "--initrd, --cmdline and --reuse-cmdline go with --load KERNEL";
        return Err(Failure::new(Exit::Usage, message));
    }
    let leaving = Leaving::default();
    interrupt::cancels_by(agent, &leaving)?;
    let command = Command::Update {
        timeout_ms: args
            .timeout
            .map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
        dry_run: args.dry_run,
        force: args.force,
    };
    client.send(&command)?;
    let (outcome, reason) = follow(&mut client, &command, &leaving, screen)?;
    if !screen.json {
        // The check tells why, unless nobody can insist.
        let reason = reason.filter(|_| outcome != Ended::Refused || args.force);
        screen.say(ending(outcome, reason.as_deref(), &screen.look))?;
        if outcome == Ended::Refused {
            screen.say(check::render(&check::ask(agent)?, &screen.look))?;
        }
    }
    Ok(exit(outcome))
}

/// Shows what comes until the end.
fn follow(
    client: &mut Client,
    command: &Command,
    signals: &Leaving,
    screen: &Screen,
) -> Result<(Ended, Option<String>)> {
    let mut board = Board::new();
    let mut leaving = false;
    loop {
        let (event, _) = match client.next(None) {
            // The service manager ends the agent on the way to the next kernel, and this program soon.
            Err(Error::Closed | Error::Broken(_)) if leaving && departure::is_under_way() => {
                return Ok((Ended::Rebooting, None));
            }
            Err(Error::Closed | Error::Broken(_)) => {
                board.clear();
                return Err(Failure::failed(
                    "the agent has died in the middle of the update, and the kernel is not replaced: see luod's log, and start it again",
                ));
            }
            other => other?,
        };
        if screen.json {
            screen.show_next(&event, |_, _| String::new())?;
        }
        match event {
            Event::Progress(progress) if !screen.json => board.show(&progress),
            Event::Progress(_) => {}
            // If the kernel refuses, there is another end to come.
            Event::Ended {
                outcome: Ended::Rebooting,
                ..
            } => {
                leaving = true;
                signals.begins();
                board.clear();
                screen.say("Everybody is ready. The kernel is being replaced.")?;
            }
            Event::Ended { outcome, reason } => {
                board.clear();
                return Ok((outcome, reason));
            }
            other => return Err(unexpected(command, &other)),
        }
    }
}

fn ending(outcome: Ended, reason: Option<&str>, look: &Look) -> String {
    let because = reason.map(|it| format!(": {it}")).unwrap_or_default();
    match outcome {
        Ended::Rebooting => look.good("This machine is going down for the next kernel."),
        Ended::Rehearsed => {
            look.good("Rehearsed: everybody was ready, and goes on. Nothing was replaced.")
        }
        Ended::Refused if reason.is_some() => {
            look.bad(format!("Refused, nothing was begun{because}."))
        }
        Ended::Refused => look.bad("Refused, nothing was begun (--force goes on nevertheless)."),
        Ended::Cancelled => {
            look.doubtful(format!("Called off{because}. Everybody goes on as before."))
        }
        Ended::Failed => look.bad(format!(
            "The kernel was not replaced{because}. Everybody goes on as before."
        )),
    }
}

fn exit(outcome: Ended) -> Exit {
    match outcome {
        Ended::Rebooting | Ended::Rehearsed => Exit::Done,
        Ended::Refused => Exit::Problems,
        Ended::Cancelled => Exit::Cancelled,
        Ended::Failed => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_words_and_its_exit_status() {
        let of = |outcome, reason| {
            let text = ending(outcome, reason, &Look::PLAIN);
            (text, exit(outcome))
        };
        assert_eq!(of(Ended::Rebooting, None).1, Exit::Done);
        let (text, status) = of(Ended::Rehearsed, None);
        assert!(text.contains("Nothing was replaced") && status == Exit::Done);
        let (text, status) = of(Ended::Refused, None);
        assert!(text.contains("--force") && status == Exit::Problems);
        let (text, status) = of(Ended::Refused, Some("too late"));
        assert_eq!(text, "Refused, nothing was begun: too late.");
        assert_eq!(status, Exit::Problems);
        let (text, status) = of(Ended::Cancelled, Some("vm-1 says no: busy"));
        assert_eq!(
            text,
            "Called off: vm-1 says no: busy. Everybody goes on as before."
        );
        assert_eq!(status, Exit::Cancelled);
        let (text, status) = of(Ended::Failed, Some("EBUSY"));
        assert!(text.contains("not replaced: EBUSY.") && status == Exit::Failed);
    }
}
