// SPDX-License-Identifier: GPL-2.0-only

//! Carries out the model's operations on a simulated machine.

mod fdinfo;

use crate::{
    boot,
    ledger::{self, FileLedger, FlbLedger, Refusals},
    open_device,
    uapi::Call,
};
use kernel::{
    host::{self, memfd},
    liveupdate::{FileHandler, FileOps, Flb, FlbOps},
    prelude::*,
};
use luo::host_api;
use luo_model::{
    Answer, Callback, Direction, Errno, File, Handler, Image, Modules, Name, Obstacle, Op, Outcome,
    Process, Session, Token, View,
};
use std::collections::{BTreeMap, BTreeSet};

/// A descriptor that is not there.
const NO_FD: i32 = -1;

/// The machine of this thread, and who has which descriptors there.
pub struct Driver {
    refusals: Refusals,
    handlers: [&'static FileLedger; 2],
    flbs: [&'static FlbLedger; 2],
    loaded: BTreeSet<Handler>,
    /// References of kernels that are gone: handlers and FLBs outlive them here.
    old_refs: ([usize; 2], [usize; 2]),
    handed_over: Option<Image>,
    device: BTreeMap<Process, i32>,
    sessions: BTreeMap<Session, (Process, i32)>,
    files: BTreeMap<(Process, File), i32>,
    nr_made: u32,
}

fn in_process<R>(Process(number): Process, task: impl FnOnce() -> R) -> R {
    host::as_process(u32::from(number) + 1, task)
}

fn text(name: Name) -> String {
    format!("session-{}", name.0)
}

impl Driver {
    /// Powers a machine on, with these modules.
    pub fn power_on(modules: Modules) -> Self {
        let refusals = Refusals::default();
        crate::power_on_with(&[]);
        let mut driver = Self {
            handlers: Handler::ALL.map(|it| FileLedger::new(it, &refusals)),
            flbs: luo_model::Flb::ALL.map(|it| FlbLedger::new(it, &refusals)),
            refusals,
            loaded: BTreeSet::new(),
            old_refs: Default::default(),
            handed_over: None,
            device: BTreeMap::new(),
            sessions: BTreeMap::new(),
            files: BTreeMap::new(),
            nr_made: 0,
        };
        driver.load_all(modules);
        driver
    }

    /// Lets the callback after the next `successes` refuse, once; `None` cancels that. Gives what was set before and has not
    /// happened yet.
    pub fn fail_callback(&self, successes: Option<usize>) -> Option<usize> {
        self.refusals.fail_after(successes)
    }

    /// The callback that has refused so, and forgets it.
    pub fn refused_callback(&self) -> Option<Callback> {
        self.refusals.refused()
    }

    /// Does `op`, which is one of its own [`steps`](Op::steps).
    pub fn apply(&mut self, op: Op) -> Outcome {
        let result = self.carry_out(op);
        result.map_err(|err| Errno(-err.to_errno()))
    }

    fn carry_out(&mut self, op: Op) -> Result<Answer> {
        match op {
            Op::OpenDevice { process } => {
                let fd = in_process(process, open_device)?;
                self.device.insert(process, fd);
            }
            Op::CloseDevice { process } => {
                let fd = self.device.remove(&process).unwrap_or(NO_FD);
                in_process(process, || host::close(fd))?;
            }
            Op::MakeFile {
                process,
                file,
                handler,
            } => self.make_file(process, file, handler)?,
            Op::CloseFile { process, file } => {
                let fd = self.files.remove(&(process, file)).unwrap_or(NO_FD);
                in_process(process, || host::close(fd))?;
            }
            Op::Create {
                process,
                name,
                obstacle,
            } => {
                let fd = self.call_device(process, &Call::create(&text(name)), obstacle)?;
                self.session_opened(Direction::Outgoing, name, process, fd);
            }
            Op::Retrieve {
                process,
                name,
                obstacle,
            } => {
                let fd = self.call_device(process, &Call::retrieve(&text(name)), obstacle)?;
                self.session_opened(Direction::Incoming, name, process, fd);
            }
            Op::Preserve { name, file, token } => {
                let (process, session) = self.descriptor(Direction::Outgoing, name);
                let fd = self.files.get(&(process, file)).copied().unwrap_or(NO_FD);
                in_process(process, || Call::preserve_fd(fd, token.0).on(session))?;
            }
            Op::RetrieveFile {
                name,
                token,
                into,
                obstacle,
            } => return self.retrieve_file(name, token, into, obstacle),
            Op::Finish { name } => {
                let (process, session) = self.descriptor(Direction::Incoming, name);
                in_process(process, || crate::finish(session))?;
            }
            Op::GetName { session } => return self.get_name(session),
            Op::Misdirect { session } => self.misdirect(session)?,
            Op::Close { session } => {
                let (process, fd) = self.descriptor(session.direction, session.name);
                self.sessions.remove(&session);
                in_process(process, || host::close(fd))?;
            }
            Op::Crash { process } => {
                in_process(process, host::exit);
                self.device.remove(&process);
                self.sessions.retain(|_, (it, _)| *it != process);
                self.files.retain(|(it, _), _| *it != process);
            }
            Op::Load { handler } => self.load(handler)?,
            Op::Unload { handler } => self.unload(handler)?,
            Op::Refuse { callback } => self.refusals.refuse(callback),
            Op::Relent => self.refusals.relent(),
            Op::Borrow { direction, flb } => {
                let flb = self.flb(flb);
                match direction {
                    Direction::Outgoing => host_api::flb_get_outgoing(flb)?,
                    Direction::Incoming => host_api::flb_get_incoming(flb)?,
                };
            }
            Op::GiveBack { direction, flb } => {
                let flb = self.flb(flb);
                // In the kernel this gives nothing back.
                let _ = match direction {
                    Direction::Outgoing => host_api::flb_put_outgoing(flb),
                    Direction::Incoming => host_api::flb_put_incoming(flb),
                };
            }
            Op::HandOver { image } => self.hand_over(image)?,
            Op::Jump { modules } => self.jump(modules),
            Op::Kexec { .. }
            | Op::CreateMany { .. }
            | Op::PreserveMany { .. }
            | Op::FinishAll { .. }
            | Op::FinishMany { .. } => {
                panic!("{op:?} consists of others")
            }
        }
        Ok(Answer::Done)
    }

    fn make_file(&mut self, process: Process, file: File, handler: Handler) -> Result {
        let contents = ledger::contents(handler, self.nr_made, file.nr_pages());
        let fd = in_process(process, || memfd::create(&contents))?;
        self.nr_made += 1;
        self.keep_file(process, file, fd);
        Ok(())
    }

    fn keep_file(&mut self, process: Process, file: File, fd: i32) {
        if let Some(before) = self.files.insert((process, file), fd) {
            in_process(process, || host::close(before)).unwrap();
        }
    }

    /// Calls an ioctl of the device; gives the descriptor that it gives.
    fn call_device(&self, process: Process, call: &Call, obstacle: Obstacle) -> Result<i32> {
        in_process(process, || match self.device.get(&process) {
            Some(device) => call_for_fd(*device, call, obstacle),
            None => {
                let device = open_device()?;
                let result = call_for_fd(device, call, obstacle);
                host::close(device).unwrap();
                result
            }
        })
    }

    fn session_opened(&mut self, direction: Direction, name: Name, process: Process, fd: i32) {
        let session = Session { direction, name };
        let before = self.sessions.insert(session, (process, fd));
        assert_eq!(before, None, "{session:?} is there twice");
    }

    /// The descriptor of a session, and who has it.
    fn descriptor(&self, direction: Direction, name: Name) -> (Process, i32) {
        let held = self.sessions.get(&Session { direction, name });
        held.copied().unwrap_or((Process(0), NO_FD))
    }

    fn retrieve_file(
        &mut self,
        name: Name,
        token: Token,
        into: File,
        obstacle: Obstacle,
    ) -> Result<Answer> {
        let (process, session) = self.descriptor(Direction::Incoming, name);
        let call = Call::retrieve_fd(token.0);
        let fd = in_process(process, || call_for_fd(session, &call, obstacle))?;
        let number = ledger::number(&in_process(process, || memfd::read(fd))?);
        self.keep_file(process, into, fd);
        Ok(Answer::Contents(number))
    }

    fn get_name(&self, session: Session) -> Result<Answer> {
        let (process, fd) = self.descriptor(session.direction, session.name);
        let call = Call::get_name();
        in_process(process, || call.on(fd))?;
        assert!(call.bytes()[8..].starts_with(format!("{}\0", text(session.name)).as_bytes()));
        Ok(Answer::Name(session.name))
    }

    fn misdirect(&self, session: Session) -> Result {
        let (process, fd) = self.descriptor(session.direction, session.name);
        let calls = match session.direction {
            Direction::Outgoing => vec![Call::retrieve_fd(0), Call::finish()],
            Direction::Incoming => vec![Call::preserve_fd(NO_FD, 0)],
        };
        let mut results = calls.iter().map(|it| in_process(process, || it.on(fd)));
        let other = results.find(|it| *it != Err(EINVAL));
        other.unwrap_or(Err(EINVAL))
    }

    fn flb(&self, flb: luo_model::Flb) -> Flb {
        Flb::new(self.flbs[usize::from(flb.0)])
    }

    fn handler(&self, handler: Handler) -> FileHandler {
        FileHandler::new(self.handlers[usize::from(handler.0)])
    }

    /// What a module does when it is loaded: all or nothing.
    fn load(&mut self, handler: Handler) -> Result {
        let registered = self.handler(handler);
        host_api::register_file_handler(registered)?;
        for flb in handler.flbs() {
            if let Err(err) = host_api::register_flb(registered, self.flb(*flb)) {
                host_api::unregister_file_handler(registered)?;
                return Err(err);
            }
        }
        self.loaded.insert(handler);
        Ok(())
    }

    /// What happens when a module is to be unloaded.
    fn unload(&mut self, handler: Handler) -> Result {
        if !self.loaded.contains(&handler) {
            return Err(ENOENT);
        }
        if self.handler_refs()[usize::from(handler.0)] > 0 {
            return Err(EBUSY);
        }
        self.loaded.remove(&handler);
        host_api::unregister_file_handler(self.handler(handler))
    }

    fn load_all(&mut self, modules: Modules) {
        self.loaded.clear();
        for handler in Handler::ALL.into_iter().filter(|it| modules.contain(*it)) {
            self.load(handler).unwrap();
        }
    }

    fn hand_over(&mut self, image: Image) -> Result {
        // From the hand-over to the jump the kexec lock is held: no image is loaded.
        if self.handed_over.is_none() {
            host::load_image(match image {
                Image::WithHandover => host::Image::WithHandover,
                Image::WithoutHandover => host::Image::WithoutHandover,
            });
        }
        host_api::reboot()?;
        self.handed_over = Some(image);
        Ok(())
    }

    fn jump(&mut self, modules: Modules) {
        let Some(image) = self.handed_over.take() else {
            return;
        };
        host::kexec();
        self.handlers.iter().for_each(|it| it.jump(image));
        self.flbs.iter().for_each(|it| it.jump());
        self.refusals.relent();
        self.device.clear();
        self.sessions.clear();
        self.files.clear();
        self.old_refs = (
            self.handlers.map(|it| it.module().refs()),
            self.flbs.map(|it| it.module().refs()),
        );
        boot(&[]);
        self.load_all(modules);
    }

    fn handler_refs(&self) -> [usize; 2] {
        [0, 1].map(|it| self.handlers[it].module().refs() - self.old_refs.0[it])
    }

    /// What can be seen now.
    pub fn view(&self) -> View {
        let show = |(session, (process, fd)): (&Session, &(Process, i32))| {
            let fdinfo = in_process(*process, || host::fdinfo(*fd)).unwrap();
            (
                *session,
                fdinfo::read(*session, &text(session.name), &fdinfo),
            )
        };
        View {
            sessions: self.sessions.iter().map(show).collect(),
            handler_refs: self.handler_refs(),
            nr_handles: self.handlers.map(FileLedger::nr_handles),
            flb_refs: [0, 1].map(|it| self.flbs[it].module().refs() - self.old_refs.1[it]),
            finished_flbs: self.flbs.map(FlbLedger::is_finished),
            nr_pages: host::pages_in_use(),
        }
    }
}

fn call_for_fd(fd: i32, call: &Call, obstacle: Obstacle) -> Result<i32> {
    match obstacle {
        Obstacle::None => call.on(fd)?,
        Obstacle::Unwritable => {
            host::user::write_protect(call.addr);
            call.on(fd)?;
        }
        Obstacle::NoDescriptor => {
            host::limit_descriptors(0);
            let result = call.on(fd);
            host::limit_descriptors(u32::MAX);
            result?;
        }
    }
    Ok(call.fd())
}
