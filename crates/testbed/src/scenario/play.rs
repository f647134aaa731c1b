// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Steps that depend on what came of others, as a function.

use std::{fmt, sync::Arc};

use anyhow::Result;

use super::{Flavor, run::Stage};

type Steps = dyn Fn(&mut Stage<'_>) -> Result<()> + Send + Sync;

/// Steps of which each depends on what the one before gave.
#[derive(Clone)]
pub struct Play {
    /// The kernels that it goes into.
    pub(super) kernels: Vec<Flavor>,
    steps: Arc<Steps>,
}

impl Play {
    /// Steps in which the machine goes into no kernel but these.
    pub fn new(
        kernels: &[Flavor],
        steps: impl Fn(&mut Stage<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            kernels: kernels.to_vec(),
            steps: Arc::new(steps),
        }
    }

    pub(super) fn run(&self, stage: &mut Stage<'_>) -> Result<()> {
        (self.steps)(stage)
    }
}

impl fmt::Debug for Play {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Play").field(&self.kernels).finish()
    }
}
