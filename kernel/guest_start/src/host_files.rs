//! Files that the host hands over by name. Everything in them is the host's word: who uses it checks it.

/// The host did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    /// The host refuses, or the request ended with an error, or not at all.
    Device,
    /// There is no such file.
    NoFile,
    /// No memory for the exchange.
    OutOfMemory,
}

/// A file.
#[derive(Clone, Copy, Debug)]
pub struct HostFile {
    /// What the host calls it.
    pub key: u16,
    /// Size in bytes, as the host says.
    pub bytes: u32,
}

/// The host's files. What is read was copied into private memory before anybody looks at it.
pub trait HostFiles {
    /// Finds a file by its name.
    ///
    /// # Errors
    /// If there is none, or the host does not answer.
    fn find(&mut self, name: &str) -> Result<HostFile, FileError>;

    /// Reads a file piece by piece; `each` gets the offset of each piece and its bytes.
    ///
    /// # Errors
    /// If the host does not answer.
    fn read(&mut self, file: HostFile, each: &mut dyn FnMut(usize, &[u8])) -> Result<(), FileError>;

    /// Reads the first bytes of a file.
    ///
    /// # Errors
    /// If the host does not answer.
    fn read_start(&mut self, file: HostFile, bytes: &mut [u8]) -> Result<(), FileError>;

    /// Writes bytes into a file that the host lets the guest write.
    ///
    /// # Errors
    /// If the host does not answer.
    fn write(&mut self, file: HostFile, offset: u32, bytes: &[u8]) -> Result<(), FileError>;
}
