//! Programs of a distribution for an initrd: each with the libraries that it needs, and nothing else.
//!
//! ELF: dynamic section, DT_NEEDED (System V ABI, chapter 5). Debian's loader looks into one folder for all libraries.

use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn, ElfFile, FileHeader};
use std::collections::BTreeMap;
use std::path::Path;

/// Where Debian has libraries, and its loader, which programs name by a path of its own.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADER_NAME: &str = "ld-linux-x86-64.so.2";
const LOADER: &str = "lib64/ld-linux-x86-64.so.2";
/// The folders that the files lie in; each comes behind the one around it.
pub const DIRECTORIES: &[&str] = &["lib64", "usr", "usr/bin", "usr/lib", LIBRARIES];

/// A file of the initrd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path.
    pub path: String,
    /// What it holds.
    pub contents: Vec<u8>,
}

/// The files named, paths in `tree`, with every library that one of them needs.
pub fn with_libraries(tree: &Path, wanted: &[&str]) -> Result<Vec<File>, String> {
    let mut files = BTreeMap::new();
    let mut open: Vec<String> = wanted.iter().map(|path| (*path).to_owned()).collect();
    while let Some(path) = open.pop() {
        if files.contains_key(&path) {
            continue;
        }
        let contents =
            std::fs::read(tree.join(&path)).map_err(|error| format!("{path} of a package: {error}"))?;
        let needed = needed(&contents).map_err(|error| format!("{path}: {error}"))?;
        open.extend(needed.iter().map(|name| format!("{LIBRARIES}/{name}")));
        files.insert(path, contents);
    }
    let loader = format!("{LIBRARIES}/{LOADER_NAME}");
    if let Some(contents) = files.remove(&loader) {
        files.insert(LOADER.to_owned(), contents);
    }
    Ok(files.into_iter().map(|(path, contents)| File { path, contents }).collect())
}

/// The libraries that an ELF file names; the loader, if it names any.
fn needed(bytes: &[u8]) -> Result<Vec<String>, object::Error> {
    let file: ElfFile<'_, FileHeader64<Endianness>> = ElfFile::parse(bytes)?;
    let endian = file.endian();
    let sections = file.elf_header().sections(endian, bytes)?;
    let Some((entries, strings)) = sections.dynamic(endian, bytes)? else { return Ok(Vec::new()) };
    let strings = sections.strings(endian, bytes, strings)?;
    let mut names = Vec::new();
    for entry in entries.iter().filter(|entry| entry.tag(endian) == DT_NEEDED) {
        names.push(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned());
    }
    if !names.is_empty() {
        names.push(LOADER_NAME.to_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_names_its_c_library_and_the_loader() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let names = needed(&bytes).unwrap();
        assert!(names.iter().any(|name| name == "libc.so.6"), "{names:?}");
        assert!(names.iter().any(|name| name == LOADER_NAME), "{names:?}");
    }

    #[test]
    fn what_is_no_elf_file_or_missing_is_an_error() {
        assert!(needed(b"#!/bin/sh\n").is_err());
        assert!(with_libraries(Path::new("/nowhere"), &["usr/bin/tpm2"]).is_err());
    }
}
