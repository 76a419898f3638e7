//! Every dependency's licence is on the allow-list.

use crate::packages::External;
use crate::repository::Repository;
use crate::violation::Violation;
use spdx::{Expression, ParseMode};

/// Licences that may be linked into everything, measured images included.
const EVERYWHERE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Licences for host tools and tests only: MPL-2.0 makes demands on the files that carry it, and NCSA, though permissive,
/// is needed for the fuzzer's runtime alone.
const ON_THE_HOST: &[&str] = &["MPL-2.0", "NCSA"];

/// Checks the licences of all packages from elsewhere.
pub fn check(repository: &Repository) -> Vec<Violation> {
    let mut violations = Vec::new();
    for workspace in &repository.workspaces {
        for external in &workspace.externals {
            if let Some(objection) = objection(external) {
                let message = format!("{} {}: {objection}", external.name, external.version);
                violations.push(Violation::new(&workspace.manifest, 1, message));
            }
        }
    }
    violations
}

fn objection(external: &External) -> Option<String> {
    let Some(licence) = &external.licence else {
        return Some("its manifest names no licence; use another crate".to_owned());
    };
    // Lax, because older manifests separate alternatives by a slash.
    let expression = match Expression::parse_mode(licence, ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => {
            return Some(format!(
                "its licence `{licence}` cannot be read ({}); use another crate",
                error.reason
            ));
        }
    };
    let is_satisfied_by = |lists: &[&[&str]]| {
        expression.evaluate(|requirement| {
            let name = requirement.license.id().map(|id| id.name);
            requirement.addition.is_none()
                && name.is_some_and(|name| lists.iter().any(|list| list.contains(&name)))
        })
    };
    if is_satisfied_by(&[EVERYWHERE]) {
        return None;
    }
    match (is_satisfied_by(&[EVERYWHERE, ON_THE_HOST]), external.is_on_bare_metal) {
        (true, false) => None,
        (true, true) => Some(format!(
            "its licence `{licence}` is for host tools only; keep it out of what firmware links"
        )),
        (false, _) => Some(format!("its licence `{licence}` is not on the allow-list; use another crate")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_accepted(licence: Option<&str>, is_on_bare_metal: bool) -> bool {
        objection(&External {
            name: "a".to_owned(),
            version: "1.0.0".to_owned(),
            licence: licence.map(str::to_owned),
            is_on_bare_metal,
        })
        .is_none()
    }

    #[test]
    fn the_lists_name_licences_that_exist_sorted_and_apart() {
        for list in [EVERYWHERE, ON_THE_HOST] {
            assert!(list.is_sorted());
            assert!(list.iter().all(|name| spdx::license_id(name).is_some()));
        }
        assert!(ON_THE_HOST.iter().all(|name| !EVERYWHERE.contains(name)));
    }

    #[test]
    fn an_expression_passes_when_a_choice_from_the_list_satisfies_it() {
        assert!(is_accepted(Some("MIT OR Apache-2.0"), true));
        assert!(is_accepted(Some("MIT/Apache-2.0"), true));
        assert!(is_accepted(Some("GPL-2.0-only OR MIT"), true));
        assert!(is_accepted(Some("(MIT OR Apache-2.0) AND Unicode-3.0"), true));
        assert!(is_accepted(Some("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT"), true));
    }

    #[test]
    fn what_no_choice_satisfies_is_refused() {
        assert!(!is_accepted(Some("GPL-3.0-only"), false));
        assert!(!is_accepted(Some("MIT AND GPL-2.0-only"), false));
        assert!(!is_accepted(Some("LicenseRef-House"), false));
        assert!(!is_accepted(Some("not an expression ("), false));
        assert!(!is_accepted(None, false));
    }

    #[test]
    fn some_licences_are_for_the_host_only() {
        assert!(is_accepted(Some("(MIT OR Apache-2.0) AND NCSA"), false));
        assert!(!is_accepted(Some("(MIT OR Apache-2.0) AND NCSA"), true));
        assert!(is_accepted(Some("MPL-2.0"), false));
        assert!(!is_accepted(Some("MPL-2.0"), true));
        assert!(is_accepted(Some("MPL-2.0 OR MIT"), true));
    }
}
