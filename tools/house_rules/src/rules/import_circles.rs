//! The files of a crate do not import each other in circles: what is below can be read, tested and moved without what is above.
//!
//! An import is a `use` or a path in code; those of tests do not count, and a name that a file passes on with `pub use` counts as
//! its owner's. Crates that are not free of circles yet stand in [`TIED`]; one that is free leaves the table.

use std::collections::{BTreeMap, BTreeSet};

use crate::places;
use crate::repository::Repository;
use crate::source::{Import, Source};
use crate::violation::Violation;

/// Crates with circles. Nothing is added here.
pub const TIED: &[&str] = &[
    "differential",
    "guest_init",
    "guest_payload",
    "guests",
    "hardware",
    "igvm",
    "model",
    "monitor",
    "snp_abi",
    "snp_emulator",
    "svsm_verify",
    "tpm",
    "tpm_simulator",
];

/// How often a name may be passed on.
const LONGEST_PASSING_ON: usize = 8;

/// Checks each crate, and that the table is no longer than it has to be.
pub fn check(repository: &Repository) -> Vec<Violation> {
    let mut violations = Vec::new();
    for place in places::PLACES {
        let of_place = |source: &&Source| {
            !source.is_test && places::of_path(&source.path).is_some_and(|found| found.name == place.name)
        };
        let sources: Vec<&Source> = repository.sources.iter().filter(of_place).collect();
        let circles = circles(place.folder, &sources);
        let is_tied = TIED.contains(&place.name);
        if is_tied && circles.is_empty() && !sources.is_empty() {
            let message = format!("`{}` has no import circles any more; take it out of `TIED`", place.name);
            violations.push(Violation::new("tools/house_rules/src/rules/import_circles.rs", 1, message));
        }
        if !is_tied {
            violations.extend(circles);
        }
    }
    violations
}

/// One violation for each group of files that reach each other.
fn circles(folder: &str, sources: &[&Source]) -> Vec<Violation> {
    let modules = Modules::of(folder, sources);
    let edges = modules.edges(sources);
    let mut violations = Vec::new();
    let mut reported: BTreeSet<&str> = BTreeSet::new();
    for file in edges.keys() {
        if reported.contains(file) {
            continue;
        }
        let Some(circle) = shortest_circle(file, &edges) else { continue };
        reported
            .extend(reached(file, &edges).into_iter().filter(|other| reached(other, &edges).contains(file)));
        let line = edges.get(file).and_then(|to| circle.get(1).and_then(|next| to.get(next))).copied();
        let message = format!("imports in a circle: {}; move what both need below both", circle.join(" -> "));
        violations.push(Violation::new(*file, line.unwrap_or(1), message));
    }
    violations
}

/// From file to file, with the line of the first import.
type Edges<'a> = BTreeMap<&'a str, BTreeMap<&'a str, usize>>;

/// Everything that a file reaches.
fn reached<'a>(from: &str, edges: &Edges<'a>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = vec![from];
    while let Some(file) = open.pop() {
        for next in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
            if seen.insert(*next) {
                open.push(next);
            }
        }
    }
    seen
}

/// The shortest way from a file back to itself, both ends named.
fn shortest_circle<'a>(from: &'a str, edges: &Edges<'a>) -> Option<Vec<&'a str>> {
    let mut ways: Vec<Vec<&'a str>> = vec![vec![from]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in &ways {
            let last = way.last()?;
            for next in edges.get(last).into_iter().flat_map(BTreeMap::keys) {
                let mut way = way.clone();
                way.push(next);
                if *next == from {
                    return Some(way);
                }
                if seen.insert(*next) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

/// A module of one of a crate's programs or of its library: the root file's folder, and the names from there.
type Path = (String, Vec<String>);

/// Which file each module is.
struct Modules<'a> {
    files: BTreeMap<Path, &'a Source>,
    paths: BTreeMap<&'a str, Path>,
}

impl<'a> Modules<'a> {
    fn of(folder: &str, sources: &[&'a Source]) -> Self {
        let mut modules = Self { files: BTreeMap::new(), paths: BTreeMap::new() };
        for source in sources {
            let Some(rest) = source.path.strip_prefix(folder).and_then(|rest| rest.strip_prefix("/src/"))
            else {
                continue;
            };
            let (root, inside) = match rest.strip_prefix("bin/") {
                Some(program) => program.split_once('/').unwrap_or((program, "main.rs")),
                None => ("", rest),
            };
            let names = names(inside);
            let path = (root.trim_end_matches(".rs").to_owned(), names);
            modules.paths.insert(&source.path, path.clone());
            // A library's root is what `crate` names for its modules; a program beside it has none of its own.
            if !(inside == "main.rs" && modules.files.contains_key(&path)) {
                modules.files.insert(path, source);
            }
        }
        modules
    }

    fn edges(&self, sources: &[&'a Source]) -> Edges<'a> {
        let mut edges: Edges<'a> = BTreeMap::new();
        for source in sources {
            let Some(path) = self.paths.get(source.path.as_str()) else { continue };
            let to = edges.entry(&source.path).or_default();
            for import in source.imports.iter().filter(|import| !import.is_passed_on) {
                if let Some(file) = self.resolve(path, import, 0).filter(|file| file.path != source.path) {
                    to.entry(&file.path).or_insert(import.line);
                }
            }
        }
        edges
    }

    /// The file that owns what an import names, if it is one of this crate.
    fn resolve(&self, (root, module): &Path, import: &Import, depth: usize) -> Option<&'a Source> {
        let mut place: Vec<String> = module.iter().chain(&import.inside).cloned().collect();
        let mut names = import.segments.iter().peekable();
        let exists = |place: &[String]| self.files.contains_key(&(root.clone(), place.to_vec()));
        match names.peek().map(|name| name.as_str())? {
            "crate" => {
                place.clear();
                names.next();
            }
            "self" => {
                names.next();
            }
            "super" => {
                while names.next_if(|name| *name == "super").is_some() {
                    place.pop();
                }
            }
            first => {
                let mut child = place.clone();
                child.push(first.to_owned());
                if !exists(&child) {
                    return None;
                }
            }
        }
        while let Some(name) = names.peek() {
            let mut child = place.clone();
            child.push((*name).clone());
            if !exists(&child) {
                break;
            }
            place = child;
            names.next();
        }
        while !exists(&place) {
            place.pop()?;
        }
        let path = (root.clone(), place);
        let file = self.files.get(&path)?;
        let passed_on =
            names.next().and_then(|name| file.imports.iter().find(|import| import.passes_on(name)));
        let owner = passed_on.filter(|_| depth < LONGEST_PASSING_ON);
        owner.and_then(|import| self.resolve(&path, import, depth + 1)).or(Some(file))
    }
}

/// The names from a crate's root to a file below `src`.
fn names(inside: &str) -> Vec<String> {
    let mut names: Vec<String> = inside.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if names
        .last()
        .is_some_and(|last| last == "mod" || (names.len() == 1 && (last == "lib" || last == "main")))
    {
        names.pop();
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        check(&Repository::of(files)).into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn two_files_that_import_each_other_are_a_circle() {
        let circle = [
            ("tools/house_rules/src/lib.rs", "mod a; mod b;"),
            ("tools/house_rules/src/a.rs", "use crate::b::B; pub struct A;"),
            ("tools/house_rules/src/b.rs", "pub struct B; fn f() -> super::a::A { crate::a::A }"),
        ];
        let messages = found(&circle);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(
            messages[0].contains("tools/house_rules/src/a.rs -> tools/house_rules/src/b.rs -> "),
            "{messages:?}"
        );
    }

    #[test]
    fn a_chain_is_none_and_tests_do_not_count() {
        let chain = [
            ("tools/house_rules/src/lib.rs", "mod a; mod b;"),
            ("tools/house_rules/src/a.rs", "use crate::b::B;"),
            ("tools/house_rules/src/b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"),
        ];
        assert!(found(&chain).is_empty());
    }

    #[test]
    fn a_name_that_is_passed_on_is_its_owners() {
        let facade = [
            ("tools/house_rules/src/lib.rs", "mod a; mod b; pub use a::A;"),
            ("tools/house_rules/src/a.rs", "pub struct A;"),
            ("tools/house_rules/src/b.rs", "use crate::A;"),
        ];
        assert!(found(&facade).is_empty());
        let real = [
            ("tools/house_rules/src/lib.rs", "mod a; pub struct L; fn f(_: a::A) {}"),
            ("tools/house_rules/src/a.rs", "use crate::L; pub struct A;"),
        ];
        assert_eq!(found(&real).len(), 1);
    }

    #[test]
    fn a_child_that_uses_what_its_parent_has_is_a_circle_with_it() {
        let files = [
            ("tools/house_rules/src/lib.rs", "mod a;"),
            ("tools/house_rules/src/a/mod.rs", "mod b; pub struct A; use b::B;"),
            ("tools/house_rules/src/a/b.rs", "use super::A; pub struct B;"),
        ];
        assert_eq!(found(&files).len(), 1);
    }

    #[test]
    fn programs_of_a_crate_have_roots_of_their_own() {
        let files = [
            ("tools/house_rules/src/lib.rs", "mod a;"),
            ("tools/house_rules/src/a.rs", "pub struct A;"),
            ("tools/house_rules/src/main.rs", "use house_rules::a::A;"),
            ("tools/house_rules/src/bin/show/main.rs", "mod a; use a::A;"),
            ("tools/house_rules/src/bin/show/a.rs", "pub struct A;"),
        ];
        assert!(found(&files).is_empty());
    }
}
