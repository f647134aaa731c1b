// SPDX-License-Identifier: Apache-2.0 OR MIT

//! An image's table of symbols.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

/// The functions of a kernel, and where they are unless it chooses addresses at random.
#[derive(Debug)]
pub(crate) struct Symbols {
    table: Vec<(u64, String)>,
    from: String,
}

impl Symbols {
    /// Those of a kernel, from the table beside its image.
    pub(crate) fn of(image: &Path) -> Result<Self> {
        let path = image.with_file_name("System.map");
        let from = path.display().to_string();
        let map = fs::read_to_string(&path).with_context(|| format!("cannot read {from}"))?;
        Ok(Self::parse(&map, from))
    }

    fn parse(map: &str, from: String) -> Self {
        let table = map.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (address, name) = (words.next()?, words.nth(1)?);
            Some((u64::from_str_radix(address, 16).ok()?, name.to_owned()))
        });
        let table = table.collect();
        Self { table, from }
    }

    /// The virtual address of the one of these functions that there is.
    pub(crate) fn address(&self, names: &[&str]) -> Result<u64> {
        let found = self
            .table
            .iter()
            .find(|(_, name)| names.contains(&name.as_str()));
        let (address, _) = found.with_context(|| format!("{} has none of {names:?}", self.from))?;
        ensure!(*address != 0, "{} has no addresses", self.from);
        Ok(*address)
    }

    /// The name of the function at an address; for one without a name, the address.
    pub(crate) fn name(&self, address: u64) -> String {
        let found = self.table.iter().find(|(at, _)| *at == address);
        found.map_or_else(|| format!("{address:#x}"), |(_, name)| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "ffffffff81000000 T _text\nffffffff81201000 t run_init_process\n";

    #[test]
    fn functions_are_found_by_name_and_by_address() {
        let symbols = Symbols::parse(MAP, "a map".into());
        let address = symbols.address(&["nothing", "run_init_process"]).unwrap();
        assert_eq!(address, 0xffff_ffff_8120_1000);
        assert_eq!(symbols.name(address), "run_init_process");
        assert_eq!(symbols.name(0x1000), "0x1000");
    }

    #[test]
    fn what_is_missing_is_said() {
        let error = Symbols::parse(MAP, "a map".into()).address(&["nothing"]);
        assert_eq!(
            error.unwrap_err().to_string(),
            "a map has none of [\"nothing\"]"
        );
    }
}
