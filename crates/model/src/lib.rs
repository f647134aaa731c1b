// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the Live Update Orchestrator does, as an executable specification.
//!
//! An [`Op`] is something that a program, a module or an operator does on a machine. The [`Oracle`] says what comes of it and
//! what can be seen then, from the rules of the interface and not from how LUO is made. Whatever can carry out operations can
//! be compared with it: a simulated machine, a fuzzer's target, a real one.
//!
//! The domains are small, so that operations meet: four names, five tokens, three files and two processes; two handlers, of
//! which the first depends on one FLB and the second on both.

mod domain;
mod errno;
mod op;
mod oracle;
mod view;

pub use self::{
    domain::{File, Flb, Handler, Name, Process, Token},
    errno::Errno,
    op::{Answer, Callback, Direction, Image, Modules, Obstacle, Op, Outcome, Session},
    oracle::Oracle,
    view::{FileState, SessionState, SessionView, View},
};
