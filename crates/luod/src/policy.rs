// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Who may do what.
//!
//! ```toml
//! operators = ["root", "maintenance"]  # who may update the kernel; root always may
//! required = ["vm-1"]                  # no update without these
//!
//! [[owner]]
//! ids = ["vm-*"]                       # a `*` stands for anything
//! user = "qemu"                        # by name or number
//! ```

use std::{collections::BTreeSet, fs, io, path::Path};

use serde::Deserialize;

use crate::protocol::Id;

/// The rules. Without any, everything is root's.
#[derive(Debug, Default, Clone)]
pub struct Policy {
    operators: BTreeSet<u32>,
    /// Ids without which no update goes well.
    pub required: Vec<Id>,
    owners: Vec<(String, u32)>,
}

/// Why there are no rules.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the policy {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is no TOML, or says something else than a policy does.
    #[error("the policy {path} is wrong: {message}")]
    Wrong {
        /// Which.
        path: String,
        /// Where and why.
        message: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default)]
    operators: Vec<User>,
    #[serde(default)]
    required: Vec<Id>,
    #[serde(default)]
    owner: Vec<Owner>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    ids: Vec<String>,
    user: User,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum User {
    Number(u32),
    Name(String),
}

impl User {
    fn uid(&self) -> Result<u32, String> {
        match self {
            Self::Number(uid) => Ok(*uid),
            Self::Name(name) => match nix::unistd::User::from_name(name) {
                Ok(Some(user)) => Ok(user.uid.as_raw()),
                Ok(None) => Err(format!("there is no user {name:?} on this host")),
                Err(errno) => Err(format!("cannot look up the user {name:?}: {errno}")),
            },
        }
    }
}

impl Policy {
    /// Reads the file; one that does not exist has no rules.
    ///
    /// # Errors
    /// [`Error`] names the file and the place.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let shown = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|message| Error::Wrong {
                path: shown,
                message,
            }),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(Error::Read {
                path: shown,
                source,
            }),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text: Text = toml::from_str(text).map_err(|err| err.to_string())?;
        let mut policy = Self {
            required: text.required,
            ..Self::default()
        };
        for user in &text.operators {
            policy.operators.insert(user.uid()?);
        }
        for Owner { ids, user } in text.owner {
            let uid = user.uid()?;
            policy
                .owners
                .extend(ids.into_iter().map(|pattern| (pattern, uid)));
        }
        Ok(policy)
    }

    /// Whether this user may update the kernel, and do everything else.
    pub fn is_operator(&self, uid: u32) -> bool {
        uid == 0 || self.operators.contains(&uid)
    }

    /// Whether this user may have this id.
    pub fn may_own(&self, uid: u32, id: &Id) -> bool {
        let covers =
            |(pattern, user): &(String, u32)| *user == uid && matches(pattern, id.as_str());
        uid == 0 || self.owners.iter().any(covers)
    }
}

/// Whether `text` is what `pattern` says; a `*` stands for anything, also nothing.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(head) else {
        return false;
    };
    (0..=text.len()).any(|skipped| text.get(skipped..).is_some_and(|it| matches(rest, it)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    #[test]
    fn without_rules_everything_is_roots() {
        let policy = Policy::load(Path::new("/nonexistent/policy.toml")).unwrap();
        assert!(policy.is_operator(0) && policy.may_own(0, &id("x")));
        assert!(!policy.is_operator(1000) && !policy.may_own(1000, &id("x")));
    }

    #[test]
    fn ids_belong_to_the_users_that_the_rules_name() {
        let policy = Policy::parse(
            "operators = [\"root\", 7]\nrequired = [\"vm-1\"]\n\
             [[owner]]\nids = [\"vm-*\", \"db\"]\nuser = 1000\n\
             [[owner]]\nids = [\"*-cache-*\"]\nuser = 1001\n",
        )
        .unwrap();
        assert!(policy.is_operator(7) && !policy.is_operator(1000));
        assert_eq!(policy.required, [id("vm-1")]);
        assert!(policy.may_own(1000, &id("vm-1")) && policy.may_own(1000, &id("db")));
        assert!(!policy.may_own(1000, &id("db2")) && !policy.may_own(1001, &id("vm-1")));
        assert!(policy.may_own(1001, &id("a-cache-b")) && !policy.may_own(1001, &id("cache-b")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |text| Policy::parse(text).unwrap_err();
        assert!(message("operators = [\"no-such-user\"]").contains("no-such-user"));
        assert!(message("owners = []").contains("owners"));
        assert!(message("required = [\"a/b\"]").contains('/'));
    }
}
