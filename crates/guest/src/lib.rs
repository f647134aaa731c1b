// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the host and the test machine's agent share: the [protocol](proto), the [test pattern](pattern) and the
//! [payload disk](payload).
//!
//! The binary of this package, `luo-guest`, is the machine's `/init`: as process 1 it mounts the file systems, brings up the
//! network and starts the agent, which serves the protocol on the second serial port.

pub mod pattern;
pub mod payload;
#[expect(
    missing_docs,
    reason = "the protocol's fields are named for what they hold"
)]
pub mod proto;
