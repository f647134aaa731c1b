// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What operations took.

use serde::{Deserialize, Serialize};

/// How long a bulk operation took by the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    pub count: u32,
    pub total_ns: u64,
    /// Of these many last operations...
    pub tail_count: u32,
    /// ... this long.
    pub tail_ns: u64,
}

/// Free memory around and during an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    pub before_kib: u64,
    pub after_kib: u64,
    /// The least that was seen in between.
    pub lowest_kib: u64,
    /// How often it was looked.
    pub samples: u32,
}
