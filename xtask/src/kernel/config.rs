// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Kernel options: the project's fragments, the flavor, the user's fragments, and the check of what came out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::kernel::{Flavor, KernelRequest, Variant};
use crate::repo;

/// The option that chooses our implementation.
pub const FLAVOR_RUST: &str = "LIVEUPDATE_RUST";
/// The option that chooses upstream's.
pub const FLAVOR_C: &str = "LIVEUPDATE_C";

/// The full name of a flavor's option.
#[must_use]
pub fn flavor_option(flavor: Flavor) -> String {
    format!(
        "CONFIG_{}",
        match flavor {
            Flavor::Rust => FLAVOR_RUST,
            Flavor::C => FLAVOR_C,
        }
    )
}

/// The options of one kernel, as fragments of a configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// The project's fragments; every option in them must come out as asked for.
    pub ours: Vec<String>,
    /// The user's; what does not come out is reported.
    pub users: Vec<String>,
}

/// The text that chooses an implementation.
#[must_use]
pub fn flavor_fragment(flavor: Flavor) -> String {
    format!("{}=y\n", flavor_option(flavor))
}

fn read_fragment(path: &Path) -> Result<String> {
    fs::read_to_string(path)
        .with_context(|| format!("cannot read the options in {}", path.display()))
}

impl Options {
    /// Reads the fragments for a request.
    pub fn load(request: &KernelRequest) -> Result<Self> {
        let folder = repo::linux().join("config");
        let mut files = vec!["guest.config"];
        if request.variant != Variant::Plain {
            files.push("lockdep.config");
            if request.flavor == Flavor::Rust {
                files.push("kunit.config");
            }
        }
        if request.variant == Variant::Kasan {
            files.push("kasan.config");
        }
        let ours = files
            .iter()
            .map(|file| read_fragment(&folder.join(file)))
            .collect::<Result<_>>()?;
        let users = request
            .fragments
            .iter()
            .map(|path| read_fragment(path))
            .collect::<Result<_>>()?;
        Ok(Self { ours, users })
    }

    /// The fragments, in the order in which they are merged.
    pub fn fragments(&self) -> impl Iterator<Item = &String> {
        self.ours.iter().chain(&self.users)
    }

    /// Compares the finished configuration with what was asked for.
    ///
    /// # Errors
    /// An option of ours that no fragment of the user's sets differently has not the value asked for.
    pub fn check(&self, config: &str, tree: &Path) -> Result<()> {
        let got = parse(config);
        let users = merged(&self.users);
        let mut ours = merged(&self.ours);
        ours.retain(|name, _| !users.contains_key(name));

        let unmet = unmet(&ours, &got);
        if !unmet.is_empty() {
            bail!(
                "the kernel's configuration lacks what linux/config asks for:\n{}",
                explain(&unmet, &got, tree)?
            );
        }
        let refused = self::unmet(&users, &got);
        if !refused.is_empty() {
            eprintln!(
                "warning: these options of yours did not take effect:\n{}",
                explain(&refused, &got, tree)?
            );
        }
        Ok(())
    }
}

type Values = BTreeMap<String, String>;

/// The values in a configuration; `is not set` is `n`.
fn parse(text: &str) -> Values {
    let mut values = Values::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix("# ")
            .and_then(|rest| rest.strip_suffix(" is not set"))
        {
            if name.starts_with("CONFIG_") {
                values.insert(name.to_owned(), "n".to_owned());
            }
        } else if let Some((name, value)) =
            line.split_once('=').filter(|_| line.starts_with("CONFIG_"))
        {
            values.insert(name.to_owned(), value.to_owned());
        }
    }
    values
}

fn merged(fragments: &[String]) -> Values {
    fragments
        .iter()
        .flat_map(|fragment| parse(fragment))
        .collect()
}

/// An option that does not exist or whose dependencies fail is as good as `n`.
fn value_of<'a>(got: &'a Values, name: &str) -> &'a str {
    got.get(name).map_or("n", String::as_str)
}

fn unmet<'a>(wanted: &'a Values, got: &Values) -> Vec<(&'a str, &'a str)> {
    wanted
        .iter()
        .filter(|(name, value)| value_of(got, name) != value.as_str())
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// One line for each unmet option; those that the tree does not know at all are called so.
fn explain(unmet: &[(&str, &str)], got: &Values, tree: &Path) -> Result<String> {
    let kconfig = all_kconfig(tree)?;
    let mut lines = Vec::new();
    for (name, value) in unmet {
        let reason = if declares(&kconfig, name.trim_start_matches("CONFIG_")) {
            format!(
                "it came out as {}: see what it depends on and what selects it",
                value_of(got, name)
            )
        } else {
            "this Linux has no such option".to_owned()
        };
        lines.push(format!("  {name}={value}: {reason}"));
    }
    Ok(lines.join("\n"))
}

/// Whether a Kconfig text declares the option (named without `CONFIG_`).
#[must_use]
pub fn declares(kconfig: &str, option: &str) -> bool {
    kconfig.lines().any(|line| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("config" | "menuconfig")) && words.next() == Some(option)
    })
}

fn all_kconfig(tree: &Path) -> Result<String> {
    let mut text = String::new();
    for entry in walkdir::WalkDir::new(tree) {
        let entry = entry.with_context(|| format!("cannot list {}", tree.display()))?;
        if entry.file_type().is_file() && entry.file_name().to_string_lossy().starts_with("Kconfig")
        {
            text += &fs::read_to_string(entry.path())
                .with_context(|| format!("cannot read {}", entry.path().display()))?;
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "CONFIG_SMP=y\n# CONFIG_MODULES is not set\nCONFIG_HZ=250\n";

    fn check(ours: &str, users: &str) -> Result<()> {
        let tree = tempfile::tempdir().unwrap();
        fs::write(
            tree.path().join("Kconfig"),
            "config SMP\n\tbool\nconfig IPV6\n",
        )
        .unwrap();
        let fragment = |text: &str| vec![text.to_owned()];
        Options {
            ours: fragment(ours),
            users: fragment(users),
        }
        .check(CONFIG, tree.path())
    }

    #[test]
    fn what_came_out_as_asked_for_is_accepted() {
        check(
            "# a comment\nCONFIG_SMP=y\nCONFIG_MODULES=n\nCONFIG_ABSENT=n\n# CONFIG_X is not set\n",
            "",
        )
        .unwrap();
        check("CONFIG_HZ=250", "").unwrap();
    }

    #[test]
    fn an_unmet_option_is_named_with_its_reason() {
        let err = check("CONFIG_IPV6=y\nCONFIG_ABSENT=y\nCONFIG_SMP=n", "")
            .unwrap_err()
            .to_string();
        assert!(err.contains("CONFIG_IPV6=y: it came out as n"), "{err}");
        assert!(
            err.contains("CONFIG_ABSENT=y: this Linux has no such option"),
            "{err}"
        );
        assert!(err.contains("CONFIG_SMP=n: it came out as y"), "{err}");
    }

    #[test]
    fn the_user_may_override_and_may_ask_in_vain() {
        check("CONFIG_SMP=n", "CONFIG_SMP=y").unwrap();
        check("CONFIG_SMP=y", "CONFIG_IPV6=y").unwrap();
    }
}
