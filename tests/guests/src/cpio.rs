//! Writes the archive that the kernel unpacks as its first file system.
//!
//! Format: "new ASCII", Linux Documentation/driver-api/early-userspace/buffer-format.rst.

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive that is being written.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a folder; the folder around it must be there already.
    pub fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY, (0, 0), &[]);
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, contents: &[u8]) {
        self.entry(path, FILE, (0, 0), contents);
    }

    /// Adds a file that can be run.
    pub fn program(&mut self, path: &str, contents: &[u8]) {
        self.entry(path, PROGRAM, (0, 0), contents);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.entry(path, LINK, (0, 0), target.as_bytes());
    }

    /// Adds a character device.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.entry(path, CHARACTER_DEVICE, (major, minor), &[]);
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, (0, 0), &[]);
        self.bytes
    }

    /// Header of 13 hexadecimal fields, name, contents; name and contents end at multiples of four.
    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), contents: &[u8]) {
        self.entries += 1;
        let name_bytes = path.len() as u32 + 1;
        // Owner, times and device numbers are zero, so that the same files make the same archive.
        let fields =
            [self.entries, mode, 0, 0, 1, 0, contents.len() as u32, 0, 0, device.0, device.1, name_bytes, 0];
        self.bytes.extend_from_slice(MAGIC.as_bytes());
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(contents);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_contents_are_aligned_and_the_trailer_ends_the_archive() {
        let mut archive = Archive::default();
        archive.directory("dir");
        archive.file("dir/a", b"hello");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let header = "070701".to_owned() + "00000002" + "000081a4";
        let start = text.find(&header).unwrap();
        // 110 bytes of header, six of name: the contents follow at once.
        assert_eq!(&bytes[start + 110..start + 116], b"dir/a\0");
        assert_eq!(&bytes[start + 116..start + 124], b"hello\0\0\0");
        assert!(text.contains(TRAILER));
    }
}
