// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A simulated kernel with an agent on it, and what tests do with them.

use std::{
    cell::{RefCell, RefMut},
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    rc::Rc,
};

use super::{
    world::{Fake, World, inode},
    *,
};
use crate::vault::Key;

/// A kernel with an agent on it.
pub(super) struct Machine {
    world: Rc<RefCell<World>>,
    agent: Option<Agent<Fake>>,
    state: tempfile::TempDir,
    boot: u32,
    next: u64,
}

impl Machine {
    pub(super) fn boot() -> Self {
        let world = World {
            loaded: true,
            ..World::default()
        };
        Self::on(world, 1)
    }

    fn on(world: World, boot: u32) -> Self {
        let state = tempfile::tempdir().unwrap();
        let world = Rc::new(RefCell::new(world));
        let mut machine = Self {
            world,
            agent: None,
            state,
            boot,
            next: 0,
        };
        machine.restart();
        machine
    }

    /// The agent is killed, and started again.
    pub(super) fn restart(&mut self) {
        self.agent = None;
        let policy = self.state.path().join("policy.toml");
        let rules = format!(
            "[[owner]]\nids = [\"vm-*\"]\nuser = {ALICE}\n[[owner]]\nids = [\"db-*\"]\nuser = {BOB}\n"
        );
        std::fs::write(&policy, rules).unwrap();
        let settings = Settings {
            state: self.state.path().to_owned(),
            timeout: Duration::from_secs(60),
            boot_id: self.boot.to_string(),
            release: format!("kernel {}", self.boot),
        };
        let fake = Fake(self.world.clone());
        let policy = Policy::load(&policy).unwrap();
        let agent = Agent::start(fake.clone(), Box::new(fake), policy, settings).unwrap();
        self.agent = Some(agent);
    }

    /// What was handed over arrives, everything else is gone.
    pub(super) fn kexec(self) -> Self {
        self.kexec_to(false)
    }

    /// The same, where the vault is a service manager's that carries it over: what went out is in it as what has come in.
    pub(super) fn kexec_with_the_vault(self) -> Self {
        self.kexec_to(true)
    }

    fn kexec_to(mut self, with_the_vault: bool) -> Self {
        assert!(self.has_left());
        self.agent = None;
        let mut old = self.world.take();
        let mut incoming: BTreeMap<_, _> =
            old.incoming.into_iter().filter(|(_, it)| !it.2).collect();
        for (_, (name, files)) in std::mem::take(&mut old.outgoing) {
            let fd = OwnedFd::from(tempfile::tempfile().unwrap());
            incoming.insert(name, (fd, files, false));
        }
        let mut vault = BTreeMap::new();
        for (name, (fd, ..)) in incoming.iter().filter(|_| with_the_vault) {
            let key = match name.as_str() {
                manifest::SESSION => Key::IncomingOwn,
                client => Key::Incoming(id(client)),
            };
            vault.insert(key.to_string(), fd.try_clone().unwrap());
        }
        Self::on(
            World {
                incoming,
                vault,
                loaded: true,
                ..World::default()
            },
            self.boot + 1,
        )
    }

    pub(super) fn agent(&mut self) -> &mut Agent<Fake> {
        self.agent.as_mut().unwrap()
    }

    pub(super) fn kernel(&mut self) -> RefMut<'_, World> {
        self.world.borrow_mut()
    }

    pub(super) fn has_left(&self) -> bool {
        self.world.borrow().left
    }

    pub(super) fn vault_keys(&self) -> Vec<String> {
        self.world.borrow().vault.keys().cloned().collect()
    }

    /// When the last of the sessions was claimed that came into this kernel.
    pub(super) fn last_claim(&mut self) -> Option<Moment> {
        self.agent().ledger.arrival.as_ref()?.claimed
    }

    /// Clients close what was called off, as they have to: whatever is in no vault is gone.
    pub(super) fn close_sessions(&mut self) {
        let mut world = self.world.borrow_mut();
        let kept: Vec<_> = world.vault.values().map(|fd| inode(fd.as_fd())).collect();
        world.outgoing.retain(|inode, _| kept.contains(inode));
    }

    pub(super) fn connect(&mut self, uid: u32) -> Peer {
        let peer = self.connect_plain(uid);
        self.ask(peer, Command::Hello { version: VERSION });
        peer
    }

    pub(super) fn connect_plain(&mut self, uid: u32) -> Peer {
        let peer = Peer(self.next);
        self.next += 1;
        self.agent().connected(peer, Who { pid: 1, uid });
        peer
    }

    pub(super) fn disconnect(&mut self, peer: Peer) -> Vec<(Peer, Event)> {
        self.agent().disconnected(peer);
        self.run()
    }

    pub(super) fn subscribe(&mut self, peer: Peer, name: &str) {
        let events = self.ask(peer, Command::Subscribe { id: id(name) });
        assert_eq!(events, [(peer, Event::Subscribed { id: id(name) })]);
    }

    /// Sends a command, and gives all events that come of it.
    pub(super) fn ask(&mut self, peer: Peer, command: Command) -> Vec<(Peer, Event)> {
        assert!(
            self.agent()
                .line(peer, &serde_json::to_vec(&command).unwrap())
        );
        drop(command);
        self.run()
    }

    /// What the server does between two waits.
    pub(super) fn run(&mut self) -> Vec<(Peer, Event)> {
        let mut events = Vec::new();
        loop {
            let outputs = self.agent().outputs();
            if outputs.is_empty() && !self.agent().wants_to_leave() {
                return events;
            }
            events.extend(outputs.into_iter().map(|it| (it.to, it.event)));
            if self.agent().wants_to_leave() && self.agent().prepare_to_leave() {
                events.extend(
                    self.agent()
                        .outputs()
                        .into_iter()
                        .map(|it| (it.to, it.event)),
                );
                self.agent().leave();
                if self.has_left() {
                    return events;
                }
            }
        }
    }

    /// What a client does with the session it was handed.
    pub(super) fn preserve(&mut self, _: Peer, name: &str, token: Token, content: &[u8]) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let mut world = self.world.borrow_mut();
        let session = world
            .outgoing
            .values_mut()
            .find(|(it, _)| it == name)
            .unwrap();
        session.1.insert(token.0, file);
    }

    /// A whole update with these clients, each with its name in it.
    pub(super) fn carry(&mut self, clients: &[(&str, u32)]) {
        let operator = self.connect(0);
        let mut peers = Vec::new();
        for (name, uid) in clients {
            let peer = self.connect(*uid);
            self.subscribe(peer, name);
            peers.push(peer);
        }
        self.ask(operator, UPDATE);
        for (peer, (name, _)) in peers.into_iter().zip(clients) {
            self.preserve(peer, name, Token(0), name.as_bytes());
            self.ask(peer, Command::Ready { id: None });
        }
        assert!(self.has_left());
    }

    pub(super) fn claim(&mut self, peer: Peer, name: &str) -> Option<Session<Incoming>> {
        let text = serde_json::to_vec(&Command::Claim { id: id(name) }).unwrap();
        self.agent().line(peer, &text);
        let outputs = self.agent().outputs();
        outputs.into_iter().find_map(|it| it.fd).map(Session::from)
    }

    pub(super) fn retrieve(&mut self, session: &Session<Incoming>, token: Token) -> Vec<u8> {
        let mut file = File::from(Fake(self.world.clone()).retrieve_file(session, token));
        let mut content = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut content).unwrap();
        content
    }

    pub(super) fn finish(&mut self, session: &Session<Incoming>) {
        Kernel::finish(&Fake(self.world.clone()), session).unwrap();
    }

    pub(super) fn status(&mut self, peer: Peer) -> Status {
        match self.ask(peer, Command::Status).remove(0).1 {
            Event::Status(status) => *status,
            other => panic!("{other:?} in answer to STATUS"),
        }
    }
}
