//! The repository as the rules see it: every file that is not ignored, the Rust sources parsed, cargo's view of it.

use crate::packages::Packages;
use crate::source::Source;
use crate::violation::Violation;
use ignore::WalkBuilder;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A file of text.
#[derive(Debug)]
pub struct TextFile {
    /// The file, from the root of the repository, with `/` between folders.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// Everything that is checked.
#[derive(Debug, Default)]
pub struct Repository {
    /// All files, text or not, from the root of the repository, sorted.
    pub paths: Vec<String>,
    /// The files that are text.
    pub texts: Vec<TextFile>,
    /// The Rust sources.
    pub sources: Vec<Source>,
    /// One violation for each Rust source that cannot be read as such.
    pub unreadable: Vec<Violation>,
    /// The cargo workspaces: the repository's own, and those that it excludes.
    pub workspaces: Vec<Packages>,
}

impl Repository {
    /// Reads the repository at `root`, cargo's view included.
    ///
    /// Errors: what could not be read, as a sentence.
    pub fn read(root: &Path) -> Result<Self, String> {
        let root = root.canonicalize().map_err(|error| format!("{}: {error}", root.display()))?;
        let mut files = Vec::new();
        for path in walk(&root)? {
            let content = fs::read(root.join(&path)).map_err(|error| format!("{path}: {error}"))?;
            files.push((path, String::from_utf8(content).ok()));
        }
        let mut repository = Self::from_files(files);
        for manifest in repository.workspace_manifests() {
            repository.workspaces.push(Packages::read(&root, &manifest)?);
        }
        Ok(repository)
    }

    /// A repository of these paths and texts, without cargo's view.
    fn from_files(mut files: Vec<(String, Option<String>)>) -> Self {
        files.sort();
        let mut repository = Self::default();
        for (path, text) in files {
            if let Some(text) = text {
                if path.ends_with(".rs") {
                    match Source::parse(&path, &text) {
                        Ok(source) => repository.sources.push(source),
                        Err((line, error)) => {
                            let message =
                                format!("not read as Rust ({error}); correct it so that it can be checked");
                            repository.unreadable.push(Violation::new(&path, line, message));
                        }
                    }
                }
                repository.texts.push(TextFile { path: path.clone(), text });
            }
            repository.paths.push(path);
        }
        repository.mark_tests();
        repository
    }

    /// A repository of texts in memory, for tests of rules.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self::from_files(
            files.iter().map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned()))).collect(),
        )
    }

    /// The text of the file at `path`.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    /// The Rust source at `path`.
    pub fn source(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.path == path)
    }

    /// Whether there is a file or folder at `path`.
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.paths
            .iter()
            .any(|file| file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    /// The manifests that open a cargo workspace.
    fn workspace_manifests(&self) -> Vec<String> {
        let manifests = self.texts.iter().filter(|file| is_manifest(&file.path));
        let opening = manifests.filter(|file| file.text.lines().any(|line| line.trim() == "[workspace]"));
        opening.map(|file| file.path.clone()).collect()
    }

    /// Marks the sources that exist in test builds only: integration tests, benches, and files of test modules.
    fn mark_tests(&mut self) {
        let mut test_files: BTreeSet<String> = BTreeSet::new();
        for source in &self.sources {
            for module in source.modules.iter().filter(|module| module.is_test && module.is_in_other_file) {
                test_files.insert(format!("{}{}", module_folder(&source.path), module.name));
            }
        }
        let packages: BTreeSet<String> =
            self.paths.iter().filter_map(|path| path.strip_suffix("Cargo.toml")).map(str::to_owned).collect();
        for source in &mut self.sources {
            let in_test_module = test_files.iter().any(|module| {
                let rest = source.path.strip_prefix(module.as_str());
                rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            });
            let in_test_folder = packages.iter().any(|package| {
                let rest = source.path.strip_prefix(package.as_str());
                rest.is_some_and(|rest| {
                    (rest.starts_with("tests/") || rest.starts_with("benches/")) && !package.is_empty()
                })
            });
            source.is_test = in_test_module || in_test_folder;
        }
    }
}

/// Whether `path` is a cargo manifest.
pub fn is_manifest(path: &str) -> bool {
    path == "Cargo.toml" || path.ends_with("/Cargo.toml")
}

/// The folder, with a `/` at its end, where the files of a source's modules are.
fn module_folder(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let own = match name {
        "lib.rs" | "main.rs" | "mod.rs" => "",
        other => other.trim_end_matches(".rs"),
    };
    [folder, own].iter().filter(|part| !part.is_empty()).map(|part| format!("{part}/")).collect()
}

/// All files below `root` that git would not ignore.
fn walk(root: &Path) -> Result<Vec<String>, String> {
    let mut paths = Vec::new();
    let entries = WalkBuilder::new(root)
        .hidden(false)
        .parents(false)
        .git_global(false)
        .require_git(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build();
    for entry in entries {
        let entry = entry.map_err(|error| error.to_string())?;
        if entry.file_type().is_some_and(|kind| kind.is_file()) {
            let inside = entry.path().strip_prefix(root).map_err(|error| error.to_string())?;
            let parts: Vec<_> = inside.components().map(|part| part.as_os_str().to_string_lossy()).collect();
            paths.push(parts.join("/"));
        }
    }
    Ok(paths)
}

/// The root of the repository that `start` lies in: the folder that holds this program's own manifest.
pub fn find_root(start: &Path) -> io::Result<PathBuf> {
    let start = start.canonicalize()?;
    let root = start.ancestors().find(|folder| folder.join("tools/house_rules/Cargo.toml").is_file());
    root.map(Path::to_owned).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("{} is not inside the repository", start.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_test_modules_and_of_test_folders_are_marked() {
        let repository = Repository::of(&[
            ("a/Cargo.toml", ""),
            ("a/src/lib.rs", "#[cfg(test)] mod fakes; mod engine;"),
            ("a/src/fakes.rs", ""),
            ("a/src/engine.rs", "#[cfg(test)] mod vectors;"),
            ("a/src/engine/vectors/hash.rs", ""),
            ("a/tests/whole.rs", ""),
            ("tests/guest/Cargo.toml", ""),
            ("tests/guest/src/main.rs", ""),
            ("Cargo.toml", "[workspace]\n"),
        ]);
        let marked: Vec<_> = repository
            .sources
            .iter()
            .filter(|source| source.is_test)
            .map(|source| source.path.as_str())
            .collect();
        assert_eq!(marked, ["a/src/engine/vectors/hash.rs", "a/src/fakes.rs", "a/tests/whole.rs"]);
        assert_eq!(repository.workspace_manifests(), ["Cargo.toml"]);
    }

    #[test]
    fn a_source_that_does_not_parse_is_a_violation_and_not_skipped() {
        let repository = Repository::of(&[("a.rs", "//! A.\nfn {")]);
        assert_eq!(repository.unreadable.iter().map(|found| found.line).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn folders_and_files_are_found_by_whole_names() {
        let repository = Repository::of(&[("kernel/tpm/Cargo.toml", "")]);
        assert!(repository.has("kernel/tpm/") && repository.has("kernel/tpm/Cargo.toml"));
        assert!(!repository.has("kernel/tp"));
    }

    #[test]
    fn ignored_files_are_not_read_and_hidden_ones_are() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in
            [(".gitignore", "/target\n"), ("target/a.rs", "fn {"), (".ci/run", "x"), (".git/config", "x")]
        {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let mut paths = walk(folder.path()).expect("a readable folder");
        paths.sort();
        assert_eq!(paths, [".ci/run", ".gitignore"]);
    }

    #[test]
    fn the_root_is_found_from_any_folder_inside_it() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = find_root(&here.join("src")).expect("this crate is in the repository");
        assert_eq!(root.join("tools/house_rules"), here);
        assert!(find_root(Path::new("/")).is_err());
    }
}
