//! The file of `--state`: the TPM's durable records as one blob, replaced as a whole.
//!
//! A change is written to a file beside it, made durable, and renamed over it; so there is always a whole state, the old
//! or the new, and the response of a command leaves only after its changes are on the disk. The file is locked as long as
//! it is in use, since two programs would each replace what the other wrote.

use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tpm::StateError;
use zeroize::Zeroizing;

/// A whole state, as the file has it.
pub type Blob = Zeroizing<Vec<u8>>;

/// Durable records, and the file that has them, if any.
pub struct StateFile {
    path: Option<PathBuf>,
    /// The file at the path, locked.
    locked: Option<File>,
    records: BTreeMap<u32, Zeroizing<Vec<u8>>>,
}

/// A state that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// The file system said no.
    #[error("cannot read {path}: {error}; choose another file with --state")]
    Read {
        /// The file.
        path: String,
        /// What the file system said.
        error: io::Error,
    },
    /// The folder that the file should be in is not there.
    #[error("there is no folder {folder} for the state; make it, or choose another file with --state")]
    Folder {
        /// The folder.
        folder: String,
    },
    /// Another program has the file locked.
    #[error("{path} is in use by another simulator; end that one, or choose another file with --state")]
    Busy {
        /// The file.
        path: String,
    },
    /// The file is not a state, or a damaged one.
    #[error("{path} is no usable TPM state: {reason}; {}", remedy(reason))]
    Content {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: StateError,
    },
}

/// What to do about a state that is not taken in. Only what is certainly a state, and lost, is to be removed.
fn remedy(reason: &StateError) -> &'static str {
    match reason {
        StateError::NotAState => "choose another file with --state",
        StateError::OlderVersion(_) => "remove it to start a new TPM, or choose another file with --state",
        StateError::NewerVersion(_) => "use a newer simulator, or choose another file with --state",
        StateError::Truncated | StateError::Corrupt | StateError::Record(_) | StateError::Entropy => {
            "restore it, or remove it to start a new TPM"
        }
    }
}

impl StateFile {
    /// Records that are kept only as long as the program runs.
    pub fn in_memory() -> Self {
        Self { path: None, locked: None, records: BTreeMap::new() }
    }

    /// Records in a file. Gives the state that the file has, where there is one.
    pub fn open(path: &Path) -> Result<(Self, Option<Blob>), StateFileError> {
        let name = || path.display().to_string();
        let folder = folder_of(path);
        if !folder.is_dir() {
            return Err(StateFileError::Folder { folder: folder.display().to_string() });
        }
        let read = |error| StateFileError::Read { path: name(), error };
        let mut blob = None;
        let locked = match open_regular(path) {
            Ok(mut file) => {
                // A file system without locks is used without.
                if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
                    return Err(StateFileError::Busy { path: name() });
                }
                let mut bytes = Zeroizing::new(Vec::new());
                file.read_to_end(&mut bytes).map_err(read)?;
                // An empty file is a claim that was never filled.
                blob = Some(bytes).filter(|bytes| !bytes.is_empty());
                file
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => claim(path, &read)?,
            Err(error) => return Err(read(error)),
        };
        let mut records = BTreeMap::new();
        if let Some(blob) = &blob {
            let found = tpm::state_records(blob)
                .map_err(|reason| StateFileError::Content { path: name(), reason })?;
            records.extend(found.into_iter().map(|(record, bytes)| (record, Zeroizing::new(bytes))));
        }
        Ok((Self { path: Some(path.to_owned()), locked: Some(locked), records }, blob))
    }

    /// Takes changed records in, and makes them durable. Where that fails, nothing has changed.
    pub fn commit<'a>(&mut self, changes: impl Iterator<Item = (u32, &'a [u8])>) -> io::Result<()> {
        let mut records = self.records.clone();
        for (record, bytes) in changes {
            if bytes.is_empty() {
                records.remove(&record);
            } else {
                records.insert(record, Zeroizing::new(bytes.to_vec()));
            }
        }
        if let Some(path) = &self.path {
            let blob = tpm::assemble_state(records.iter().map(|(record, bytes)| (*record, bytes.as_slice())));
            self.locked = Some(replace(path, &Zeroizing::new(blob))?);
        }
        self.records = records;
        Ok(())
    }
}

/// Opens a file for reading: nothing else, since a pipe would wait for its other end for ever.
fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// Takes a path that nobody has yet, by an empty file with a lock: of two simulators one gets it.
fn claim(path: &Path, read: &impl Fn(io::Error) -> StateFileError) -> Result<File, StateFileError> {
    let busy = || StateFileError::Busy { path: path.display().to_string() };
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = match made {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(busy()),
        Err(error) => return Err(read(error)),
    };
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) { Err(busy()) } else { Ok(file) }
}

/// Makes the file beside the path anew and locks it: nobody else's, whatever has been put there, is written through.
fn create_beside(path: &Path) -> io::Result<(File, PathBuf)> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    Ok((file, temporary))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Replaces a file by one with this content, atomically and durably; gives the new one, locked. Only its owner may read it: it
/// holds every key.
fn replace(path: &Path, content: &[u8]) -> io::Result<File> {
    let (mut file, temporary) = create_beside(path)?;
    let _without_where_there_are_none = file.try_lock();
    file.write_all(content)?;
    file.sync_data()?;
    std::fs::rename(&temporary, path)?;
    File::open(folder_of(path))?.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn records(file: &StateFile) -> Vec<(u32, Vec<u8>)> {
        file.records.iter().map(|(record, bytes)| (*record, bytes.to_vec())).collect()
    }

    #[test]
    fn what_was_committed_is_there_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (mut file, blob) = StateFile::open(&path).unwrap();
        assert!(blob.is_none());
        file.commit([(1, [7, 8].as_slice()), (2, &[9])].into_iter()).unwrap();
        file.commit([(2, [].as_slice()), (3, &[1])].into_iter()).unwrap();
        drop(file);
        let (again, blob) = StateFile::open(&path).unwrap();
        assert_eq!(records(&again), [(1, vec![7, 8]), (3, vec![1])]);
        assert_eq!(blob.unwrap().as_slice(), std::fs::read(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_commit_that_cannot_be_written_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, _) = StateFile::open(&folder.path().join("state")).unwrap();
        drop(folder);
        assert!(file.commit([(1, [7].as_slice())].into_iter()).is_err());
        assert!(records(&file).is_empty());
    }

    #[test]
    fn a_damaged_file_is_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (mut file, _) = StateFile::open(&path).unwrap();
        file.commit([(1, [7, 8].as_slice())].into_iter()).unwrap();
        drop(file);
        let blob = std::fs::read(&path).unwrap();
        let refusal = |at: usize, byte: u8| {
            let mut damaged = blob.clone();
            damaged[at] ^= byte;
            std::fs::write(&path, damaged).unwrap();
            StateFile::open(&path).err().unwrap().to_string()
        };
        assert!(refusal(blob.len() - 1, 1).contains("remove it to start a new TPM"));
        // Of something else, or of a state that only a newer program can read, nobody is told to remove it.
        let newer = refusal(11, 1);
        assert!(
            newer.contains("version 3") && newer.ends_with("choose another file with --state"),
            "{newer}"
        );
        assert!(refusal(0, 1).ends_with("as a TPM state does; choose another file with --state"));
    }

    #[test]
    fn a_new_file_is_used_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (_first, blob) = StateFile::open(&path).unwrap();
        assert!(blob.is_none());
        assert!(matches!(StateFile::open(&path).err(), Some(StateFileError::Busy { .. })));
    }

    #[test]
    fn a_link_beside_the_state_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("state"), folder.path().join("victim"));
        std::fs::write(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("state.new")).unwrap();
        let (mut file, _) = StateFile::open(&path).unwrap();
        file.commit([(1, [7].as_slice())].into_iter()).unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        let error = StateFile::open(&path).err().unwrap().to_string();
        assert!(error.contains("no regular file") && error.contains("--state"), "{error}");
    }

    #[test]
    fn a_file_is_used_by_one_at_a_time_also_after_it_was_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (mut file, _) = StateFile::open(&path).unwrap();
        for byte in 0..3 {
            file.commit([(1, [byte].as_slice())].into_iter()).unwrap();
            assert!(matches!(StateFile::open(&path).err(), Some(StateFileError::Busy { .. })));
        }
        drop(file);
        let (_again, blob) = StateFile::open(&path).unwrap();
        assert!(blob.is_some());
        assert!(matches!(StateFile::open(&path).err(), Some(StateFileError::Busy { .. })));
    }
}
