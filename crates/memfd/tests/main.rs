// SPDX-License-Identifier: GPL-2.0-only

//! Properties of the memfd handler that its users rely on, checked from outside: by what can be seen of files, and by which pages
//! are in use.

mod countdown;
mod hostile;
mod life;
mod lives;
mod plan;
