// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `luoctl load` and `luoctl unload`.

use std::{fs, path::Path};

use luod::{kexec, protocol::Image};

use crate::{
    cli::{LoadArgs, Next},
    exit::{Exit, Failure, Result},
    screen::{Look, Screen},
};

pub(crate) fn run(args: &LoadArgs, screen: &Screen) -> Result<Exit> {
    let image = load(&args.kernel, &args.next, args.force, &args.state.dir)?;
    screen.show(&image, render)?;
    Ok(Exit::Done)
}

/// Also for `luoctl update --load`.
pub(super) fn load(kernel: &Path, next: &Next, force: bool, state: &Path) -> Result<Image> {
    let cmdline = cmdline(next, || fs::read_to_string("/proc/cmdline"))?;
    if let Some(objection) = objection(kernel, &cmdline) {
        if !force {
            return Err(Failure::failed(format!(
                "{objection} (--force loads it nevertheless)"
            )));
        }
        anstream::eprintln!("luoctl: warning: {objection}");
    }
    let image = kexec::load(kernel, next.initrd.as_deref(), &cmdline)?;
    if let Err(err) = kexec::remember(state, &image) {
        anstream::eprintln!(
            "luoctl: warning: {} is loaded, but luod will not know which kernel it is: cannot write into {}: {err}",
            image.kernel,
            state.display()
        );
    }
    Ok(image)
}

pub(crate) fn unload(state: &Path, screen: &Screen) -> Result<Exit> {
    kexec::unload()?;
    // A note that nobody believes does no harm: nothing is loaded.
    let _ = kexec::forget(state);
    screen.say("No kernel is loaded any more.")?;
    Ok(Exit::Done)
}

fn cmdline(next: &Next, running: impl FnOnce() -> std::io::Result<String>) -> Result<String> {
    match (&next.cmdline, next.reuse_cmdline) {
        (Some(text), _) => Ok(text.clone()),
        (None, true) => {
            let running = running();
            let running = running
                .map_err(|err| Failure::failed(format!("cannot read /proc/cmdline: {err}")))?;
            Ok(kexec::reuse(&running))
        }
        (None, false) => Err(Failure::new(
            Exit::Usage,
            "the next kernel needs a command line: --reuse-cmdline for the running one's, or --cmdline TEXT",
        )),
    }
}

/// Why the next kernel would not find what this one hands over, as far as it can be told.
fn objection(kernel: &Path, cmdline: &str) -> Option<String> {
    let why = match kexec::lacking(cmdline).as_slice() {
        [] => {
            let found = kexec::inspect(kernel).ok()?;
            let lacks = kexec::config_lacks(kernel, &found).filter(|it| !it.is_empty())?;
            format!("it was built without {}", lacks.join(" and "))
        }
        lacks => format!(
            "its command line lacks {}; add it with --cmdline",
            lacks.join(" ")
        ),
    };
    Some(format!(
        "the next kernel would not find what this one hands over: {why}"
    ))
}

fn render(image: &Image, _look: &Look) -> String {
    let version = image.version.as_deref().unwrap_or("a kernel");
    let initrd = match &image.initrd {
        Some(initrd) => format!(" with {initrd}"),
        None => ", without initial ramdisk".into(),
    };
    format!(
        "Loaded: {version}\n  from {}{initrd}\n  command line: {}\n",
        image.kernel, image.cmdline
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(cmdline: Option<&str>, reuse_cmdline: bool) -> Next {
        Next {
            initrd: None,
            cmdline: cmdline.map(str::to_owned),
            reuse_cmdline,
        }
    }

    #[test]
    fn the_command_line_has_to_be_chosen() {
        let running = || Ok("BOOT_IMAGE=/vmlinuz kho=on liveupdate=on\n".to_owned());
        assert_eq!(cmdline(&next(Some("a"), false), running).unwrap(), "a");
        assert_eq!(
            cmdline(&next(None, true), running).unwrap(),
            "kho=on liveupdate=on"
        );
        let refused = cmdline(&next(None, false), running).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
    }

    #[test]
    fn a_kernel_that_would_find_nothing_is_refused_before_it_is_looked_at() {
        let state = tempfile::tempdir().unwrap();
        let kernel = state.path().join("vmlinuz");
        let refused = load(
            &kernel,
            &next(Some("quiet kho=on"), false),
            false,
            state.path(),
        );
        let refused = refused.unwrap_err();
        assert_eq!(refused.exit, Exit::Failed);
        assert!(
            refused.message.contains("lacks liveupdate=on;"),
            "{}",
            refused.message
        );
        let forced = load(&kernel, &next(Some("quiet"), false), true, state.path());
        assert!(forced.unwrap_err().message.contains("cannot read"));
    }

    #[test]
    fn what_was_loaded_is_told() {
        let image = Image {
            kernel: "/boot/k".into(),
            version: Some("7.2 (x)".into()),
            initrd: Some("/boot/i".into()),
            cmdline: "kho=on".into(),
        };
        let text = render(&image, &Look::PLAIN);
        assert_eq!(
            text,
            "Loaded: 7.2 (x)\n  from /boot/k with /boot/i\n  command line: kho=on\n"
        );
    }
}
