//! Every Rust file says first what it is for.

use crate::repository::Repository;
use crate::violation::Violation;

/// Checks the first line of every Rust file.
pub fn check(repository: &Repository) -> Vec<Violation> {
    let silent = repository.sources.iter().filter(|source| !source.text.starts_with("//! "));
    let message = "the file does not start with `//! `; say in its first line what it is for";
    silent.map(|source| Violation::new(&source.path, 1, message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_starts_with_its_purpose() {
        assert!(check(&Repository::of(&[("a.rs", "//! Reads.\n#![no_std]")])).is_empty());
        for text in ["", "#![no_std]\n//! Reads.", "// Reads.", "\n//! Reads.", "//!"] {
            assert_eq!(check(&Repository::of(&[("a.rs", text)])).len(), 1, "{text:?}");
        }
    }
}
