//! What a rule says when something breaks it.

use std::fmt;

/// One broken rule at one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The file, from the root of the repository, with `/` between folders.
    pub path: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, and the remedy.
    pub message: String,
}

impl Violation {
    /// A violation at `path` and `line`.
    pub fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line, message: message.into() }
    }

    /// The violation as the line that is printed, with the name of the rule that it breaks.
    pub fn under<'a>(&'a self, rule: &'a str) -> impl fmt::Display + 'a {
        fmt::from_fn(move |formatter| {
            write!(formatter, "{}:{}: {rule}: {}", self.path, self.line, self.message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_reads_path_line_rule_and_remedy() {
        let violation = Violation::new("a/b.rs", 7, "wrong; do right");
        assert_eq!(violation.under("names").to_string(), "a/b.rs:7: names: wrong; do right");
    }
}
