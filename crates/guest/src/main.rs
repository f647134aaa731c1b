// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The test machine's `/init`, its agent, and the `kexec-now` command for people.

mod actor;
mod agent;
mod as_user;
mod bulk;
mod child;
mod churn;
mod crowd;
mod exec;
mod init;
mod ioctl;
mod kept;
mod kexec;
mod kexec_legacy;
mod killed;
mod luo;
mod memfd;
mod net;
mod service;
mod slots;
mod survey;
mod system;
mod userfault;
mod vandal;
mod watched;

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let mut args = std::env::args();
    let program = args.next().unwrap_or_default();
    let name = Path::new(&program)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let done = match (name, args.next().as_deref()) {
        ("kexec-now", kernel) => kexec::now(kernel),
        (_, Some("agent")) => agent::serve(),
        (_, Some("actor")) => actor::serve(),
        (_, Some("as")) => as_user::run(args),
        (_, Some("churn")) => churn::work(args),
        (_, Some("churn-check")) => churn::check(args),
        (_, Some("crowd")) => crowd::run(args),
        (_, Some("kept")) => kept::run(args),
        (_, Some("payload")) => kexec::copy(args),
        (_, Some("service")) => service::run(args),
        (_, Some("vandal")) => vandal::run(args),
        _ if std::process::id() == 1 => init::run(),
        _ => {
            eprintln!("luo-guest is the init of a test machine; it does nothing elsewhere");
            return ExitCode::FAILURE;
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("luo-guest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
