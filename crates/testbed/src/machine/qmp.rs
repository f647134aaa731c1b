// SPDX-License-Identifier: Apache-2.0 OR MIT

//! QEMU's own interface: what a machine is told from outside.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

/// QEMU answers at once, unless the host is busy.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often QEMU is asked whether it is done with something.
const POLL: Duration = Duration::from_millis(3);

/// A connection to QEMU.
#[derive(Debug)]
pub struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    /// QEMU's words for a socket to be controlled through.
    pub fn arguments(socket: &Path) -> [String; 2] {
        let place = format!("unix:{},server=on,wait=off", socket.display());
        ["-qmp".into(), place]
    }

    /// Connects to a QEMU that has been started.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = connect(socket)?;
        let mut qmp = Self {
            stream: BufReader::new(stream),
        };
        let greeting = qmp.receive()?;
        ensure!(greeting.get("QMP").is_some(), "not QEMU's: {greeting}");
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Stops the processors.
    ///
    /// # Errors
    /// When QEMU refuses or is gone; so for all commands.
    pub fn stop(&mut self) -> Result<()> {
        self.execute("stop", &json!({})).map(drop)
    }

    /// Lets the processors run.
    ///
    /// # Errors
    /// As for [`stop`](Self::stop).
    pub fn cont(&mut self) -> Result<()> {
        self.execute("cont", &json!({})).map(drop)
    }

    /// How many instructions a machine that counts them has executed; waiting is not in it.
    ///
    /// # Errors
    /// As for [`stop`](Self::stop).
    pub fn instructions(&mut self) -> Result<u64> {
        let answer = self.execute("query-replay", &json!({}))?;
        let count = answer.get("icount").and_then(Value::as_u64);
        count.context("QEMU does not count instructions")
    }

    /// Writes the state of all devices, without memory that is a shared file, to a file.
    ///
    /// # Errors
    /// As for [`stop`](Self::stop).
    pub fn save(&mut self, file: &Path) -> Result<()> {
        self.leave_out_shared_memory()?;
        let uri = format!("exec:cat > '{}'", file.display());
        self.execute("migrate", &json!({ "uri": uri }))?;
        self.wait_until("query-migrate", |status| match status {
            "completed" => Ok(true),
            "failed" | "cancelled" => bail!("QEMU cannot save the machine's state"),
            _ => Ok(false),
        })
    }

    /// Reads the state of all devices back, into a QEMU that was started with [`INCOMING`].
    ///
    /// # Errors
    /// As for [`stop`](Self::stop).
    pub fn load(&mut self, file: &Path) -> Result<()> {
        self.leave_out_shared_memory()?;
        let uri = format!("exec:cat '{}'", file.display());
        self.execute("migrate-incoming", &json!({ "uri": uri }))?;
        self.wait_until("query-status", |status| Ok(status != "inmigrate"))
    }

    /// Memory has a file, and does not go through the state.
    fn leave_out_shared_memory(&mut self) -> Result<()> {
        let capability = json!({ "capability": "x-ignore-shared", "state": true });
        self.execute(
            "migrate-set-capabilities",
            &json!({ "capabilities": [capability] }),
        )
        .map(drop)
    }

    fn wait_until(&mut self, query: &str, is: impl Fn(&str) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let answer = self.execute(query, &json!({}))?;
            let status = answer.get("status").and_then(Value::as_str);
            if is(status.unwrap_or_default())? {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{query} stays at {answer}");
            thread::sleep(POLL);
        }
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.stream.get_mut(), "{request}").context("QEMU is gone")?;
        loop {
            let mut answer = self.receive().with_context(|| command.to_owned())?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {command}: {error}");
            }
            // What has no answer in it is an event.
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    fn receive(&mut self) -> Result<Value> {
        let mut line = String::new();
        let length = self.stream.read_line(&mut line).context("QEMU is gone")?;
        ensure!(length > 0, "QEMU has ended");
        serde_json::from_str(&line).with_context(|| format!("not an answer: {line:?}"))
    }
}

/// QEMU's words for a machine that waits for [`Qmp::load`], and then for [`Qmp::cont`].
pub const INCOMING: [&str; 3] = ["-S", "-incoming", "defer"];

/// Connects to a socket that QEMU makes while it starts.
pub(super) fn connect(socket: &Path) -> Result<UnixStream> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => {
                stream.set_read_timeout(Some(TIMEOUT))?;
                return Ok(stream);
            }
            Err(error) if Instant::now() >= deadline => {
                return Err(error)
                    .with_context(|| format!("QEMU does not listen on {}", socket.display()));
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}
