// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Lines over a stream socket, some of which carry a descriptor.
//!
//! A descriptor is sent with the first byte of its line. The kernel ends a read with the message that carries one, so that what
//! arrives with a read belongs to the line with the read's last byte.

use std::{
    collections::VecDeque,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    io::{Errno, Result, retry_on_intr},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};

use crate::protocol::MAX_LINE_BYTES;

/// The kernel drops further ones.
const MAX_DESCRIPTORS: usize = 4;
/// Holds all that most clients ever say at once. It is cleared for each read.
const READ_BYTES: usize = 2 << 10;

/// A line as it came, without its end.
#[derive(Debug)]
pub struct Line {
    /// Not necessarily UTF-8.
    pub text: Vec<u8>,
    /// What came with it.
    pub fds: Vec<OwnedFd>,
}

/// The peer sends a line of more than [`MAX_LINE_BYTES`]. The stream cannot be made sense of any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line has at most {MAX_LINE_BYTES} bytes")]
pub struct TooLong;

/// What a read has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// The peer sends nothing any more.
    End,
    /// Something has come.
    Some {
        /// There seems to be no more at the moment.
        all: bool,
    },
}

/// What has arrived.
#[derive(Debug, Default)]
pub struct Lines {
    complete: VecDeque<Line>,
    partial: Vec<u8>,
    partial_fds: Vec<OwnedFd>,
}

impl Lines {
    /// Reads once.
    ///
    /// # Errors
    /// `EAGAIN` nothing is there, if the socket does not block; `ECONNRESET`.
    pub fn read(&mut self, socket: impl AsFd) -> Result<Read> {
        let mut bytes = [0; READ_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = retry_on_intr(|| {
            let mut into = [IoSliceMut::new(&mut bytes)];
            recvmsg(&socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)
        })?;
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        // A message with descriptors ends a read, whatever comes behind it.
        let all = received.bytes < bytes.len() && fds.is_empty();
        self.push(&bytes[..received.bytes], fds);
        Ok(match received.bytes {
            0 => Read::End,
            _ => Read::Some { all },
        })
    }

    /// The next line that is complete; its text is gone from here.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn pop(&mut self) -> std::result::Result<Option<Line>, TooLong> {
        match self.complete.pop_front() {
            Some(line) if line.text.len() < MAX_LINE_BYTES => Ok(Some(line)),
            None if self.partial.len() < MAX_LINE_BYTES => Ok(None),
            _ => Err(TooLong),
        }
    }

    /// Adds what came with one read.
    pub fn push(&mut self, bytes: &[u8], fds: Vec<OwnedFd>) {
        let mut fds = Some(fds);
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').peekable();
        while let Some(part) = lines.next() {
            if lines.peek().is_none() {
                self.partial_fds.extend(fds.take().unwrap_or_default());
            }
            match part.strip_suffix(b"\n") {
                None => self.partial.extend_from_slice(part),
                Some(end) => {
                    let mut text = std::mem::take(&mut self.partial);
                    text.extend_from_slice(end);
                    let fds = std::mem::take(&mut self.partial_fds);
                    self.complete.push_back(Line { text, fds });
                }
            }
        }
    }
}

/// What waits to be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Outgoing>,
    bytes: usize,
}

#[derive(Debug)]
struct Outgoing {
    text: Vec<u8>,
    sent: usize,
    fd: Option<OwnedFd>,
}

impl Outbox {
    /// Adds a line, without its end, and what goes with it.
    pub fn push(&mut self, mut text: Vec<u8>, fd: Option<OwnedFd>) {
        text.push(b'\n');
        self.bytes += text.len();
        self.queue.push_back(Outgoing { text, sent: 0, fd });
    }

    /// How much waits.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sends as much as the socket takes. Everything, if it blocks.
    ///
    /// # Errors
    /// `EPIPE`, `ECONNRESET`; never `EAGAIN`.
    pub fn send(&mut self, socket: impl AsFd) -> Result<()> {
        while let Some(first) = self.queue.front_mut() {
            match send(&socket, &first.text[first.sent..], first.fd.as_ref()) {
                Ok(sent) => {
                    first.sent += sent;
                    first.fd = None;
                    self.bytes -= sent;
                    if first.sent == first.text.len() {
                        self.queue.pop_front();
                    }
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

fn send(socket: impl AsFd, bytes: &[u8], fd: Option<&OwnedFd>) -> Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let rights = fd.map(|fd| [fd.as_fd()]);
    if let Some(rights) = &rights {
        control.push(SendAncillaryMessage::ScmRights(rights));
    }
    retry_on_intr(|| {
        sendmsg(
            &socket,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, io::Write as _, os::unix::net::UnixStream};

    fn texts(lines: &mut Lines) -> Vec<(Vec<u8>, usize)> {
        std::iter::from_fn(|| lines.pop().unwrap())
            .map(|it| (it.text, it.fds.len()))
            .collect()
    }

    fn null() -> OwnedFd {
        File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn a_descriptor_comes_with_its_line_however_the_stream_is_cut() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut outbox = Outbox::default();
        outbox.push(b"plain".to_vec(), None);
        outbox.push(b"with one".to_vec(), Some(null()));
        outbox.push(b"plain again".to_vec(), None);
        outbox.push(vec![b'x'; 40_000], Some(null()));
        outbox.send(&ours).unwrap();
        assert_eq!(outbox.bytes(), 0);
        drop(ours);
        let mut lines = Lines::default();
        while lines.read(&theirs).unwrap() != Read::End {}
        let expected = vec![
            (b"plain".to_vec(), 0),
            (b"with one".to_vec(), 1),
            (b"plain again".to_vec(), 0),
            (vec![b'x'; 40_000], 1),
        ];
        assert_eq!(texts(&mut lines), expected);
    }

    #[test]
    fn half_a_line_waits_for_its_end() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut lines = Lines::default();
        ours.write_all(b"{\"cmd\":").unwrap();
        assert_eq!(lines.read(&theirs).unwrap(), Read::Some { all: true });
        assert_eq!(texts(&mut lines), []);
        ours.write_all(b"\"STATUS\"}\n\n{").unwrap();
        assert_eq!(lines.read(&theirs).unwrap(), Read::Some { all: true });
        let expected = [(b"{\"cmd\":\"STATUS\"}".to_vec(), 0), (Vec::new(), 0)];
        assert_eq!(texts(&mut lines), expected);
    }

    #[test]
    fn a_line_without_end_is_given_up_before_it_takes_much_memory() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut lines = Lines::default();
        let mut result = Ok(None);
        for _ in 0..MAX_LINE_BYTES / READ_BYTES + 1 {
            ours.write_all(&[b'x'; READ_BYTES]).unwrap();
            lines.read(&theirs).unwrap();
            result = lines.pop();
            if result.is_err() {
                break;
            }
        }
        assert_eq!(result.unwrap_err(), TooLong);
        assert!(lines.partial.len() <= MAX_LINE_BYTES + READ_BYTES);
    }

    #[test]
    fn a_full_socket_keeps_the_rest_for_later() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            outbox.push(vec![b'x'; 30_000], None);
        }
        outbox.send(&ours).unwrap();
        assert!(outbox.bytes() > 0, "the socket took 3 MB at once");
        let (mut lines, mut arrived) = (Lines::default(), 0);
        while arrived < 100 {
            lines.read(&theirs).unwrap();
            arrived += texts(&mut lines).len();
            outbox.send(&ours).unwrap();
        }
        assert_eq!(outbox.bytes(), 0);
    }
}
