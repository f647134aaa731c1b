// SPDX-License-Identifier: Apache-2.0 OR MIT

//! An agent that says what a test wants, and luoctl run against it.

use std::{
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command as Process, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use luod::{
    protocol::{Command, Event, VERSION},
    wire::{Lines, Outbox, Read},
};
use rustix::process::{Pid, Signal, kill_process};

/// What the agent does when it is told something.
pub(crate) enum Do {
    /// Answers.
    Say(Event),
    /// Answers with a descriptor.
    Give(Event, OwnedFd),
    /// Says it to whoever has asked for the update.
    TellUpdater(Event),
    /// Ends the connection.
    Hang,
}

/// More than any of these tests takes on a machine that is busy with others.
const PATIENCE: Duration = Duration::from_secs(60);

type Answers = dyn Fn(&Command) -> Vec<Do> + Send + Sync;

/// The agent.
pub(crate) struct Fake {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    answers: Box<Answers>,
    heard: Mutex<Vec<Command>>,
    updater: Mutex<Option<UnixStream>>,
}

/// What luoctl has done.
#[derive(Debug)]
pub(crate) struct Ran {
    /// None if it was killed.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Fake {
    /// One that answers each command but `HELLO` in this way.
    pub(crate) fn that(answers: impl Fn(&Command) -> Vec<Do> + Send + Sync + 'static) -> Self {
        let fake = Self::absent(answers);
        let listener = UnixListener::bind(fake.socket()).unwrap();
        let shared = fake.shared.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (shared, socket) = (shared.clone(), socket.unwrap());
                thread::spawn(move || shared.serve(&socket));
            }
        });
        fake
    }

    /// One that is not there.
    pub(crate) fn none() -> Self {
        Self::absent(|_| Vec::new())
    }

    fn absent(answers: impl Fn(&Command) -> Vec<Do> + Send + Sync + 'static) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            shared: Arc::new(Shared {
                answers: Box::new(answers),
                heard: Mutex::default(),
                updater: Mutex::default(),
            }),
        }
    }

    /// A folder of the test's.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn socket(&self) -> PathBuf {
        self.folder().join("agent.sock")
    }

    /// What it was told, but for `HELLO`.
    pub(crate) fn heard(&self) -> Vec<Command> {
        self.shared.heard.lock().unwrap().clone()
    }

    /// Whether it has been told this, now or soon.
    pub(crate) fn await_command(&self, name: &str) {
        for _ in 0..1000 {
            if self.heard().iter().any(|it| it.name() == name) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{name} has not come, but {:?}", self.heard());
    }

    /// luoctl, not started yet.
    pub(crate) fn luoctl(&self, words: &[&str]) -> Process {
        let mut process = Process::new(env!("CARGO_BIN_EXE_luoctl"));
        process
            .arg("--socket")
            .arg(self.socket())
            .args(words)
            .current_dir(self.folder())
            // What runs here has no say in whether the machine goes down.
            .env("PATH", self.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        process
    }

    /// luoctl, to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        Self::wait(self.luoctl(words).spawn().unwrap())
    }

    /// To its end, or for long enough: a test fails, it does not hang.
    pub(crate) fn wait(child: Child) -> Ran {
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let (ended, end) = mpsc::channel();
        let watchdog = thread::spawn(move || {
            if end.recv_timeout(PATIENCE).is_err() {
                // It is not waited for yet, so the number is still its own.
                kill_process(pid, Signal::KILL).unwrap();
            }
        });
        let output = child.wait_with_output().unwrap();
        // Too late if it was killed, which its status shows.
        let _ = ended.send(());
        watchdog.join().unwrap();
        output.into()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// Checks the exit status; shows everything if it is another one.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Checks that it says this, on either output.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let found = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(found, "no {text:?} in {self:#?}");
        self
    }

    /// Its output, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|err| panic!("{err} in {self:#?}"))
    }
}

impl Shared {
    fn serve(&self, socket: &UnixStream) {
        let mut lines = Lines::default();
        while lines.read(socket).is_ok_and(|it| it != Read::End) {
            while let Ok(Some(line)) = lines.pop() {
                let command: Command = serde_json::from_slice(&line.text).unwrap();
                if !self.obey(&command, socket) {
                    return;
                }
            }
        }
    }

    /// Gives whether the connection goes on.
    fn obey(&self, command: &Command, socket: &UnixStream) -> bool {
        if let Command::Hello { version } = command {
            let event = Event::Hello {
                version: VERSION.min(*version),
                agent: "fake 1".into(),
            };
            send(socket, &event, None);
            return true;
        }
        if matches!(command, Command::Update { .. }) {
            *self.updater.lock().unwrap() = Some(socket.try_clone().unwrap());
        }
        // Before it is answered: who has the answer may ask what was heard.
        self.heard.lock().unwrap().push(command.clone());
        let deeds = (self.answers)(command);
        for deed in deeds {
            match deed {
                Do::Say(event) => send(socket, &event, None),
                Do::Give(event, fd) => send(socket, &event, Some(fd)),
                Do::TellUpdater(event) => {
                    let updater = self.updater.lock().unwrap();
                    send(updater.as_ref().expect("there is an update"), &event, None);
                }
                Do::Hang => {
                    // The other copy keeps the connection open otherwise.
                    socket.shutdown(std::net::Shutdown::Both).unwrap();
                    return false;
                }
            }
        }
        true
    }
}

fn send(socket: &UnixStream, event: &Event, fd: Option<OwnedFd>) {
    let mut outbox = Outbox::default();
    outbox.push(serde_json::to_vec(event).unwrap(), fd);
    // Who has gone does not want to hear.
    let _ = outbox.send(socket);
}
