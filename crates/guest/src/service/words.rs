// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `name=value` on a command line.

use std::{collections::BTreeMap, str::FromStr};

use anyhow::{Context as _, Result};

#[derive(Debug, Default)]
pub(crate) struct Words(BTreeMap<String, String>);

impl Words {
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Self> {
        let pair = |word: String| {
            let (name, value) = word
                .split_once('=')
                .with_context(|| format!("not name=value: {word}"))?;
            Ok((name.to_owned(), value.to_owned()))
        };
        args.map(pair).collect::<Result<_>>().map(Self)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let parse = |text: &str| {
            text.parse()
                .ok()
                .with_context(|| format!("{name}={text} is no number"))
        };
        self.get(name).map(parse).transpose()
    }
}
