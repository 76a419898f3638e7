//! Crates depend on each other only as the table of places allows.

use crate::packages::{Declared, Member};
use crate::places;
use crate::repository::{self, Repository};
use crate::violation::Violation;
use cargo_metadata::DependencyKind;

/// Checks that every manifest belongs to a placed crate, and every declared dependency against the table.
pub fn check(repository: &Repository) -> Vec<Violation> {
    let mut violations = homeless(repository);
    for member in repository.workspaces.iter().flat_map(|workspace| &workspace.members) {
        violations.extend(check_place(member));
        for declared in &member.declared {
            if let Some(message) = objection(member, declared) {
                let line = line_of(repository.text(&member.manifest), &declared.name);
                violations.push(Violation::new(&member.manifest, line, message));
            }
        }
    }
    violations
}

/// Manifests that no workspace lists: cargo would not tell about their dependencies.
fn homeless(repository: &Repository) -> Vec<Violation> {
    let known = |path: &&str| {
        repository.workspaces.iter().any(|workspace| {
            workspace.manifest == **path || workspace.members.iter().any(|member| member.manifest == **path)
        })
    };
    let manifests = repository.paths.iter().map(String::as_str).filter(|path| repository::is_manifest(path));
    let message = "a manifest outside of every workspace; add it to `members` in the root Cargo.toml";
    manifests.filter(|path| !known(path)).map(|path| Violation::new(path, 1, message)).collect()
}

fn check_place(member: &Member) -> Option<Violation> {
    let name = &member.name;
    let Some(place) = places::of_package(name) else {
        let message =
            format!("`{name}` has no place; give it a row in PLACES (tools/house_rules/src/places.rs)");
        return Some(Violation::new(&member.manifest, 1, message));
    };
    let expected = format!("{}/Cargo.toml", place.folder);
    let message = format!("`{name}` belongs into {}; move it, or change its row in PLACES", place.folder);
    (member.manifest != expected).then(|| Violation::new(&member.manifest, 1, message))
}

fn objection(member: &Member, declared: &Declared) -> Option<String> {
    let (user, used) = (member.name.as_str(), declared.name.as_str());
    match declared.path_is_in_tree {
        None => return None,
        Some(false) => {
            return Some(format!(
                "`{used}` is taken from a path outside of the repository; take it from a registry"
            ));
        }
        Some(true) => {}
    }
    if let Some((_, _, why)) = places::NEVER.iter().find(|never| never.0 == user && never.1 == used) {
        return Some(format!("`{user}` must not depend on `{used}` in any way: {why}; remove the line"));
    }
    let allowed = places::of_package(user).map_or(&[][..], |place| place.uses);
    if declared.kind == DependencyKind::Development || allowed.contains(&used) {
        return None;
    }
    let list = if allowed.is_empty() {
        "nothing in-tree".to_owned()
    } else {
        format!("only {}", allowed.join(", "))
    };
    Some(format!(
        "`{user}` may not depend on `{used}`, {list}; turn the dependency round with a trait, or move the code"
    ))
}

/// The line of the manifest that declares `name`, or the first where it cannot be told.
fn line_of(manifest: Option<&str>, name: &str) -> usize {
    let declares = |line: &str| {
        let rest = line.trim_start().strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with([' ', '.', '=']))
    };
    manifest.and_then(|text| text.lines().position(declares)).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::Packages;

    fn member(name: &str, manifest: &str, uses: &[(&str, DependencyKind)]) -> Member {
        let declared = uses.iter().map(|(name, kind)| Declared {
            name: (*name).to_owned(),
            kind: *kind,
            path_is_in_tree: Some(true),
        });
        Member {
            name: name.to_owned(),
            manifest: manifest.to_owned(),
            declared: declared.collect(),
            crate_roots: Vec::new(),
        }
    }

    fn check_members(members: Vec<Member>) -> Vec<Violation> {
        let manifests: Vec<_> = members.iter().map(|member| member.manifest.clone()).collect();
        let text = "[dependencies]\nsnp_abi.workspace = true\nhardware = { path = \"x\" }\n";
        let files: Vec<(&str, &str)> = manifests.iter().map(|path| (path.as_str(), text)).collect();
        let mut repository = Repository::of(&files);
        repository.workspaces.push(Packages {
            manifest: "Cargo.toml".to_owned(),
            members,
            externals: Vec::new(),
        });
        check(&repository)
    }

    #[test]
    fn an_edge_of_the_table_passes_and_another_does_not() {
        let normal = DependencyKind::Normal;
        assert!(
            check_members(vec![member("hardware", "kernel/hardware/Cargo.toml", &[("snp_abi", normal)])])
                .is_empty()
        );
        let found = check_members(vec![member(
            "svsm_protocol",
            "kernel/svsm_protocol/Cargo.toml",
            &[("hardware", normal)],
        )]);
        assert_eq!(found.iter().map(|found| found.line).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn build_dependencies_count_and_dev_dependencies_do_not() {
        let manifest = "kernel/tpm/Cargo.toml";
        assert_eq!(
            check_members(vec![member("tpm", manifest, &[("snp_abi", DependencyKind::Build)])]).len(),
            1
        );
        assert!(
            check_members(vec![member("tpm", manifest, &[("snp_abi", DependencyKind::Development)])])
                .is_empty()
        );
    }

    #[test]
    fn the_monitor_never_depends_on_hardware_even_for_tests() {
        for kind in [DependencyKind::Normal, DependencyKind::Build, DependencyKind::Development] {
            let found = check_members(vec![member(
                "monitor",
                "tools/snp_emulator/monitor/Cargo.toml",
                &[("hardware", kind)],
            )]);
            assert_eq!(found.len(), 1, "{kind:?}");
        }
    }

    #[test]
    fn a_crate_without_a_place_or_in_another_place_is_refused() {
        assert_eq!(check_members(vec![member("newcomer", "tools/newcomer/Cargo.toml", &[])]).len(), 1);
        assert_eq!(check_members(vec![member("tpm", "tools/tpm/Cargo.toml", &[])]).len(), 1);
    }

    #[test]
    fn a_manifest_that_no_workspace_lists_is_refused() {
        let mut repository = Repository::of(&[("Cargo.toml", ""), ("tools/lost/Cargo.toml", "")]);
        repository.workspaces.push(Packages {
            manifest: "Cargo.toml".to_owned(),
            members: Vec::new(),
            externals: Vec::new(),
        });
        let paths: Vec<_> = check(&repository).into_iter().map(|found| found.path).collect();
        assert_eq!(paths, ["tools/lost/Cargo.toml"]);
    }

    #[test]
    fn a_path_out_of_the_repository_is_refused_and_a_registry_crate_of_the_same_name_is_not() {
        let mut igvm = member("igvm", "igvm/Cargo.toml", &[("igvm", DependencyKind::Normal)]);
        igvm.declared[0].path_is_in_tree = None;
        assert!(check_members(vec![igvm.clone()]).is_empty());
        igvm.declared[0].path_is_in_tree = Some(false);
        assert_eq!(check_members(vec![igvm]).len(), 1);
    }
}
