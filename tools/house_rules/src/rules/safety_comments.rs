//! Every claim of safety is argued where it is made.
//!
//! Clippy asks the same of blocks that it sees; this rule also looks into macros, and at `unsafe extern` blocks.

use crate::repository::Repository;
use crate::source::Source;
use crate::tokens::{UnsafeKind, UnsafeUse};
use crate::violation::Violation;

/// Checks every `unsafe` in every Rust file.
pub fn check(repository: &Repository) -> Vec<Violation> {
    repository.sources.iter().flat_map(check_source).collect()
}

fn check_source(source: &Source) -> Vec<Violation> {
    let lines: Vec<&str> = source.text.lines().collect();
    let found = source.findings.unsafe_uses.iter().filter_map(|found| {
        let message = objection(found, &lines)?;
        Some(Violation::new(&source.path, found.line, message))
    });
    found.collect()
}

fn objection(found: &UnsafeUse, lines: &[&str]) -> Option<&'static str> {
    let is_argued = || is_argued_above(lines, found.line) || is_argued_above(lines, found.statement_line);
    match found.kind {
        UnsafeKind::Block if !is_argued() => {
            Some("an unsafe block without `// SAFETY:` directly above; state there why it is sound")
        }
        UnsafeKind::Implementation if !is_argued() => Some(
            "an unsafe impl without `// SAFETY:` directly above; state there why the trait's contract holds",
        ),
        UnsafeKind::ExternBlock if !is_argued() => Some(
            "an unsafe extern block without `// SAFETY:` directly above; state there why the declarations are right",
        ),
        UnsafeKind::Function | UnsafeKind::Trait if !found.has_safety_section => Some(
            "an unsafe item without a `# Safety` section in its doc comment; say there what the caller must ensure",
        ),
        UnsafeKind::Block
        | UnsafeKind::Implementation
        | UnsafeKind::ExternBlock
        | UnsafeKind::Function
        | UnsafeKind::Trait
        | UnsafeKind::ContractElsewhere
        | UnsafeKind::Attribute
        | UnsafeKind::Mention => None,
    }
}

/// Whether the comment directly above `line` (counted from 1), attributes between them aside, has a line with `SAFETY:`.
fn is_argued_above(lines: &[&str], line: usize) -> bool {
    let above = lines.get(..line.saturating_sub(1)).unwrap_or_default();
    let mut above =
        above.iter().rev().map(|line| line.trim()).skip_while(|line| line.starts_with("#[")).peekable();
    let is_comment =
        |line: &str| line.starts_with("//") && !line.starts_with("///") && !line.starts_with("//!");
    std::iter::from_fn(|| above.next_if(|line| is_comment(line))).any(|line| line.starts_with("// SAFETY: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        check(&Repository::of(&[("kernel/hardware/src/a.rs", text)]))
            .into_iter()
            .map(|found| found.line)
            .collect()
    }

    #[test]
    fn an_argued_block_passes_and_a_bare_one_does_not() {
        assert!(
            lines("fn f() {\n    // SAFETY: 1. it is.\n    // 2. it stays.\n    unsafe { g() }\n}")
                .is_empty()
        );
        assert!(lines("fn f() {\n    // SAFETY: it is.\n    let x =\n        unsafe { g() };\n}").is_empty());
        assert_eq!(lines("fn f() {\n    unsafe { g() }\n}"), [2]);
        assert_eq!(lines("fn f() {\n    // It is safe.\n    unsafe { g() }\n}"), [3]);
    }

    #[test]
    fn a_comment_argues_for_one_statement_only() {
        assert_eq!(lines("fn f() {\n    // SAFETY: it is.\n    unsafe { g() };\n    unsafe { h() }\n}"), [4]);
        assert_eq!(lines("fn f() {\n    // SAFETY: it is.\n\n    unsafe { h() }\n}"), [4]);
        assert_eq!(lines("// SAFETY: it is.\nfn f() {\n    unsafe { h() }\n}"), [3]);
    }

    #[test]
    fn an_argument_in_a_string_or_doc_comment_does_not_count() {
        assert_eq!(lines("/// SAFETY: it is.\nunsafe impl Sync for X {}"), [2]);
        assert_eq!(lines("fn f() {\n    g(\"\n    // SAFETY: no\", 1,\n    2);\n    unsafe { h() }\n}"), [5]);
    }

    #[test]
    fn an_implementation_may_have_attributes_between() {
        assert!(lines("// SAFETY: no state.\n#[cfg(unix)]\nunsafe impl Sync for X {}").is_empty());
        assert_eq!(lines("unsafe impl Sync for X {}"), [1]);
    }

    #[test]
    fn blocks_inside_macros_are_held_to_the_same() {
        let bare = "macro_rules! m {\n    () => {\n        unsafe { g() }\n    };\n}";
        assert_eq!(lines(bare), [3]);
    }

    #[test]
    fn an_unsafe_function_needs_a_safety_section() {
        assert!(
            lines("/// Writes.\n///\n/// # Safety\n/// `p` is valid.\npub unsafe fn f(p: *mut u8) {}")
                .is_empty()
        );
        assert_eq!(lines("/// Writes.\npub unsafe fn f(p: *mut u8) {}"), [2]);
    }

    #[test]
    fn an_extern_block_is_argued_as_a_whole() {
        assert!(
            lines("// SAFETY: symbols of the linker script.\nunsafe extern \"C\" {\n    unsafe fn f();\n}")
                .is_empty()
        );
        assert_eq!(lines("unsafe extern \"C\" {\n    static START: u8;\n}"), [1]);
    }
}
