// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The first serial port: kept line by line, with the host's time, in memory and in a file.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::Child,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

use anyhow::{Context as _, Result};

/// So many last lines go into an error.
const TAIL: usize = 40;

/// A line of the console.
#[derive(Debug, Clone)]
pub struct Line {
    /// When its end arrived.
    pub at: Instant,
    /// Without the line end.
    pub text: String,
}

/// What a machine has printed so far.
#[derive(Debug, Clone)]
pub struct Console {
    lines: Arc<Mutex<Vec<Line>>>,
    log: PathBuf,
    readers: Arc<Mutex<Vec<JoinHandle<io::Result<()>>>>>,
}

impl Console {
    /// Keeps what QEMU prints from here on; what QEMU itself says on standard error is kept with it.
    pub(super) fn keep(qemu: &mut Child, log: &Path) -> Result<Self> {
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let console = Self {
            lines: Arc::default(),
            log: log.to_owned(),
            readers: Arc::default(),
        };
        let started = Instant::now();
        let stdout = qemu.stdout.take().context("QEMU has no standard output")?;
        let stderr = qemu.stderr.take().context("QEMU has no standard error")?;
        console.spawn_reader(stdout, file.try_clone()?, started, "");
        console.spawn_reader(stderr, file, started, "qemu: ");
        Ok(console)
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lock().clone()
    }

    /// Lines from number `first` on.
    pub fn since(&self, first: usize) -> Vec<Line> {
        self.lock().iter().skip(first).cloned().collect()
    }

    /// How many lines there are; for [`since`](Self::since).
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing has been printed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether any line is such.
    pub fn any(&self, is: impl Fn(&str) -> bool) -> bool {
        self.lock().iter().any(|line| is(&line.text))
    }

    /// The file that keeps it.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// An error's text: what happened, the last lines, where the rest is.
    pub fn report(&self, what: &str) -> String {
        let lines = self.lock();
        let tail = lines
            .iter()
            .skip(lines.len().saturating_sub(TAIL))
            .map(|line| format!("    {}\n", line.text));
        format!(
            "{what}\n  the console's last lines:\n{}  all of it: {}",
            tail.collect::<String>(),
            self.log.display()
        )
    }

    fn spawn_reader(
        &self,
        from: impl Read + Send + 'static,
        mut log: File,
        started: Instant,
        prefix: &'static str,
    ) {
        let lines = Arc::clone(&self.lines);
        let reader = thread::spawn(move || -> io::Result<()> {
            let mut from = BufReader::new(from);
            let mut bytes = Vec::new();
            while from.read_until(b'\n', &mut bytes)? > 0 {
                let at = Instant::now();
                let text = String::from_utf8_lossy(&bytes);
                let text = format!("{prefix}{}", text.trim_end_matches(['\r', '\n']));
                writeln!(log, "{:9.3}  {text}", (at - started).as_secs_f64())?;
                lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(Line { at, text });
                bytes.clear();
            }
            Ok(())
        });
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.push(reader);
    }

    /// Waits until all that QEMU has printed is here; QEMU has to have ended.
    pub(super) fn wait_for_the_end(&self) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        for reader in readers.drain(..) {
            // What cannot be written to the log is not worth losing the rest for.
            reader.join().ok();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
