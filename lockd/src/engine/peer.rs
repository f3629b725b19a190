//! Who is at the other end of a connection.

/// A process, as the operating system tells it from every other of this boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it was started, in clock ticks since boot: field 22 of `/proc/PID/stat`, because
    /// numbers are used again.
    pub started: u64,
}

/// Who is at the other end of a connection, by the socket's word and not its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its process's number, for people to read.
    pub pid: u32,
    /// Its process, where its end can be seen; what it has then ends with it.
    pub process: Option<Process>,
}
