// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The agent's sockets: one thread that waits for all of them. What it asks of the kernel for one does not grow with the others.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::PermissionsExt as _,
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    io::Errno,
    time::Timespec,
};

use crate::{
    agent::{Agent, Output, Peer, Who, say},
    kernel::Kernel,
    kill_point,
    wire::{Lines, Outbox, Read},
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
/// Sockets that are served before the others are looked at again.
const EVENTS_AT_ONCE: usize = 64;
/// The listener among the sockets that are waited for; peers are counted from 0.
const LISTENER: EventData = EventData::new_u64(u64::MAX);

/// Who listens, and who is connected.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    /// Whether connections are accepted, as the kernel has been told.
    accepts: bool,
    /// What waits for all of them.
    epoll: OwnedFd,
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
    /// What is waited for, as the kernel has been told.
    waits_for: EventFlags,
}

impl Connection {
    /// Whether it is listened to: who does not read his answers is asked nothing more.
    fn listens(&self) -> bool {
        !self.ends && self.outbox.bytes() == 0
    }

    /// What has to be waited for.
    fn wants(&self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.listens());
        flags.set(EventFlags::OUT, self.outbox.bytes() > 0);
        flags
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
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, LISTENER, EventFlags::IN)?;
        Ok(Self {
            listener,
            accepts: true,
            epoll,
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
    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<Vec<Peer>> {
        let mut ready = self.tell_the_kernel()?;
        let timeout = deadline.map(|it| it.saturating_duration_since(Instant::now()));
        // Rounded up, or the agent would turn round and round in the last millisecond.
        let timeout = timeout.map(|it| it + Duration::from_millis(1));
        let timeout = if ready.is_empty() {
            timeout
        } else {
            Some(Duration::ZERO)
        };
        let timeout = timeout.and_then(|it| Timespec::try_from(it).ok());
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let data = events.iter().map(|it| it.data);
        ready.extend(data.filter(|it| *it != LISTENER).map(|it| Peer(it.u64())));
        ready.sort_unstable();
        ready.dedup();
        Ok(ready)
    }

    /// Says what is waited for where that has changed; gives who has more to be looked at, without waiting.
    fn tell_the_kernel(&mut self) -> io::Result<Vec<Peer>> {
        let accepts = self.connections.len() < MAX_CONNECTIONS;
        if accepts != self.accepts {
            let mut flags = EventFlags::empty();
            flags.set(EventFlags::IN, accepts);
            epoll::modify(&self.epoll, &self.listener, LISTENER, flags)?;
            self.accepts = accepts;
        }
        let mut ready = Vec::new();
        for (peer, it) in &mut self.connections {
            let wants = it.wants();
            if wants != it.waits_for {
                epoll::modify(&self.epoll, &it.socket, peer.into(), wants)?;
                it.waits_for = wants;
            }
            if it.has_more && it.listens() {
                ready.push(*peer);
            }
        }
        Ok(ready)
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
                    let text = "has too many connections; this one is closed";
                    agent.say_of(uid, format_args!("user {uid} {text}"));
                }
                Ok(who) => self.admit(agent, socket, who),
                Err(err) => say(format_args!("a connection is of nobody: {err}")),
            }
        }
    }

    fn admit<K: Kernel>(&mut self, agent: &mut Agent<K>, socket: UnixStream, who: Who) {
        let peer = Peer(self.next);
        let waits_for = EventFlags::IN;
        if let Err(errno) = epoll::add(&self.epoll, &socket, (&peer).into(), waits_for) {
            return say(format_args!("cannot wait for a connection: {errno}"));
        }
        self.next += 1;
        agent.connected(peer, who);
        let connection = Connection {
            socket,
            uid: who.uid,
            lines: Lines::default(),
            outbox: Outbox::default(),
            ends: false,
            has_more: false,
            waits_for,
        };
        self.connections.insert(peer, connection);
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
        let mut is_empty = false;
        while alive && left > 0 && connection.listens() {
            left -= 1;
            match connection.lines.pop() {
                Ok(Some(line)) => connection.ends = !agent.line(peer, &line.text),
                Ok(None) if is_empty => break,
                Ok(None) => match connection.lines.read(&connection.socket) {
                    Ok(Read::Some { all }) => is_empty = all,
                    Err(Errno::AGAIN) => break,
                    Ok(Read::End) | Err(_) => alive = false,
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
                    let text = "does not read what it is told, and loses its connection";
                    agent.say_of(
                        connection.uid,
                        format_args!("a client of user {} {text}", connection.uid),
                    );
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

impl From<&Peer> for EventData {
    fn from(peer: &Peer) -> Self {
        Self::new_u64(peer.0)
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
