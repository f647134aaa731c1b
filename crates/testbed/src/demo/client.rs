// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A memcached client for many keys: pipelined sets without replies, pipelined gets of many keys at once.
//!
//! A key's value follows from the key, so that a value can be verified without having kept it.

use std::{
    io::{BufRead, BufReader, BufWriter, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use luo_guest::pattern::Content;

const KEYS_PER_GET: u32 = 100;
/// Progress is told so often.
const REPORT_EVERY: u32 = 1000;
const TIMEOUT: Duration = Duration::from_secs(60);

/// What was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) bytes: u64,
}

/// What came back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ReadBack {
    pub(super) right: u32,
    pub(super) wrong: u32,
    pub(super) missing: u32,
}

/// Writes all keys, and makes sure that the server has them.
pub(super) fn fill(port: u16, keys: u32, told: impl Fn(u32)) -> Result<Written> {
    let stream = connect(port)?;
    let mut replies = BufReader::new(stream.try_clone()?);
    let mut requests = BufWriter::with_capacity(256 << 10, stream);
    let mut bytes = 0;
    for index in 0..keys {
        let value = value(index);
        bytes += value.len() as u64;
        write!(
            requests,
            "set {} 0 0 {} noreply\r\n",
            key(index),
            value.len()
        )?;
        requests.write_all(&value)?;
        requests.write_all(b"\r\n")?;
        if index % REPORT_EVERY == 0 {
            told(index);
        }
    }
    requests.write_all(b"stats\r\n")?;
    requests
        .flush()
        .context("memcached did not take all keys")?;
    let held = curr_items(&mut replies)?;
    // One more is the probe's.
    ensure!(
        held > u64::from(keys),
        "memcached holds {held} items after {keys} were written; it needs more memory (-m)"
    );
    Ok(Written { bytes })
}

/// Reads all keys and compares.
pub(super) fn read_back(port: u16, keys: u32, told: impl Fn(u32)) -> Result<ReadBack> {
    let stream = connect(port)?;
    let replies = BufReader::with_capacity(256 << 10, stream.try_clone()?);
    thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<()> {
            let mut requests = BufWriter::with_capacity(64 << 10, &stream);
            for first in (0..keys).step_by(KEYS_PER_GET as usize) {
                requests.write_all(b"get")?;
                for index in first..keys.min(first + KEYS_PER_GET) {
                    write!(requests, " {}", key(index))?;
                }
                requests.write_all(b"\r\n")?;
            }
            requests.flush()?;
            Ok(())
        });
        let read = compare(replies, keys, told);
        // A reader that gave up must not leave the writer waiting.
        stream.shutdown(Shutdown::Both).ok();
        let written = writer
            .join()
            .map_err(|_| anyhow::anyhow!("the writing thread panicked"))?;
        let read = read.context("cannot read the keys back")?;
        written.context("cannot ask for the keys")?;
        Ok(read)
    })
}

fn compare(mut replies: impl BufRead, keys: u32, told: impl Fn(u32)) -> Result<ReadBack> {
    let mut result = ReadBack::default();
    let mut found = vec![false; keys as usize];
    let mut ends = 0;
    let mut line = String::new();
    while ends < keys.div_ceil(KEYS_PER_GET) {
        line.clear();
        ensure!(
            replies.read_line(&mut line)? > 0,
            "memcached closed the connection"
        );
        let mut words = line.split_whitespace();
        match words.next() {
            Some("END") => {
                ends += 1;
                told(keys.min(ends * KEYS_PER_GET));
            }
            Some("VALUE") => {
                let index = words
                    .next()
                    .and_then(index_of)
                    .filter(|index| *index < keys);
                let index =
                    index.with_context(|| format!("not a key that was asked for: {line:?}"))?;
                let len: usize = words
                    .nth(1)
                    .and_then(|word| word.parse().ok())
                    .context("a value without length")?;
                let mut bytes = vec![0; len + 2];
                replies.read_exact(&mut bytes)?;
                found[index as usize] = true;
                if bytes[..len] == value(index) {
                    result.right += 1;
                } else {
                    result.wrong += 1;
                }
            }
            _ => bail!("memcached said {line:?}"),
        }
    }
    result.missing = u32::try_from(found.iter().filter(|found| !**found).count())?;
    Ok(result)
}

fn curr_items(replies: &mut impl BufRead) -> Result<u64> {
    let mut items = None;
    let mut line = String::new();
    loop {
        line.clear();
        ensure!(
            replies.read_line(&mut line)? > 0,
            "memcached closed the connection"
        );
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["END"] => return items.context("memcached's statistics have no curr_items"),
            ["STAT", "curr_items", number] => items = Some(number.parse()?),
            ["STAT", ..] => {}
            _ => bail!("memcached said {line:?}"),
        }
    }
}

pub(super) fn connect(port: u16) -> Result<TcpStream> {
    let stream =
        TcpStream::connect(("127.0.0.1", port)).context("cannot connect to the forwarded port")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn key(index: u32) -> String {
    format!("key-{index:08}")
}

fn index_of(key: &str) -> Option<u32> {
    key.strip_prefix("key-")?.parse().ok()
}

/// 32 to 200 bytes that no other key has.
fn value(index: u32) -> Vec<u8> {
    let len = 32 + index % 169;
    let mut bytes = vec![0; len as usize];
    Content::full(u64::from(index) << 20 | 0x5eed, len.into()).read_at(0, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(indices: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for index in indices {
            write!(bytes, "VALUE {} 0 {}\r\n", key(*index), value(*index).len()).unwrap();
            bytes.extend(value(*index));
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"END\r\n");
        bytes
    }

    #[test]
    fn missing_and_changed_values_are_told_apart() {
        let mut bytes = reply(&[0, 2, 3]);
        let at = bytes.len() - 20;
        bytes[at] ^= 1;
        let read = compare(bytes.as_slice(), 4, |_| ()).unwrap();
        assert_eq!(
            read,
            ReadBack {
                right: 2,
                wrong: 1,
                missing: 1
            }
        );
    }

    #[test]
    fn an_early_end_is_an_error() {
        assert!(compare(&reply(&[0])[..40], 1, |_| ()).is_err());
        assert!(compare(&b"SERVER_ERROR busy\r\n"[..], 1, |_| ()).is_err());
    }

    #[test]
    fn values_differ_and_repeat() {
        assert_eq!(value(7), value(7));
        assert_ne!(value(7)[..32], value(7 + 169)[..32]);
        assert_eq!(index_of(&key(123)), Some(123));
    }

    #[test]
    fn statistics_are_read_to_their_end() {
        let mut text = &b"STAT pid 1\r\nSTAT curr_items 42\r\nSTAT x y\r\nEND\r\n"[..];
        assert_eq!(curr_items(&mut text).unwrap(), 42);
        assert!(curr_items(&mut &b"ERROR\r\n"[..]).is_err());
    }
}
