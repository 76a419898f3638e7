//! Files and functions stay small: most of them well below a limit, none above a second one.

use crate::repository::Repository;
use crate::source::Function;
use crate::violation::Violation;

/// The limits for one sort of thing.
struct Limits {
    /// What is measured, in the plural.
    what: &'static str,
    /// 95 of 100 take at most so many lines.
    p95_lines: usize,
    /// None takes more lines.
    stop_lines: usize,
    /// What to do with one that is too long.
    remedy: &'static str,
}

const FILES: Limits = Limits {
    what: "files",
    p95_lines: 600,
    stop_lines: 800,
    remedy: "split it by subject (a pure table may say `// house_rules: table` near its top)",
};
const FUNCTIONS: Limits = Limits {
    what: "functions",
    p95_lines: 40,
    stop_lines: 100,
    remedy: "split it into steps that have names",
};

/// One measured file or function.
struct Measured<'a> {
    path: &'a str,
    line: usize,
    name: &'a str,
    lines: usize,
}

/// The distribution of one sort of thing, for the report.
#[derive(Debug, PartialEq, Eq)]
pub struct Figures {
    /// What is measured, in the plural.
    pub what: &'static str,
    /// How many were measured.
    pub count: usize,
    /// Half take at most so many lines.
    pub median_lines: usize,
    /// 95 of 100 take at most so many lines.
    pub p95_lines: usize,
    /// The longest takes so many lines.
    pub longest_lines: usize,
    /// Where the longest is.
    pub longest: String,
}

/// Checks both sorts against their limits.
pub fn check(repository: &Repository) -> Vec<Violation> {
    let mut violations = judge(&FILES, files(repository));
    violations.extend(judge(&FUNCTIONS, functions(repository)));
    violations
}

/// The distribution of both sorts.
pub fn figures(repository: &Repository) -> Vec<Figures> {
    [(&FILES, files(repository)), (&FUNCTIONS, functions(repository))]
        .into_iter()
        .map(|(limits, measured)| Figures {
            what: limits.what,
            count: measured.len(),
            median_lines: percentile(&measured, 50).map_or(0, |found| found.lines),
            p95_lines: percentile(&measured, 95).map_or(0, |found| found.lines),
            longest_lines: measured.last().map_or(0, |found| found.lines),
            longest: measured
                .last()
                .map(|found| format!("{}:{}", found.path, found.line))
                .unwrap_or_default(),
        })
        .collect()
}

/// All files that are not tables, the shortest first.
fn files(repository: &Repository) -> Vec<Measured<'_>> {
    let sources = repository.sources.iter().filter(|source| !source.is_table);
    sorted(sources.map(|source| Measured {
        path: &source.path,
        line: 1,
        name: "this file",
        lines: source.counted_lines,
    }))
}

/// All functions that are not in tests or tables, the shortest first.
fn functions(repository: &Repository) -> Vec<Measured<'_>> {
    let sources = repository.sources.iter().filter(|source| !source.is_table && !source.is_test);
    sorted(sources.flat_map(|source| {
        let counted = source.functions.iter().filter(|function| !function.is_test);
        counted.map(|function: &Function| Measured {
            path: &source.path,
            line: function.line,
            name: &function.name,
            lines: function.length_lines,
        })
    }))
}

fn sorted<'a>(measured: impl Iterator<Item = Measured<'a>>) -> Vec<Measured<'a>> {
    let mut measured: Vec<_> = measured.collect();
    measured.sort_by_key(|found| found.lines);
    measured
}

/// The nearest-rank percentile of what is sorted by length.
fn percentile<'a, 'b>(measured: &'a [Measured<'b>], percent: usize) -> Option<&'a Measured<'b>> {
    let rank = (measured.len() * percent).div_ceil(100);
    measured.get(rank.saturating_sub(1))
}

fn judge(limits: &Limits, measured: Vec<Measured<'_>>) -> Vec<Violation> {
    let too_long = measured.iter().filter(|found| found.lines > limits.stop_lines);
    let mut violations: Vec<Violation> = too_long
        .map(|found| {
            let message = format!(
                "{} takes {} lines, more than {}; {}",
                found.name, found.lines, limits.stop_lines, limits.remedy
            );
            Violation::new(found.path, found.line, message)
        })
        .collect();
    if let Some(found) = percentile(&measured, 95).filter(|found| found.lines > limits.p95_lines) {
        let longer = measured.iter().filter(|other| other.lines > limits.p95_lines).count();
        let message = format!(
            "the 95th percentile of {} is {} lines, more than {}; {longer} of {} are longer, this one among them: {}",
            limits.what,
            found.lines,
            limits.p95_lines,
            measured.len(),
            limits.remedy,
        );
        violations.push(Violation::new(found.path, found.line, message));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, lines: usize) -> String {
        format!("fn {name}() {{{}}}\n", "\n".repeat(lines - 1))
    }

    fn check_texts(texts: &[String]) -> Vec<(String, usize)> {
        let paths: Vec<String> = (0..texts.len()).map(|index| format!("a/{index}.rs")).collect();
        let files: Vec<(&str, &str)> =
            paths.iter().zip(texts).map(|(path, text)| (path.as_str(), text.as_str())).collect();
        check(&Repository::of(&files)).into_iter().map(|found| (found.path, found.line)).collect()
    }

    #[test]
    fn a_file_at_the_limit_passes_when_most_are_short_and_one_above_does_not() {
        let mut texts: Vec<String> = (0..30).map(|_| "//! A.\n".to_owned()).collect();
        texts[7] = "\n".repeat(800);
        assert!(check_texts(&texts).is_empty());
        texts[7] = "\n".repeat(801);
        assert_eq!(check_texts(&texts), [("a/7.rs".to_owned(), 1)]);
    }

    #[test]
    fn too_many_long_files_break_the_percentile() {
        let mut texts: Vec<String> = (0..20).map(|_| "\n".repeat(600)).collect();
        assert!(check_texts(&texts).is_empty());
        texts[3] = "\n".repeat(601);
        assert!(check_texts(&texts).is_empty());
        texts[4] = "\n".repeat(601);
        assert_eq!(check_texts(&texts).len(), 1);
    }

    #[test]
    fn a_function_at_the_limit_passes_when_most_are_short_and_one_above_does_not() {
        let short: String = (0..30).map(|index| function(&format!("f{index}"), 1)).collect();
        assert!(check_texts(&[short.clone() + &function("long", 100)]).is_empty());
        assert_eq!(check_texts(&[short + &function("long", 101)]), [("a/0.rs".to_owned(), 31)]);
    }

    #[test]
    fn too_many_long_functions_break_the_percentile() {
        assert!(check_texts(&[function("f", 40)]).is_empty());
        assert_eq!(check_texts(&[function("f", 41)]).len(), 1);
    }

    #[test]
    fn tests_and_tables_do_not_count() {
        assert!(check_texts(&[format!("#[test]\n{}", function("f", 200))]).is_empty());
        assert!(check_texts(&[format!("#[cfg(test)]\nmod tests {{\n{}}}", function("f", 200))]).is_empty());
        assert!(check_texts(&[format!("// house_rules: table\n{}", function("f", 900))]).is_empty());
        assert!(check_texts(&[format!("const A: &[u8] = &[{}];\n", "1,\n".repeat(900))]).is_empty());
    }

    #[test]
    fn the_report_says_where_the_longest_is() {
        let repository = Repository::of(&[("a.rs", "//! A.\nfn f() {\n}\n"), ("b.rs", "//! B.\n")]);
        let seen: Vec<_> = figures(&repository)
            .into_iter()
            .map(|found| (found.what, found.count, found.median_lines, found.p95_lines, found.longest))
            .collect();
        assert_eq!(
            seen,
            [("files", 2, 1, 3, "a.rs:1".to_owned()), ("functions", 1, 2, 2, "a.rs:2".to_owned())]
        );
    }
}
