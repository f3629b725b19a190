//! As much of the protocol of Redis as a test needs to look after a server.

use std::io::{self, BufRead, BufReader, Error, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// What a server answers: an error, or all else as text. Of an array a line for each element,
/// nothing for null.
pub(crate) type Reply = Result<String, String>;

/// A connection to a server of Redis, for commands that belong together.
#[derive(Debug)]
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// A connection that waits so long for each answer.
    pub(crate) fn to(port: u16, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Asks the server. Of an array it answers a line for each element, nothing for null.
    ///
    /// # Panics
    ///
    /// When there is no answer, or an error.
    #[track_caller]
    pub fn command(&mut self, command: &[&str]) -> String {
        match self.ask(command) {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => panic!("{command:?}: {error}"),
            Err(error) => panic!("{command:?}: {error}"),
        }
    }

    pub(crate) fn ask(&mut self, command: &[&str]) -> io::Result<Reply> {
        let mut request = format!("*{}\r\n", command.len());
        for word in command {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.0.get_mut().write_all(request.as_bytes())?;
        self.read()
    }

    fn read(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let line = line.trim_end();
        let Some((kind, rest)) = line.split_at_checked(1) else {
            return Err(Error::other("it hung up"));
        };
        let length = || rest.parse::<i64>().map_err(Error::other);
        match kind {
            "+" | ":" => Ok(Ok(rest.to_owned())),
            "-" => Ok(Err(rest.to_owned())),
            "$" => Ok(Ok(match usize::try_from(length()?) {
                Ok(length) => self.read_text(length)?,
                Err(_null) => String::new(),
            })),
            "*" => {
                let elements = (0..length()?).map(|_| self.read());
                let elements: io::Result<Vec<Reply>> = elements.collect();
                let elements: Result<Vec<_>, _> = elements?.into_iter().collect();
                Ok(elements.map(|elements| elements.join("\n")))
            }
            _ => Err(Error::other(format!("this is not Redis: {line}"))),
        }
    }

    fn read_text(&mut self, length: usize) -> io::Result<String> {
        let mut text = vec![0; length + 2];
        self.0.read_exact(&mut text)?;
        text.truncate(length);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
