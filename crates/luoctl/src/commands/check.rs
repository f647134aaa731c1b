// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `luoctl check`.

use std::path::Path;

use luod::{
    kexec::{self, LoadError},
    protocol::{Check, Command, Event, Finding, Severity},
};

use crate::{
    agent::{Agent, unexpected},
    cli::CheckArgs,
    exit::{Exit, Result},
    screen::{Look, Screen, count},
};

pub(crate) fn run(args: &CheckArgs, agent: &Agent, screen: &Screen) -> Result<Exit> {
    let mut check = ask(agent)?;
    if let Some(kernel) = &args.kernel {
        let findings = of_kernel(kernel);
        check.ok &= findings.iter().all(|it| it.severity < Severity::Problem);
        check.findings.extend(findings);
    }
    if args.quiet {
        check.findings.retain(|it| it.severity > Severity::Fine);
    }
    screen.show(&check, render)?;
    Ok(if check.ok { Exit::Done } else { Exit::Problems })
}

pub(super) fn ask(agent: &Agent) -> Result<Check> {
    let command = Command::Check;
    match agent.ask(&command)? {
        (Event::Check(check), _) => Ok(check),
        (other, _) => Err(unexpected(&command, &other)),
    }
}

/// The worst first, each with what to do about it.
pub(super) fn render(check: &Check, look: &Look) -> String {
    let mut findings: Vec<_> = check.findings.iter().collect();
    findings.sort_by_key(|it| std::cmp::Reverse(it.severity));
    let mut text: String = findings.into_iter().map(|it| finding(it, look)).collect();
    let of = |severity| {
        let same = |it: &&Finding| it.severity == severity;
        check.findings.iter().filter(same).count()
    };
    text += &match (check.ok, of(Severity::Problem), of(Severity::Warning)) {
        (true, _, 0) => look.good("An update now would go well."),
        (true, _, warnings) => {
            let warnings = count(warnings, "warning");
            look.doubtful(format!("An update now would go well, with {warnings}."))
        }
        (false, problems, _) => {
            let problems = count(problems, "problem");
            look.bad(format!(
                "An update now would fail or lose something: {problems}."
            ))
        }
    };
    text + "\n"
}

fn finding(finding: &Finding, look: &Look) -> String {
    let mark = match finding.severity {
        Severity::Fine => look.good("fine   "),
        Severity::Warning => look.doubtful("warning"),
        Severity::Problem => look.bad("PROBLEM"),
    };
    let mut text = format!("{mark}  {}: {}\n", finding.name, finding.message);
    if let Some(remedy) = &finding.remedy {
        text += &format!("         {}\n", look.faint(format!("-> {remedy}")));
    }
    text
}

/// What a kernel's file tells, before it is loaded.
fn of_kernel(path: &Path) -> Vec<Finding> {
    let found = |severity, name: &str, message, remedy: Option<&str>| Finding {
        severity,
        name: name.into(),
        message,
        remedy: remedy.map(str::to_owned),
    };
    let shown = path.display();
    let kernel = match kexec::inspect(path) {
        Ok(kernel) => kernel,
        Err(err) => {
            let remedy = match err {
                LoadError::File { .. } => {
                    "name the file of a kernel, such as /boot/vmlinuz-RELEASE"
                }
                _ => "load another kernel, or build this one as it says",
            };
            let problem = found(
                Severity::Problem,
                "kernel-file",
                err.to_string(),
                Some(remedy),
            );
            return vec![problem];
        }
    };
    let message = format!("{shown} can be loaded: {}", kernel.version);
    let valid = found(Severity::Fine, "kernel-file", message, None);
    let built = match kexec::config_lacks(path, &kernel) {
        None => found(
            Severity::Warning,
            "kernel-config",
            format!("it is not known whether {shown} was built for live updates"),
            Some("put its configuration beside it, as config-RELEASE"),
        ),
        Some(lacks) if lacks.is_empty() => found(
            Severity::Fine,
            "kernel-config",
            format!("{shown} was built for live updates"),
            None,
        ),
        Some(lacks) => found(
            Severity::Problem,
            "kernel-config",
            format!(
                "{shown} was built without {}: it would find nothing",
                lacks.join(", ")
            ),
            Some("load a kernel that was built with it"),
        ),
    };
    vec![valid, built]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(severity: Severity, name: &str, remedy: Option<&str>) -> Finding {
        Finding {
            severity,
            name: name.into(),
            message: format!("what of {name}"),
            remedy: remedy.map(str::to_owned),
        }
    }

    #[test]
    fn the_worst_comes_first_with_what_to_do() {
        let check = Check {
            ok: false,
            findings: vec![
                found(Severity::Fine, "device", None),
                found(Severity::Problem, "image", Some("luoctl load")),
                found(Severity::Warning, "memory", None),
            ],
        };
        let expected = "\
PROBLEM  image: what of image
         -> luoctl load
warning  memory: what of memory
fine     device: what of device
An update now would fail or lose something: 1 problem.
";
        assert_eq!(render(&check, &Look::PLAIN), expected);
    }

    #[test]
    fn warnings_do_not_stand_against_an_update() {
        let mut check = Check {
            ok: true,
            findings: vec![found(Severity::Warning, "memory", None)],
        };
        assert!(render(&check, &Look::PLAIN).ends_with("go well, with 1 warning.\n"));
        check.findings.clear();
        assert_eq!(
            render(&check, &Look::PLAIN),
            "An update now would go well.\n"
        );
    }

    #[test]
    fn a_file_that_is_no_kernel_is_a_problem() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vmlinuz");
        let findings = of_kernel(&path);
        assert_eq!(findings[0].severity, Severity::Problem);
        std::fs::write(&path, "no kernel").unwrap();
        let findings = of_kernel(&path);
        assert_eq!(findings[0].severity, Severity::Problem);
        assert!(findings[0].message.contains("no bzImage"), "{findings:?}");
    }
}
