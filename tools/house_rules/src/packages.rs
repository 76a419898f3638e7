//! The packages that cargo builds the repository from, reduced to what the rules ask.

use crate::places;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId, TargetKind};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// A dependency as a manifest declares it.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The package's own name, whatever it is called in the manifest.
    pub name: String,
    /// What it is declared for.
    pub kind: DependencyKind,
    /// For a path dependency: whether the path stays inside the repository.
    pub path_is_in_tree: Option<bool>,
}

/// A package of this repository.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its manifest, from the root of the repository.
    pub manifest: String,
    /// Its dependencies.
    pub declared: Vec<Declared>,
    /// The first files of its libraries and programs, from the root of the repository. Tests, examples and build scripts
    /// run on the host whatever the crate is for, and are left out.
    pub crate_roots: Vec<String>,
}

/// A package from elsewhere.
#[derive(Clone, Debug)]
pub struct External {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence expression, as its manifest gives it.
    pub licence: Option<String>,
    /// Whether a bare-metal program is linked with it.
    pub is_on_bare_metal: bool,
}

/// All packages of one cargo workspace.
#[derive(Clone, Debug)]
pub struct Packages {
    /// The workspace's manifest, from the root of the repository.
    pub manifest: String,
    /// The packages of the repository.
    pub members: Vec<Member>,
    /// All others.
    pub externals: Vec<External>,
}

impl Packages {
    /// Asks cargo about the workspace whose manifest is `manifest`, a path from `root`.
    ///
    /// Errors: cargo's message.
    pub fn read(root: &Path, manifest: &str) -> Result<Self, String> {
        let metadata = MetadataCommand::new()
            .manifest_path(root.join(manifest))
            .exec()
            .map_err(|error| format!("cargo metadata on {manifest}: {error}"))?;
        let on_bare_metal = linked_with_bare_metal(&metadata);
        let mut packages = Self { manifest: manifest.to_owned(), members: Vec::new(), externals: Vec::new() };
        for package in &metadata.packages {
            let local_manifest = relative(root, package.manifest_path.as_std_path());
            match local_manifest {
                Some(manifest) if package.source.is_none() => {
                    packages.members.push(member(root, package, manifest))
                }
                _ => packages.externals.push(External {
                    name: package.name.to_string(),
                    version: package.version.to_string(),
                    licence: package.license.clone(),
                    is_on_bare_metal: on_bare_metal.contains(&package.id),
                }),
            }
        }
        Ok(packages)
    }
}

fn member(root: &Path, package: &Package, manifest: String) -> Member {
    let declared = package.dependencies.iter().map(|dependency| Declared {
        name: dependency.name.clone(),
        kind: dependency.kind,
        path_is_in_tree: dependency.path.as_ref().map(|path| relative(root, path.as_std_path()).is_some()),
    });
    let is_root = |kind: &TargetKind| {
        matches!(kind, TargetKind::Bin | TargetKind::Lib | TargetKind::RLib | TargetKind::ProcMacro)
    };
    let roots = package.targets.iter().filter(|target| target.kind.iter().any(is_root));
    Member {
        name: package.name.to_string(),
        manifest,
        declared: declared.collect(),
        crate_roots: roots.filter_map(|target| relative(root, target.src_path.as_std_path())).collect(),
    }
}

/// `path` as seen from `root`, with `/` between folders; none outside of it.
fn relative(root: &Path, path: &Path) -> Option<String> {
    let inside = path.strip_prefix(root).ok()?;
    let parts: Vec<_> = inside.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    Some(parts.join("/"))
}

/// Every package that normal dependencies lead to from a bare-metal program.
fn linked_with_bare_metal(metadata: &Metadata) -> BTreeSet<PackageId> {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let linked: HashMap<&PackageId, Vec<&PackageId>> = nodes
        .map(|node| {
            let normal = node.deps.iter().filter(|dependency| {
                dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
            });
            (&node.id, normal.map(|dependency| &dependency.pkg).collect())
        })
        .collect();
    let is_bare_metal = |package: &&Package| {
        package.source.is_none()
            && places::of_package(&package.name).is_some_and(|place| place.kind.is_bare_metal())
    };
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<&PackageId> =
        metadata.packages.iter().filter(is_bare_metal).map(|package| &package.id).collect();
    while let Some(id) = waiting.pop() {
        if reached.insert(id.clone()) {
            waiting.extend(linked.get(id).into_iter().flatten());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn package(root: &Path, folder: &str, name: &str, rest: &str) {
        let folder = root.join(folder);
        fs::create_dir_all(folder.join("src")).expect("a folder in a temporary folder");
        let manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{rest}");
        fs::write(folder.join("Cargo.toml"), manifest).expect("a file in a temporary folder");
        fs::write(folder.join("src/lib.rs"), "//! A.\n").expect("a file in a temporary folder");
    }

    #[test]
    fn members_and_externals_are_read_from_cargo() {
        let outside = tempfile::tempdir().expect("a temporary folder");
        package(outside.path(), "linked", "linked", "license = \"MIT\"\n");
        package(outside.path(), "tested", "tested", "license = \"MPL-2.0\"\n");
        let repository = tempfile::tempdir().expect("a temporary folder");
        let root = repository.path().canonicalize().expect("an absolute path");
        let at = |name: &str| format!("{{ path = {:?} }}", outside.path().join(name));
        let rest = format!(
            "[dependencies]\ntpm = {{ path = \"tpm\" }}\n[dev-dependencies]\ntested = {}\n[workspace]\n",
            at("tested")
        );
        package(&root, "", "kernel", &rest);
        fs::create_dir(root.join("examples")).expect("a folder in a temporary folder");
        fs::write(root.join("examples/speed.rs"), "fn main() {}").expect("a file in a temporary folder");
        package(&root, "tpm", "tpm", &format!("[dependencies]\nlinked = {}\n", at("linked")));

        let packages = Packages::read(&root, "Cargo.toml").expect("cargo reads the workspace");

        let kernel = packages.members.iter().find(|member| member.name == "kernel").expect("a member");
        assert_eq!(
            (kernel.manifest.as_str(), kernel.crate_roots.as_slice()),
            ("Cargo.toml", &["src/lib.rs".to_owned()][..])
        );
        let declared: Vec<_> = kernel
            .declared
            .iter()
            .map(|declared| (declared.name.as_str(), declared.kind, declared.path_is_in_tree))
            .collect();
        assert_eq!(declared.len(), 2);
        assert!(declared.contains(&("tpm", DependencyKind::Normal, Some(true))));
        assert!(declared.contains(&("tested", DependencyKind::Development, Some(false))));
        let mut externals: Vec<_> = packages
            .externals
            .iter()
            .map(|external| (external.name.as_str(), external.licence.as_deref(), external.is_on_bare_metal))
            .collect();
        externals.sort_unstable();
        assert_eq!(externals, [("linked", Some("MIT"), true), ("tested", Some("MPL-2.0"), false)]);
    }

    #[test]
    fn what_cargo_says_of_a_broken_workspace_is_passed_on() {
        let repository = tempfile::tempdir().expect("a temporary folder");
        fs::write(repository.path().join("Cargo.toml"), "[package]\n").expect("a file in a temporary folder");
        let error = Packages::read(repository.path(), "Cargo.toml")
            .map(|_| ())
            .expect_err("the manifest has no name");
        assert!(error.contains("Cargo.toml"), "{error}");
    }
}
