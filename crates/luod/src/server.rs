// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The agent's sockets: one thread that waits for all of them.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::{
            fs::PermissionsExt as _,
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    time::Timespec,
};

use crate::{
    agent::{Agent, Output, Peer, Who, say},
    kernel::Kernel,
    kill_point,
    wire::{Lines, Outbox},
};

/// Connections at a time; more wait until somebody goes.
const MAX_CONNECTIONS: usize = 1024;
/// Of these, one user's who is not root: nobody can shut the others out.
const MAX_CONNECTIONS_OF_USER: usize = 256;
/// What waits for a client that does not read. More, and it is gone.
const MAX_OUTBOX_BYTES: usize = 1 << 20;
/// Reads from one client, and lines of it, before the others have their turn, and it has its answers.
const STEPS_AT_ONCE: usize = 16;
/// How long the last lines before a reboot may take.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(200);

/// Who listens, and who is connected.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    connections: BTreeMap<Peer, Connection>,
    next: u64,
}

#[derive(Debug)]
struct Connection {
    socket: UnixStream,
    uid: u32,
    lines: Lines,
    outbox: Outbox,
    /// Nothing more is read; what waits is still sent.
    ends: bool,
    /// It may have sent more than was looked at in its turn.
    has_more: bool,
}

impl Connection {
    /// Whether it is listened to: who does not read his answers is asked nothing more.
    fn listens(&self) -> bool {
        !self.ends && self.outbox.bytes() == 0
    }
}

impl Server {
    /// Listens at `path`, in place of an agent that died.
    ///
    /// # Errors
    /// Another agent is alive, or the path cannot be used.
    pub fn listen(path: &Path) -> io::Result<Self> {
        if UnixStream::connect(path).is_ok() {
            let message = format!("another agent listens at {}", path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
        match fs::remove_file(path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        // Who may do what is the policy's matter, not the path's.
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            connections: BTreeMap::new(),
            next: 0,
        })
    }

    /// Serves, until something fails that is no client's fault.
    ///
    /// # Errors
    /// The sockets cannot be waited for.
    pub fn run<K: Kernel>(mut self, agent: &mut Agent<K>) -> io::Result<()> {
        loop {
            self.deliver(agent);
            if agent.wants_to_leave() {
                if agent.prepare_to_leave() {
                    self.flush(agent);
                    agent.leave();
                }
                continue;
            }
            let ready = self.wait(agent.deadline())?;
            agent.tick(Instant::now());
            for peer in ready {
                self.serve(agent, peer);
            }
            self.accept(agent);
        }
    }

    /// Waits for something to do; gives who can be read from or written to.
    fn wait(&self, deadline: Option<Instant>) -> io::Result<Vec<Peer>> {
        let timeout = deadline.map(|it| it.saturating_duration_since(Instant::now()));
        // Rounded up, or the agent would turn round and round in the last millisecond.
        let timeout = timeout.map(|it| it + Duration::from_millis(1));
        let has_more = |it: &Connection| it.has_more && it.listens();
        let goes_on = self.connections.values().any(has_more);
        let timeout = if goes_on {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        let timeout = timeout.and_then(|it| Timespec::try_from(it).ok());
        let wants = |it: &Connection| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, it.listens());
            flags.set(PollFlags::OUT, it.outbox.bytes() > 0);
            flags
        };
        let accepts = self.connections.len() < MAX_CONNECTIONS;
        let accepts = if accepts {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let mut fds = vec![PollFd::from_borrowed_fd(self.listener.as_fd(), accepts)];
        fds.extend(self.connections.values().map(|it| {
            let socket: BorrowedFd<'_> = it.socket.as_fd();
            PollFd::from_borrowed_fd(socket, wants(it))
        }));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let fds = fds[1..].iter().zip(&self.connections);
        let is_ready = |(fd, (peer, it)): (&PollFd<'_>, (&Peer, &Connection))| {
            (!fd.revents().is_empty() || has_more(it)).then_some(*peer)
        };
        Ok(fds.filter_map(is_ready).collect())
    }

    fn accept<K: Kernel>(&mut self, agent: &mut Agent<K>) {
        while self.connections.len() < MAX_CONNECTIONS {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return,
                Err(err) => return say(format_args!("cannot accept a connection: {err}")),
            };
            match who(&socket) {
                Ok(Who { uid, .. }) if uid != 0 && self.of_user(uid) >= MAX_CONNECTIONS_OF_USER => {
                    say(format_args!(
                        "user {uid} has too many connections; this one is closed"
                    ));
                }
                Ok(who) => {
                    let peer = Peer(self.next);
                    self.next += 1;
                    agent.connected(peer, who);
                    let connection = Connection {
                        socket,
                        uid: who.uid,
                        lines: Lines::default(),
                        outbox: Outbox::default(),
                        ends: false,
                        has_more: false,
                    };
                    self.connections.insert(peer, connection);
                }
                Err(err) => say(format_args!("a connection is of nobody: {err}")),
            }
        }
    }

    fn of_user(&self, uid: u32) -> usize {
        self.connections.values().filter(|it| it.uid == uid).count()
    }

    fn serve<K: Kernel>(&mut self, agent: &mut Agent<K>, peer: Peer) {
        let Some(connection) = self.connections.get_mut(&peer) else {
            return;
        };
        let mut alive = connection.outbox.send(&connection.socket).is_ok();
        let mut left = STEPS_AT_ONCE;
        while alive && left > 0 && connection.listens() {
            left -= 1;
            match connection.lines.pop() {
                Ok(Some(line)) => connection.ends = !agent.line(peer, &line.text),
                Ok(None) => match connection.lines.read(&connection.socket) {
                    Ok(more) => alive = more,
                    Err(Errno::AGAIN) => break,
                    Err(_) => alive = false,
                },
                Err(err) => {
                    agent.too_long(peer, err.to_string());
                    connection.ends = true;
                }
            }
        }
        connection.has_more = left == 0 || !connection.listens();
        if connection.ends {
            // Nothing that it still sends is of interest: it takes part no more from here on.
            let outputs = agent.outputs();
            agent.disconnected(peer);
            self.queue(outputs);
        }
        if !alive {
            self.drop_peer(agent, peer);
        }
    }

    fn drop_peer<K: Kernel>(&mut self, agent: &mut Agent<K>, peer: Peer) {
        if self.connections.remove(&peer).is_some() {
            agent.disconnected(peer);
        }
    }

    fn queue(&mut self, outputs: Vec<Output>) -> Vec<&'static str> {
        let mut steps = Vec::new();
        for Output {
            to,
            event,
            fd,
            then,
        } in outputs
        {
            if let Some(connection) = self.connections.get_mut(&to) {
                let text = serde_json::to_vec(&event).expect("events are JSON");
                connection.outbox.push(text, fd);
                steps.extend(then);
            }
        }
        steps
    }

    /// Sends what the agent has to say. Who does not read loses his connection, which the agent may have something to say about.
    fn deliver<K: Kernel>(&mut self, agent: &mut Agent<K>) {
        loop {
            let outputs = agent.outputs();
            let steps = self.queue(outputs);
            let mut gone = Vec::new();
            for (peer, connection) in &mut self.connections {
                let sent = connection.outbox.send(&connection.socket);
                let is_full = connection.outbox.bytes() > MAX_OUTBOX_BYTES;
                let is_over = connection.ends && connection.outbox.bytes() == 0;
                if is_full {
                    say("a client does not read what it is told, and loses its connection");
                }
                if sent.is_err() || is_full || is_over {
                    gone.push(*peer);
                }
            }
            for step in steps {
                kill_point::reach(step);
            }
            if gone.is_empty() {
                return;
            }
            for peer in gone {
                self.drop_peer(agent, peer);
            }
        }
    }

    /// Sends what waits before the kernel is replaced, as far as it is read.
    fn flush<K: Kernel>(&mut self, agent: &mut Agent<K>) {
        let outputs = agent.outputs();
        self.queue(outputs);
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        for connection in self.connections.values_mut() {
            while connection.outbox.bytes() > 0 && Instant::now() < deadline {
                if connection.outbox.send(&connection.socket).is_err() {
                    break;
                }
                std::thread::yield_now();
            }
        }
    }
}

fn who(socket: &UnixStream) -> io::Result<Who> {
    socket.set_nonblocking(true)?;
    let peer = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(Who {
        pid: peer.pid.as_raw_nonzero().get().unsigned_abs(),
        uid: peer.uid.as_raw(),
    })
}
