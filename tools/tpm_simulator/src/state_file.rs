//! The file of `--state`: the TPM's durable records as one blob, replaced as a whole.
//!
//! A change is written to a file beside it, made durable, and renamed over it; so there is always a whole state, the old
//! or the new, and the response of a command leaves only after its changes are on the disk.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A whole state, as the file has it.
pub type Blob = Zeroizing<Vec<u8>>;

/// Durable records, and the file that has them, if any.
pub struct StateFile {
    path: Option<PathBuf>,
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
    /// The file is not a state, or a damaged one.
    #[error("{path} is no usable TPM state ({reason}); restore it, or remove it to start a new TPM")]
    Content {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl StateFile {
    /// Records that are kept only as long as the program runs.
    pub fn in_memory() -> Self {
        Self { path: None, records: BTreeMap::new() }
    }

    /// Records in a file. Gives the state that the file has, where there is one.
    pub fn open(path: &Path) -> Result<(Self, Option<Blob>), StateFileError> {
        let name = path.display().to_string();
        let blob = match std::fs::read(path) {
            Ok(blob) => Some(Zeroizing::new(blob)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StateFileError::Read { path: name, error }),
        };
        let mut records = BTreeMap::new();
        if let Some(blob) = &blob {
            let found = tpm::state_records(blob)
                .map_err(|error| StateFileError::Content { path: name, reason: format!("{error:?}") })?;
            records.extend(found.into_iter().map(|(record, bytes)| (record, Zeroizing::new(bytes))));
        }
        Ok((Self { path: Some(path.to_owned()), records }, blob))
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
            replace(path, &Zeroizing::new(blob))?;
        }
        self.records = records;
        Ok(())
    }
}

/// Replaces a file by one with this content, atomically and durably. Only its owner may read it: it holds every key.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_data()?;
    std::fs::rename(&temporary, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
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
        let (again, blob) = StateFile::open(&path).unwrap();
        assert_eq!(records(&again), [(1, vec![7, 8]), (3, vec![1])]);
        assert_eq!(blob.unwrap().as_slice(), std::fs::read(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_commit_that_cannot_be_written_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone").join("state");
        let (mut file, _) = StateFile::open(&path).unwrap();
        assert!(file.commit([(1, [7].as_slice())].into_iter()).is_err());
        assert!(records(&file).is_empty());
    }

    #[test]
    fn a_damaged_file_is_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (mut file, _) = StateFile::open(&path).unwrap();
        file.commit([(1, [7, 8].as_slice())].into_iter()).unwrap();
        let mut blob = std::fs::read(&path).unwrap();
        let last = blob.len() - 1;
        blob[last] ^= 1;
        std::fs::write(&path, blob).unwrap();
        let error = StateFile::open(&path).err().unwrap();
        assert!(error.to_string().contains("remove it to start a new TPM"));
    }
}
