// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A process that does nothing but hold descriptors, so that they outlive the agent.
//!
//! The agent starts it with a listening socket as its standard input, and speaks with it in [lines](crate::wire). It retrieves
//! sessions itself, so that there is no moment at which only the agent has one.

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd},
        unix::{
            fs::PermissionsExt as _,
            net::{UnixListener, UnixStream},
            process::CommandExt as _,
        },
    },
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

use liveupdate::SessionName;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Key, Vault};
use crate::kernel::open_device;
use crate::wire::{Line, Lines, Outbox, Read};

/// What the agent wants.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
enum Request {
    /// Comes with the descriptor.
    Put {
        name: String,
    },
    Remove {
        name: String,
    },
    /// Is answered by a line for each, and one more.
    All,
    Retrieve {
        name: String,
        session: String,
    },
}

/// What the holder says.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    /// In an answer to `All`; its descriptor comes with the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Where a descriptor is that was put: the holder's process, which the socket does not tell, and the number in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<(u32, i32)>,
    /// The kernel's refusal, and the operation it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
    #[serde(default)]
    opening: bool,
}

/// The agent's end.
#[derive(Debug)]
pub struct Holder {
    socket: UnixStream,
    lines: Lines,
}

/// Whose holder it is; the agent's own user otherwise.
pub type User = Option<u32>;

impl Holder {
    /// Connects to the holder of `user`, and starts it if there is none.
    ///
    /// # Errors
    /// Neither can be done.
    pub fn connect(state: &Path, user: User) -> io::Result<Self> {
        let path = socket_path(state, user);
        let socket = match UnixStream::connect(&path) {
            Ok(socket) => socket,
            Err(err) if is_nobody(&err) => {
                start(&path, user)?;
                UnixStream::connect(&path)?
            }
            Err(err) => return Err(err),
        };
        Ok(Self {
            socket,
            lines: Lines::default(),
        })
    }

    /// As [`Vault::put`]; gives the path of the descriptor in `/proc`.
    ///
    /// # Errors
    /// The holder is gone.
    pub fn hold(&mut self, name: &str, fd: BorrowedFd<'_>) -> io::Result<PathBuf> {
        let request = Request::Put {
            name: name.to_owned(),
        };
        let (answer, _) = self.ask(&request, Some(fd))?;
        match answer.place {
            Some((pid, fd)) => Ok(PathBuf::from(format!("/proc/{pid}/fd/{fd}"))),
            None => Err(io::Error::other("the holder did not take the descriptor")),
        }
    }

    /// As [`Vault::remove`].
    ///
    /// # Errors
    /// The holder is gone.
    pub fn release(&mut self, name: &str) -> io::Result<()> {
        self.ask(
            &Request::Remove {
                name: name.to_owned(),
            },
            None,
        )
        .map(drop)
    }

    fn ask(
        &mut self,
        request: &Request,
        fd: Option<BorrowedFd<'_>>,
    ) -> io::Result<(Answer, Option<OwnedFd>)> {
        let fd = fd.map(|it| it.try_clone_to_owned()).transpose()?;
        send(&self.socket, request, fd)?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<(Answer, Option<OwnedFd>)> {
        let line = next_line(&mut self.lines, &self.socket)?;
        let line = line.ok_or_else(|| io::Error::other("the holder is gone"))?;
        let answer = serde_json::from_slice(&line.text)?;
        Ok((answer, line.fds.into_iter().next()))
    }
}

impl Vault for Holder {
    fn put(&mut self, key: &Key, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.hold(&key.to_string(), fd).map(drop)
    }

    fn remove(&mut self, key: &Key) -> io::Result<()> {
        self.release(&key.to_string())
    }

    fn all(&mut self) -> io::Result<Vec<(Key, OwnedFd)>> {
        let mut all = Vec::new();
        let mut answer = self.ask(&Request::All, None)?;
        while let (
            Answer {
                name: Some(name), ..
            },
            fd,
        ) = answer
        {
            all.extend(Key::parse(&name).zip(fd));
            answer = self.answer()?;
        }
        Ok(all)
    }

    fn retrieve(&mut self, key: &Key, session: &SessionName) -> liveupdate::Result<OwnedFd> {
        let request = Request::Retrieve {
            name: key.to_string(),
            session: session.to_string(),
        };
        let broken = |errno, opening| liveupdate::Error {
            operation: if opening {
                liveupdate::Operation::Open
            } else {
                liveupdate::Operation::RetrieveSession
            },
            object: if opening {
                liveupdate::DEVICE_PATH.into()
            } else {
                session.to_string()
            },
            errno,
        };
        let (answer, fd) = self
            .ask(&request, None)
            .map_err(|_| broken(Errno::PIPE, false))?;
        match (answer.errno, fd) {
            (None, Some(fd)) => Ok(fd),
            (errno, _) => {
                let errno = errno.map_or(Errno::IO, Errno::from_raw_os_error);
                Err(broken(errno, answer.opening))
            }
        }
    }
}

fn socket_path(state: &Path, user: User) -> PathBuf {
    state.join(match user {
        None => "holder.sock".to_owned(),
        Some(uid) => format!("holder-{uid}.sock"),
    })
}

fn is_nobody(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

/// The listener exists before the process does, so that nobody has to wait for it.
fn start(path: &Path, user: User) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    let mut holder = Command::new(env::current_exe()?);
    holder
        .arg("hold")
        .stdin(OwnedFd::from(listener))
        .stdout(Stdio::null())
        .current_dir("/");
    if let Some(uid) = user {
        holder.uid(uid).gid(uid);
    }
    // It must not get the signals that a terminal sends to the agent.
    holder.process_group(0);
    holder.spawn().map(drop)
}

/// The holder's life: standard input is the socket it listens on. Ends only if that fails.
///
/// # Errors
/// Standard input is no listening socket.
pub fn serve() -> io::Result<()> {
    let listener = UnixListener::from(rustix::stdio::stdin().try_clone_to_owned()?);
    let mut held = BTreeMap::new();
    loop {
        let (socket, _) = listener.accept()?;
        // An agent that dies in the middle of something is none of the holder's concern.
        converse(&socket, &mut held).ok();
    }
}

fn converse(socket: &UnixStream, held: &mut BTreeMap<String, OwnedFd>) -> io::Result<()> {
    let mut lines = Lines::default();
    while let Some(line) = next_line(&mut lines, socket)? {
        let mut answer = Answer::default();
        let mut with = None;
        match serde_json::from_slice(&line.text)? {
            Request::Put { name } => {
                if let Some(fd) = line.fds.into_iter().next() {
                    answer.place = Some((process::id(), fd.as_raw_fd()));
                    held.insert(name, fd);
                }
            }
            Request::Remove { name } => drop(held.remove(&name)),
            Request::All => {
                for (name, fd) in &*held {
                    let answer = Answer {
                        name: Some(name.clone()),
                        ..Answer::default()
                    };
                    send(socket, &answer, Some(fd.try_clone()?))?;
                }
            }
            Request::Retrieve { name, session } => match retrieve(&session) {
                Ok(fd) => {
                    with = Some(fd.try_clone()?);
                    held.insert(name, fd);
                }
                Err(err) => {
                    answer.errno = Some(err.errno.raw_os_error());
                    answer.opening = err.operation == liveupdate::Operation::Open;
                }
            },
        }
        send(socket, &answer, with)?;
    }
    Ok(())
}

fn retrieve(session: &str) -> liveupdate::Result<OwnedFd> {
    let name = SessionName::new(session).map_err(|_| liveupdate::Error {
        operation: liveupdate::Operation::RetrieveSession,
        object: session.to_owned(),
        errno: Errno::INVAL,
    })?;
    open_device()?.retrieve(&name).map(OwnedFd::from)
}

fn send(socket: &UnixStream, what: &impl Serialize, fd: Option<OwnedFd>) -> io::Result<()> {
    let mut outbox = Outbox::default();
    outbox.push(serde_json::to_vec(what)?, fd);
    Ok(outbox.send(socket)?)
}

/// Blocks; none if the other end is gone.
fn next_line(lines: &mut Lines, socket: &UnixStream) -> io::Result<Option<Line>> {
    loop {
        match lines.pop().map_err(io::Error::other)? {
            Some(line) => return Ok(Some(line)),
            None if lines.read(socket)? == Read::End => return Ok(None),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Id;
    use std::os::fd::AsFd as _;
    use std::{
        fs::File,
        io::{Read as _, Seek as _, Write as _},
        thread,
    };

    /// A holder in a thread, and its listener's path.
    fn holder(dir: &Path) {
        let listener = UnixListener::bind(socket_path(dir, None)).unwrap();
        thread::spawn(move || {
            let mut held = BTreeMap::new();
            while let Ok((socket, _)) = listener.accept() {
                converse(&socket, &mut held).ok();
            }
        });
    }

    fn key(id: &str) -> Key {
        Key::Outgoing(Id::new(id).unwrap())
    }

    #[test]
    fn what_one_agent_puts_there_the_next_one_finds() {
        let dir = tempfile::tempdir().unwrap();
        holder(dir.path());
        let mut written = tempfile::tempfile().unwrap();
        written.write_all(b"kept").unwrap();
        let mut agent = Holder::connect(dir.path(), None).unwrap();
        agent.put(&key("a"), written.as_fd()).unwrap();
        agent.put(&key("b"), written.as_fd()).unwrap();
        agent.remove(&key("b")).unwrap();
        agent.remove(&key("never-there")).unwrap();
        drop(agent);

        let mut next = Holder::connect(dir.path(), None).unwrap();
        let mut all = next.all().unwrap();
        assert_eq!(all.len(), 1);
        let (found, fd) = all.pop().unwrap();
        assert_eq!(found, key("a"));
        let (mut file, mut text) = (File::from(fd), String::new());
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "kept");
        let place = next.hold("c", written.as_fd()).unwrap();
        assert!(place.starts_with(format!("/proc/{}/fd", process::id())));
    }

    #[test]
    fn a_session_that_cannot_be_had_is_an_error_and_no_end() {
        let dir = tempfile::tempdir().unwrap();
        holder(dir.path());
        let mut agent = Holder::connect(dir.path(), None).unwrap();
        if Path::new(liveupdate::DEVICE_PATH).exists() {
            return;
        }
        let err = agent
            .retrieve(&key("a"), &SessionName::new("a").unwrap())
            .unwrap_err();
        assert_eq!(err.operation, liveupdate::Operation::Open);
        assert_eq!(err.errno, Errno::NOENT);
        assert_eq!(agent.all().unwrap().len(), 0);
    }
}
