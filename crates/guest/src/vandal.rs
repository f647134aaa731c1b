// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Clients that mean no good to luod: `vandal HOW [socket=PATH]`. Each says when it has done its worst.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, ErrorKind, IoSlice, Write as _},
    mem::MaybeUninit,
    os::{fd::AsFd as _, unix::net::UnixStream},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::service::Words;

const GARBAGE_BYTES: u64 = 100 << 20;
const PIECE: usize = 64 << 10;
/// The kernel takes 253 in one message.
const DESCRIPTORS_AT_ONCE: usize = 250;
const DESCRIPTOR_MESSAGES: usize = 4;
/// More than two socket buffers and luod itself should hold.
const QUESTIONS: u32 = 100_000;
const HELLO: &[u8] = b"{\"cmd\":\"HELLO\",\"version\":1}\n";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let how = args.next().context("vandal needs to know how")?;
    let socket = Words::parse(args)?.socket();
    match how.as_str() {
        "half" => half_a_line(&socket),
        "garbage" => garbage(&socket),
        "descriptors" => descriptors(&socket),
        "json" => wrong_json(&socket),
        "mute" => mute(&socket, b"{\"cmd\":\"STATUS\"}\n"),
        "watch" => mute(&socket, b"{\"cmd\":\"WATCH\"}\n"),
        _ => bail!("no such vandal: {how}"),
    }
}

/// The other half never comes.
fn half_a_line(socket: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(b"{\"cmd\":\"SUBSCRIBE\",\"id\":\"hal")?;
    println!("sent half a line");
    stay(&stream)
}

/// On one connection after the other, as often as luod ends them: half of it as one line, half as lines of 100 bytes.
fn garbage(socket: &Path) -> Result<()> {
    let mut piece = vec![0; PIECE];
    let (mut sent, mut connections) = (0, 0);
    while sent < GARBAGE_BYTES {
        let mut stream = UnixStream::connect(socket)?;
        connections += 1;
        loop {
            piece.fill_with(|| fastrand::u8(b'\n' + 1..));
            if sent > GARBAGE_BYTES / 2 {
                piece.iter_mut().step_by(100).for_each(|it| *it = b'\n');
            }
            match stream.write(&piece) {
                Ok(taken) => sent += taken as u64,
                Err(_) => break,
            }
            if sent >= GARBAGE_BYTES {
                break;
            }
        }
    }
    println!("sent {sent} bytes of garbage over {connections} connections");
    Ok(())
}

/// With lines that ask for none.
fn descriptors(socket: &Path) -> Result<()> {
    let stream = UnixStream::connect(socket)?;
    let file = File::open("/dev/null")?;
    let fds = vec![file.as_fd(); DESCRIPTORS_AT_ONCE];
    let mut sent = 0;
    for line in [HELLO; DESCRIPTOR_MESSAGES] {
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        ensure!(
            control.push(SendAncillaryMessage::ScmRights(&fds)),
            "no room for the descriptors"
        );
        match sendmsg(
            &stream,
            &[IoSlice::new(line)],
            &mut control,
            SendFlags::NOSIGNAL,
        ) {
            Ok(_) => sent += fds.len(),
            // luod has had enough.
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => break,
            Err(error) => return Err(error.into()),
        }
    }
    println!("sent {sent} descriptors");
    stay(&stream)
}

/// Each on a connection of its own; luod answers with an error, or ends the connection, or both.
fn wrong_json(socket: &Path) -> Result<()> {
    let deep = "[".repeat(60_000);
    let long = format!(
        "{{\"cmd\":\"SUBSCRIBE\",\"id\":\"{}\"}}",
        "x".repeat(60_000)
    );
    let lines: [&[u8]; 16] = [
        b"",
        b"{",
        b"}",
        b"null",
        b"[]",
        b"\"SUBSCRIBE\"",
        b"{\"cmd\":null}",
        b"{\"cmd\":\"FLY\"}",
        b"{\"cmd\":[\"SUBSCRIBE\"],\"id\":\"a\"}",
        b"{\"cmd\":\"SUBSCRIBE\",\"id\":7}",
        b"{\"cmd\":\"SUBSCRIBE\",\"id\":\"../../etc/shadow\"}",
        b"{\"cmd\":\"UPDATE\",\"timeout_ms\":-1}",
        b"{\"cmd\":\"KEEP_ADD\",\"name\":\"a\",\"bytes\":18446744073709551615999}",
        b"{\"cmd\":\"\xff\xfe\"}",
        deep.as_bytes(),
        long.as_bytes(),
    ];
    let mut answers = 0;
    for line in lines {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(HELLO)?;
        let mut received = BufReader::new(stream.try_clone()?);
        let mut answer = String::new();
        received.read_line(&mut answer)?;
        stream.write_all(line)?;
        stream.write_all(b"\n")?;
        answer.clear();
        match received.read_line(&mut answer) {
            Ok(0) => {}
            Ok(_) => {
                ensure!(
                    answer.contains("ERROR"),
                    "luod answers {:?} with {answer}",
                    String::from_utf8_lossy(line)
                );
                answers += 1;
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => {
                let line = String::from_utf8_lossy(line);
                return Err(error).with_context(|| format!("no answer to {line:.80?}"));
            }
        }
    }
    println!(
        "sent {} wrong lines, {answers} of them answered",
        lines.len()
    );
    Ok(())
}

/// Asks as often as luod takes questions, and reads no answer.
fn mute(socket: &Path, question: &[u8]) -> Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(HELLO)?;
    let mut asked = 0;
    while asked < QUESTIONS && stream.write_all(question).is_ok() {
        asked += 1;
    }
    println!("asked {asked} times and heard nothing");
    stay(&stream)
}

/// With the connection open, until it is killed.
fn stay(_: &UnixStream) -> Result<()> {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}
