// SPDX-License-Identifier: Apache-2.0 OR MIT

//! QEMU's debugger interface: stops a machine at instructions, says when it gets there, writes its memory.

use std::{
    io::{BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::qmp;

/// A packet must not be longer than this, and each byte takes two characters.
const MOST_BYTES: usize = 1024;

/// `jmp .`
const JUMP_TO_ITSELF: [u8; 2] = [0xeb, 0xfe];
/// `rdtsc`
const READ_COUNTER: [u8; 2] = [0x0f, 0x31];

/// The registers that are read: the first ones of QEMU's packet.
const REGISTERS: usize = 17;
/// Places of registers in that packet.
const RAX: usize = 0;
const RDX: usize = 3;
const RDI: usize = 5;
const RSP: usize = 7;
const RIP: usize = 16;

/// A connection to the debugger interface. While it is made the machine stops.
#[derive(Debug)]
pub struct Gdb {
    stream: BufReader<UnixStream>,
}

/// An instruction at which a machine is held.
#[derive(Debug)]
pub struct Held {
    address: u64,
    /// As hexadecimal digits.
    instruction: String,
}

/// What a machine is about to do when it gets to a breakpoint; it is in 64-bit mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The instruction with the breakpoint.
    pub address: u64,
    /// The time-stamp counter.
    pub tsc: u64,
    /// At a function's first instruction, its first argument.
    pub argument: u64,
    /// There, where the caller's address lies.
    pub stack: u64,
}

impl Gdb {
    /// QEMU's words for a socket to be debugged through.
    pub fn arguments(socket: &Path) -> [String; 2] {
        let place = format!("unix:{},server=on,wait=off", socket.display());
        ["-gdb".into(), place]
    }

    /// Connects, which stops the machine.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = BufReader::new(qmp::connect(socket)?);
        Ok(Self { stream })
    }

    /// Sets a breakpoint at a virtual address, where the machine is to be held.
    ///
    /// # Errors
    /// When QEMU refuses.
    pub fn break_at(&mut self, address: u64) -> Result<()> {
        self.command(&format!("Z1,{address:x},1"))
    }

    /// Takes a breakpoint away.
    ///
    /// # Errors
    /// When there is none.
    pub fn unbreak(&mut self, address: u64) -> Result<()> {
        self.command(&format!("z1,{address:x},1"))
    }

    /// Lets the machine run, to its next breakpoint if there is one.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub fn go(&mut self) -> Result<()> {
        self.send("c")
    }

    /// Waits until a machine that was let run gets to a breakpoint.
    ///
    /// # Errors
    /// When it does not get there in time.
    pub fn stop(&mut self, timeout: Duration) -> Result<Stop> {
        self.stream.get_ref().set_read_timeout(Some(timeout))?;
        let stopped = self
            .receive()
            .context("the machine gets to no breakpoint")?;
        ensure!(stopped.starts_with('T'), "not a stop: {stopped}");
        let registers = self.registers()?;
        Ok(Stop {
            address: registers[RIP],
            tsc: self.counter(&registers)?,
            argument: registers[RDI],
            stack: registers[RSP],
        })
    }

    /// Goes past the instruction at which the machine has stopped, which it would stop at again.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub fn step(&mut self) -> Result<()> {
        self.send("s")?;
        let stopped = self.receive()?;
        ensure!(stopped.starts_with('T'), "not a step: {stopped}");
        Ok(())
    }

    /// Eight bytes at a virtual address.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn word(&mut self, address: u64) -> Result<u64> {
        let digits = self.ask(&format!("m{address:x},8"))?;
        word(&digits, 0).with_context(|| format!("cannot read {address:#x}: {digits}"))
    }

    /// The time-stamp counter, which is no register of QEMU's: so the machine reads it, by an instruction that is there for
    /// the time of one step.
    fn counter(&mut self, registers: &[u64; REGISTERS]) -> Result<u64> {
        let rip = registers[RIP];
        let instruction = self.ask(&format!("m{rip:x},{:x}", READ_COUNTER.len()))?;
        self.command(&write_command(rip, &READ_COUNTER))?;
        self.step()?;
        let after = self.registers()?;
        let length = READ_COUNTER.len();
        self.command(&format!("M{rip:x},{length:x}:{instruction}"))?;
        let all = registers.map(|value| hexadecimal(&value.to_le_bytes()));
        self.command(&format!("G{}", all.concat()))?;
        Ok(after[RDX] << 32 | after[RAX])
    }

    fn registers(&mut self) -> Result<[u64; REGISTERS]> {
        let digits = self.ask("g")?;
        let mut registers = [0; REGISTERS];
        for (place, register) in registers.iter_mut().enumerate() {
            *register = word(&digits, place).context("QEMU gives too few registers")?;
        }
        Ok(registers)
    }

    /// Lets the machine run to the instruction with a breakpoint, and holds it there by a jump of the instruction to
    /// itself: stopped by a breakpoint, a machine cannot be saved. [`release`](Self::release) takes the jump away again.
    ///
    /// # Errors
    /// When it does not get there in time.
    pub fn hold_at(
        &mut self,
        address: u64,
        start: impl FnOnce() -> Result<()>,
        timeout: Duration,
    ) -> Result<Held> {
        self.go()?;
        start()?;
        self.stream.get_ref().set_read_timeout(Some(timeout))?;
        let stopped = self
            .receive()
            .with_context(|| format!("the machine does not get to {address:#x}"))?;
        ensure!(stopped.starts_with('T'), "not a stop: {stopped}");
        self.unbreak(address)?;
        let instruction = self.ask(&format!("m{address:x},{:x}", JUMP_TO_ITSELF.len()))?;
        self.command(&write_command(address, &JUMP_TO_ITSELF))?;
        self.go()?;
        Ok(Held {
            address,
            instruction,
        })
    }

    /// Puts the instruction back at which a machine is held; it has to be stopped.
    ///
    /// # Errors
    /// When QEMU refuses.
    pub fn release(&mut self, held: &Held) -> Result<()> {
        let Held {
            address,
            instruction,
        } = held;
        self.command(&format!(
            "M{address:x},{:x}:{instruction}",
            JUMP_TO_ITSELF.len()
        ))
    }

    /// Writes to physical memory.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn write(&mut self, physical: u64, bytes: &[u8]) -> Result<()> {
        self.command("Qqemu.PhyMemMode:1")?;
        for (at, piece) in (physical..)
            .step_by(MOST_BYTES)
            .zip(bytes.chunks(MOST_BYTES))
        {
            self.command(&write_command(at, piece))
                .with_context(|| format!("cannot write to physical {at:#x}"))?;
        }
        Ok(())
    }

    fn command(&mut self, command: &str) -> Result<()> {
        self.send(command)?;
        loop {
            match self.receive()?.as_str() {
                "OK" => return Ok(()),
                // That the machine has stopped for us is told at any time.
                stop if stop.starts_with('T') => {}
                answer => bail!("QEMU answers {command:.40} with \"{answer}\""),
            }
        }
    }

    fn ask(&mut self, question: &str) -> Result<String> {
        self.send(question)?;
        self.receive()
    }

    fn send(&mut self, command: &str) -> Result<()> {
        let packet = format!("${command}#{:02x}", checksum(command.as_bytes()));
        let written = self.stream.get_mut().write_all(packet.as_bytes());
        written.context("QEMU is gone")
    }

    fn receive(&mut self) -> Result<String> {
        // Acknowledgements may stand before it.
        while self.byte()? != b'$' {}
        let mut answer = Vec::new();
        loop {
            match self.byte()? {
                b'#' => break,
                byte => answer.push(byte),
            }
        }
        let digits = [self.byte()?, self.byte()?];
        let sum = u8::from_str_radix(std::str::from_utf8(&digits)?, 16)?;
        ensure!(sum == checksum(&answer), "a packet of QEMU's is broken");
        self.stream.get_mut().write_all(b"+").ok();
        Ok(String::from_utf8(answer)?)
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.stream
            .read_exact(&mut byte)
            .context("QEMU is silent")?;
        Ok(byte[0])
    }
}

fn write_command(at: u64, bytes: &[u8]) -> String {
    format!("M{at:x},{:x}:{}", bytes.len(), hexadecimal(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of words one after the other, the one at this place.
fn word(digits: &str, place: usize) -> Option<u64> {
    let digits = digits.get(place * 16..place * 16 + 16)?;
    Some(u64::from_str_radix(digits, 16).ok()?.swap_bytes())
}

fn checksum(payload: &[u8]) -> u8 {
    payload.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Answers each packet in turn, as QEMU does.
    fn answering(answers: &'static [&'static str]) -> (Gdb, thread::JoinHandle<String>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let peer = thread::spawn(move || {
            let mut seen = Vec::new();
            for answer in answers {
                let mut byte = [0];
                while theirs.read_exact(&mut byte).is_ok() && byte[0] != b'#' {
                    seen.push(byte[0]);
                }
                seen.extend([0; 2].map(|mut byte: u8| {
                    theirs.read_exact(std::slice::from_mut(&mut byte)).unwrap();
                    byte
                }));
                let sum = checksum(answer.as_bytes());
                write!(theirs, "+${answer}#{sum:02x}").unwrap();
            }
            String::from_utf8(seen).unwrap()
        });
        let stream = BufReader::new(ours);
        (Gdb { stream }, peer)
    }

    #[test]
    fn bytes_go_out_as_hexadecimal_packets() {
        let (mut gdb, peer) = answering(&["OK", "OK"]);
        gdb.write(0x1000, &[0xab, 1]).unwrap();
        let seen = peer.join().unwrap();
        assert!(seen.ends_with("$M1000,2:ab01ca"), "{seen}");
    }

    #[test]
    fn words_are_told_apart_and_turned_around() {
        let digits = "0100000000000000efbeadde00000000";
        assert_eq!(word(digits, 0), Some(1));
        assert_eq!(word(digits, 1), Some(0xdead_beef));
        assert_eq!(word(digits, 2), None);
    }

    #[test]
    fn a_refusal_is_an_error() {
        let (mut gdb, _peer) = answering(&["OK", "E14"]);
        let error = format!("{:#}", gdb.write(0x1000, &[1]).unwrap_err());
        assert!(error.contains("0x1000") && error.contains("E14"), "{error}");
    }
}
