// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the kernel shows of sessions. Upstream's shows nothing.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd, AsRawFd as _},
};

use crate::Token;

/// Where the kernel shows what the previous one has left.
pub const INCOMING_PATH: &str = "/sys/kernel/debug/luo/incoming";

/// A session, as `/proc/PID/fdinfo` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// `open`, `handed over`, `retrieved` or `finished`.
    pub state: String,
    /// What is in it.
    pub files: Vec<FileInfo>,
}

/// A file in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// Its key.
    pub token: Token,
    /// The kernel's name for how it is carried over, such as `memfd-v2`.
    pub handler: String,
    /// `preserved`, `handed over`, `waiting`, `retrieved`, `restored` or `failed`.
    pub state: String,
    /// Its size; nothing before it is retrieved.
    pub bytes: Option<u64>,
}

/// What the previous kernel has left, as debugfs shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IncomingInfo {
    /// Sessions that can be had.
    pub sessions: u64,
    /// What cannot be had and stays in memory, each with the reason.
    pub leaked: Vec<String>,
    /// Pages of lists that are leaked. The memory of the files in them comes on top, and is not known.
    pub leaked_pages: u64,
}

impl SessionInfo {
    /// What the kernel shows of the session with this descriptor; nothing on kernels that do not.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use liveupdate::SessionInfo;
    /// // Of a session it tells the state and the files; of anything else, or on other kernels, nothing.
    /// let other = std::fs::File::open("/dev/null")?;
    /// assert_eq!(SessionInfo::of(&other)?, None);
    /// # Ok(()) }
    /// ```
    pub fn of(session: impl AsFd) -> io::Result<Option<Self>> {
        let fd = session.as_fd().as_raw_fd();
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
        Ok(Self::parse(&text))
    }

    /// Reads what stands in `fdinfo`; lines that are not known are left out.
    ///
    /// ```
    /// let shown = "pos:\t0\nluo-session:\tvm\nluo-direction:\toutgoing\nluo-state:\topen\n\
    ///              luo-file:\t0x10 memfd-v2 preserved\nluo-size:\t0x10 4096\n";
    /// let info = liveupdate::SessionInfo::parse(shown).unwrap();
    /// assert_eq!(info.state, "open");
    /// assert_eq!(info.files[0].token, liveupdate::Token(0x10));
    /// assert_eq!(info.files[0].bytes, Some(4096));
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let state = text
            .lines()
            .find_map(|it| it.strip_prefix("luo-state:\t"))?;
        let lines = |name| text.lines().filter_map(move |it| it.strip_prefix(name));
        let sizes: BTreeMap<_, _> = lines("luo-size:\t").filter_map(size).collect();
        let files = lines("luo-file:\t").filter_map(|it| file(it, &sizes));
        Some(Self {
            state: state.to_owned(),
            files: files.collect(),
        })
    }
}

fn file(line: &str, sizes: &BTreeMap<Token, u64>) -> Option<FileInfo> {
    let (token, rest) = of_token(line)?;
    let (handler, state) = rest.split_once(' ')?;
    Some(FileInfo {
        token,
        handler: handler.to_owned(),
        state: state.to_owned(),
        bytes: sizes.get(&token).copied(),
    })
}

fn size(line: &str) -> Option<(Token, u64)> {
    let (token, bytes) = of_token(line)?;
    Some((token, bytes.parse().ok()?))
}

/// The token that a line starts with, and what it says about it.
fn of_token(line: &str) -> Option<(Token, &str)> {
    let (token, rest) = line.strip_prefix("0x")?.split_once(' ')?;
    Some((Token(u64::from_str_radix(token, 16).ok()?), rest))
}

impl IncomingInfo {
    /// What the kernel shows; nothing on kernels that do not, and without debugfs.
    ///
    /// # Errors
    /// `EACCES` for others than root.
    ///
    /// ```
    /// use liveupdate::IncomingInfo;
    /// match IncomingInfo::read() {
    ///     Ok(Some(info)) => println!("{} sessions wait, {} pages are lost", info.sessions, info.leaked_pages),
    ///     Ok(None) => println!("this kernel does not tell"),
    ///     Err(err) => println!("not for us: {err}"),
    /// }
    /// ```
    pub fn read() -> io::Result<Option<Self>> {
        match fs::read_to_string(INCOMING_PATH) {
            Ok(text) => Ok(Some(Self::parse(&text))),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Reads what stands there.
    ///
    /// ```
    /// let shown = "live update: 1\n\
    ///              session 'bad': broken, 65 files and 2 pages of their list leaked: EINVAL\n\
    ///              session 'good': available, 1 files\n";
    /// let info = liveupdate::IncomingInfo::parse(shown);
    /// assert_eq!((info.sessions, info.leaked.len(), info.leaked_pages), (1, 1, 2));
    /// ```
    pub fn parse(text: &str) -> Self {
        let mut info = Self::default();
        for line in text.lines() {
            let said = without_name(line);
            if said.contains(" leaked") {
                info.leaked.push(line.to_owned());
                info.leaked_pages += pages(said).unwrap_or_default();
            } else if line.starts_with("session '") && !said.starts_with("finished,") {
                info.sessions += 1;
            }
        }
        info
    }
}

/// What the kernel says of the session or FLB that a line is about. The name may hold any words, even these; what the kernel
/// says after it has no quotes.
fn without_name(line: &str) -> &str {
    match line.rsplit_once("': ") {
        Some((_, said)) if line.starts_with("session '") || line.starts_with("flb '") => said,
        _ => line,
    }
}

/// The number before "pages".
fn pages(line: &str) -> Option<u64> {
    let (before, _) = line.rsplit_once(" pages ")?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_shows_its_files() {
        let shown = "[luo_session] vm\nluo-session:\tvm\nluo-direction:\tincoming\nluo-state:\tretrieved\n\
                     luo-file:\t0x1 memfd-v2 retrieved\nluo-file:\t0x2 memfd-v2 handed over\nluo-new:\tx\n\
                     luo-size:\t0x1 70000\n";
        let info = SessionInfo::parse(shown).unwrap();
        assert_eq!(info.state, "retrieved");
        let files: Vec<_> = info
            .files
            .iter()
            .map(|it| (it.token.0, it.state.as_str(), it.bytes))
            .collect();
        assert_eq!(
            files,
            [(1, "retrieved", Some(70_000)), (2, "handed over", None)]
        );
    }

    #[test]
    fn a_kernel_that_shows_nothing_is_told_apart() {
        assert_eq!(
            SessionInfo::parse("pos:\t0\nflags:\t02\nmnt_id:\t15\n"),
            None
        );
        let other = fs::File::open("/dev/null").unwrap();
        assert_eq!(SessionInfo::of(&other).unwrap(), None);
    }

    #[test]
    fn what_is_leaked_is_counted_with_its_reason() {
        let shown = "live update: 3\nflb 'x': 2 files, waiting\nsessions: all, and 4 pages of their list, leaked: EINVAL\n";
        let info = IncomingInfo::parse(shown);
        assert_eq!((info.sessions, info.leaked_pages), (0, 4));
        assert_eq!(
            info.leaked,
            ["sessions: all, and 4 pages of their list, leaked: EINVAL"]
        );
    }

    /// Names are whatever somebody has chosen, words of the kernel included.
    #[test]
    fn a_name_is_not_taken_for_what_the_kernel_says() {
        let shown = "session 'a leaked b': available, 1 files\n\
                     session 'x': finished, 1 files': offered, 1 files\n\
                     session 'y 7 pages z': finished, 0 files\n\
                     flb ' leaked': 1 files, waiting\n\
                     session 'p 9 pages q': broken, 2 files and 1 pages of their list leaked: EINVAL\n\
                     flb 'f 9 pages g': 1 files, what it stands for leaked: EIO\n\
                     sessions: 1 leaked without a name\n";
        let info = IncomingInfo::parse(shown);
        assert_eq!((info.sessions, info.leaked_pages), (2, 1));
        assert_eq!(info.leaked.len(), 3, "{:?}", info.leaked);
    }
}
