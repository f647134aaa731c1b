// SPDX-License-Identifier: GPL-2.0-only

//! The memory of tasks: mappings with unmapped bytes before and behind each.

use super::machine;
use crate::{error::Result, error::code::EFAULT};
use core::ops::Range;
use std::collections::BTreeMap;

/// Where the first mapping is.
const BASE: usize = 0x7000_0000;
/// How far mappings are apart.
const STRIDE: usize = 0x1_0000;

/// How memory is accessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// The kernel reads.
    Read,
    /// The kernel writes.
    Write,
}

type OnFault = Box<dyn FnOnce() + Send>;

struct Mapping {
    bytes: Vec<u8>,
    writable: bool,
    on_fault: Option<(Access, OnFault)>,
}

/// All mappings, by address.
#[derive(Default)]
pub(crate) struct Memory(BTreeMap<usize, Mapping>);

impl Memory {
    /// The mapping in which the whole range is, and where it is there.
    fn find(&mut self, addr: usize, len: usize) -> Result<(&mut Mapping, Range<usize>)> {
        let (start, mapping) = self.0.range_mut(..=addr).next_back().ok_or(EFAULT)?;
        let from = addr - start;
        let to = from.checked_add(len).ok_or(EFAULT)?;
        let mapped = to <= mapping.bytes.len();
        mapped.then_some((mapping, from..to)).ok_or(EFAULT)
    }
}

/// Runs what waits for the access, with nothing locked.
fn fault(addr: usize, len: usize, access: Access) -> Result {
    let machine = machine::current();
    if !machine.failing_copy.succeeds() {
        return Err(EFAULT);
    }
    let waiting = {
        let mut memory = machine.user.lock();
        let (mapping, _) = memory.find(addr, len)?;
        mapping.on_fault.take_if(|(it, _)| *it == access)
    };
    if let Some((_, run)) = waiting {
        run();
    }
    Ok(())
}

pub(crate) fn copy_from(addr: usize, out: &mut [u8]) -> Result {
    fault(addr, out.len(), Access::Read)?;
    let machine = machine::current();
    let mut memory = machine.user.lock();
    let (mapping, range) = memory.find(addr, out.len())?;
    out.copy_from_slice(&mapping.bytes[range]);
    Ok(())
}

pub(crate) fn copy_to(addr: usize, data: &[u8]) -> Result {
    fault(addr, data.len(), Access::Write)?;
    let machine = machine::current();
    let mut memory = machine.user.lock();
    let (mapping, range) = memory.find(addr, data.len())?;
    if !mapping.writable {
        return Err(EFAULT);
    }
    mapping.bytes[range].copy_from_slice(data);
    Ok(())
}

/// Maps memory with these contents; gives its address.
#[must_use]
pub fn map(bytes: &[u8]) -> usize {
    let machine = machine::current();
    let mut memory = machine.user.lock();
    let addr = BASE + memory.0.len() * STRIDE;
    let mapping = Mapping {
        bytes: bytes.to_vec(),
        writable: true,
        on_fault: None,
    };
    memory.0.insert(addr, mapping);
    addr
}

fn with<R>(addr: usize, change: impl FnOnce(&mut Mapping) -> R) -> R {
    let machine = machine::current();
    let mut memory = machine.user.lock();
    change(memory.0.get_mut(&addr).expect("nothing is mapped there"))
}

/// What the mapping at `addr` holds.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn contents(addr: usize) -> Vec<u8> {
    with(addr, |it| it.bytes.clone())
}

/// Takes away the right to write to the mapping at `addr`.
///
/// # Panics
///
/// If there is none.
pub fn write_protect(addr: usize) {
    with(addr, |it| it.writable = false);
}

/// Runs `run` at the next such access to the mapping at `addr`, before it takes place: what other
/// tasks do while this one waits for its memory.
///
/// # Panics
///
/// If there is none.
pub fn on_fault(addr: usize, access: Access, run: impl FnOnce() + Send + 'static) {
    with(addr, |it| it.on_fault = Some((access, Box::new(run))));
}
