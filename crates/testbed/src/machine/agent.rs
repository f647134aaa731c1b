// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The host's end of the agent's protocol.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    process::Child,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use luo_guest::proto::{FromGuest, Hello, MAX_REQUEST_BYTES, Op, Request};

use super::console::Console;

/// QEMU connects as soon as it runs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// A value from the guest, and when.
#[derive(Debug, Clone)]
pub struct Timed<T> {
    /// What came.
    pub value: T,
    /// When the request went out.
    pub sent: Instant,
    /// When the answer was here.
    pub received: Instant,
    /// How long the operation took by the guest's clock.
    pub guest_ns: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    messages: Receiver<(Instant, FromGuest)>,
    next_id: u64,
}

impl Link {
    pub(super) fn accept(
        listener: &UnixListener,
        qemu: &mut Child,
        console: &Console,
    ) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("cannot accept QEMU's connection"),
            }
            if let Some(status) = qemu.try_wait()? {
                thread::sleep(Duration::from_millis(50));
                bail!(console.report(&format!("QEMU did not start ({status})")));
            }
            ensure!(
                Instant::now() < deadline,
                console.report("QEMU did not connect its serial port")
            );
            thread::sleep(Duration::from_millis(5));
        };
        stream.set_nonblocking(false)?;
        let reader = stream.try_clone()?;
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            while reader
                .read_until(b'\n', &mut line)
                .is_ok_and(|length| length > 0)
            {
                // A kexec can cut a line short; what follows is the next kernel's.
                let start = line
                    .iter()
                    .rposition(|byte| *byte == 0)
                    .map_or(0, |at| at + 1);
                if let Ok(message) = serde_json::from_slice(&line[start..])
                    && sender.send((Instant::now(), message)).is_err()
                {
                    break;
                }
                line.clear();
            }
        });
        Ok(Self {
            stream,
            messages,
            next_id: 1,
        })
    }

    pub(super) fn send(&mut self, op: Op) -> Result<u64> {
        let id = self.next_id;
        self.next_id += 1;
        let mut line = serde_json::to_vec(&Request { id, op })?;
        line.push(b'\n');
        ensure!(
            line.len() <= MAX_REQUEST_BYTES,
            "a request of {} bytes is too long; use the payload disk",
            line.len()
        );
        self.stream
            .write_all(&line)
            .context("cannot write to the agent; has QEMU ended?")?;
        Ok(id)
    }

    pub(super) fn receive(&self, timeout: Duration) -> Option<(Instant, FromGuest)> {
        match self.messages.recv_timeout(timeout) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            // QEMU has ended: do not turn the caller's wait into a busy loop.
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(timeout);
                None
            }
        }
    }
}

/// Before the first agent has answered.
pub(super) fn nobody() -> Hello {
    Hello {
        boot_id: String::new(),
        release: String::new(),
        version: String::new(),
        cmdline: String::new(),
        uptime_ms: 0,
        tsc: 0,
    }
}
