// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Kept files, as clients ask for them.

use std::os::fd::AsFd as _;

use super::{Agent, Answer, Refusal, Who, peers::not_owner};
use crate::{
    keep,
    kernel::Kernel,
    manifest::KeptFile,
    protocol::{Code, Event, Id},
    vault::Key,
};

impl<K: Kernel> Agent<K> {
    pub(super) fn keep_add(
        &mut self,
        who: Who,
        name: Id,
        bytes: u64,
        owner: Option<u32>,
        checksum: bool,
    ) -> Answer {
        let uid = owner.unwrap_or(who.uid);
        if !self.policy.may_own(who.uid, &name)
            || (uid != who.uid && !self.policy.is_operator(who.uid))
        {
            return Err(not_owner(who, &name));
        }
        self.may_change_kept(&name)?;
        if self.ledger.kept.contains_key(&name) {
            let message = format!(
                "{name} is kept already, at {}",
                self.keeper.path(&name).display()
            );
            return Err(Refusal::new(Code::Exists, message));
        }
        let why = |err: std::io::Error| {
            Refusal::new(
                Code::Kernel,
                format!("cannot keep {name} of {bytes} bytes: {err}"),
            )
        };
        let file = keep::memory(name.as_str(), bytes).map_err(why)?;
        let key = Key::Kept(name.clone());
        self.vault.put(&key, file.as_fd()).map_err(why)?;
        let path = match self.keeper.show(&name, uid, file.into()) {
            Ok(path) => path,
            Err(err) => {
                self.forget(&key);
                self.keeper.remove(&name).ok();
                return Err(why(err));
            }
        };
        let kept = KeptFile {
            uid,
            checksum,
            token: 0,
            sha256: None,
        };
        self.ledger.kept.insert(name.clone(), kept);
        self.note();
        let path = path.to_string_lossy().into_owned();
        Ok(Some((Event::Kept { name, path }, None)))
    }

    pub(super) fn keep_remove(&mut self, who: Who, name: &Id) -> Answer {
        let Some(kept) = self.ledger.kept.get(name) else {
            return Err(Refusal::not_found(name, "kept file"));
        };
        if kept.uid != who.uid && !self.policy.is_operator(who.uid) {
            return Err(not_owner(who, name));
        }
        self.may_change_kept(name)?;
        self.ledger.kept.remove(name);
        self.note();
        self.forget(&Key::Kept(name.clone()));
        self.keeper
            .remove(name)
            .map_err(|err| Refusal::new(Code::Kernel, format!("cannot remove {name}: {err}")))?;
        Ok(Some((Event::Done { id: name.clone() }, None)))
    }

    fn may_change_kept(&self, name: &Id) -> Result<(), Refusal> {
        if self.update.is_some() {
            let message = format!("an update is under way; {name} has to wait for its end");
            return Err(Refusal::new(Code::WrongState, message));
        }
        Ok(())
    }
}
