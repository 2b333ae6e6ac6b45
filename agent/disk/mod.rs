//! The little that the agent needs of a directory that is its own: the real one, and one in memory that forgets as disks do.

mod real;
mod sim;
mod world;

pub use real::RealDisk;
pub use sim::{Fault, SimDisk};

use std::io;

/// One directory of files. Names are plain: no separators.
pub trait Disk: Send {
    /// The names of all files.
    fn list(&mut self) -> io::Result<Vec<String>>;
    /// Opens a file that is there, for reading and writing where that is possible.
    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Makes a file; one of that name must not be there.
    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, whose file it replaces.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Makes all names durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Makes the directory again if it is no longer where it was. True: it was not.
    fn restore(&mut self) -> io::Result<bool>;
    /// Bytes of the file system that are free for this user, and all that it has. Nothing: nobody can say.
    fn free_bytes(&mut self) -> io::Result<Option<(u64, u64)>>;
    /// It lives in memory: nothing outlives the machine.
    fn is_volatile(&self) -> bool;
    /// A number that nobody drew before.
    fn random(&mut self) -> u64;
}

/// An open file.
pub trait DiskFile: Send {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// How many names it has; 0: it was removed.
    fn names(&self) -> io::Result<u64>;
    /// Fills the buffer but for what lies past the end of the file. Returns how many bytes there are.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all bytes or fails; how many were written then is not known.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes bytes and length durable.
    fn sync(&mut self) -> io::Result<()>;
}
