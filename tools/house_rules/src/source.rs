//! One Rust source file, read once: its functions, tables, modules, crate attributes and tokens.

use crate::tokens::{self, Findings};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, Ident, ImplItemFn, Item, ItemFn, ItemImpl, ItemMod, ItemUse, Meta, Path, Signature,
    TraitItemFn, UseTree, Visibility,
};

/// The mark, in one of the first lines, that makes a whole file a table.
pub const TABLE_MARK: &str = "house_rules: table";

/// How many of a file's first lines may carry [`TABLE_MARK`].
const TABLE_MARK_LINES: usize = 30;

/// A function with a body.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of `fn`.
    pub line: usize,
    /// How many lines it takes, from `fn` to the closing brace.
    pub length_lines: usize,
    /// Whether it is part of tests: itself a test, or inside a `#[cfg(test)]` item.
    pub is_test: bool,
}

/// A `mod` item.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// The line of the name.
    pub line: usize,
    /// Whether its body is in another file.
    pub is_in_other_file: bool,
    /// Whether it exists in test builds only.
    pub is_test: bool,
}

/// A path that names something elsewhere: of a `use`, or in code.
#[derive(Clone, Debug)]
pub struct Import {
    /// Its names, from `crate`, `super`, `self` or a module on.
    pub segments: Vec<String>,
    /// The modules of this file that it stands in, outermost first.
    pub inside: Vec<String>,
    /// The line of the path.
    pub line: usize,
    /// Whether it is a `pub use`, which gives the name to others.
    pub is_passed_on: bool,
    /// The name that it is given here, where that is not the last of its own.
    pub renamed: Option<String>,
}

impl Import {
    /// Whether it gives `name` to others.
    pub fn passes_on(&self, name: &str) -> bool {
        let own = self.renamed.as_deref().or(self.segments.last().map(String::as_str));
        self.is_passed_on && own == Some(name)
    }
}

/// A Rust source file.
#[derive(Debug)]
pub struct Source {
    /// The file, from the root of the repository, with `/` between folders.
    pub path: String,
    /// Its text.
    pub text: String,
    /// How many lines it has outside of `const` and `static` items.
    pub counted_lines: usize,
    /// Whether [`TABLE_MARK`] makes it a table.
    pub is_table: bool,
    /// Whether the whole file exists in test builds only; set by the repository, which sees its parent.
    pub is_test: bool,
    /// All functions with bodies, in the order of the file.
    pub functions: Vec<Function>,
    /// All modules, in the order of the file.
    pub modules: Vec<Module>,
    /// All paths of two names or more, tests apart.
    pub imports: Vec<Import>,
    /// The paths of the file's own `#![..]` attributes without arguments, such as `no_std`.
    pub inner_words: Vec<String>,
    /// What the tokens say.
    pub findings: Findings,
}

impl Source {
    /// Reads `text`, the content of the file at `path`.
    ///
    /// Errors: the line and message of the first thing that is not Rust.
    pub fn parse(path: &str, text: &str) -> Result<Self, (usize, String)> {
        let file = syn::parse_file(text).map_err(|error| (error.span().start().line, error.to_string()))?;
        let stream = text.parse().map_err(|error: proc_macro2::LexError| (1, error.to_string()))?;
        let mut outline = Outline::default();
        outline.visit_file(&file);
        let first_lines = text.lines().take(TABLE_MARK_LINES);
        Ok(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            counted_lines: text.lines().count().saturating_sub(outline.table_lines),
            is_table: first_lines
                .into_iter()
                .any(|line| line.trim_start().starts_with("//") && line.contains(TABLE_MARK)),
            is_test: false,
            functions: outline.functions,
            modules: outline.modules,
            imports: outline.imports,
            inner_words: file.attrs.iter().filter_map(word_of).collect(),
            findings: tokens::read(stream),
        })
    }

    /// Whether the file's own attributes set `unsafe_code` to `level`.
    pub fn sets_unsafe_code_to(&self, level: &str) -> bool {
        self.findings.lint_levels.iter().any(|found| found.inner && found.level == level)
    }
}

fn word_of(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::Path(path) => path.get_ident().map(ToString::to_string),
        Meta::List(_) | Meta::NameValue(_) => None,
    }
}

/// Whether one of the attributes makes its item part of tests only.
fn marks_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_test = attribute.path().segments.last().is_some_and(|segment| segment.ident == "test");
        let is_cfg_test = attribute.path().is_ident("cfg")
            && attribute.parse_args::<Meta>().is_ok_and(|condition| requires_test(&condition));
        is_test || is_cfg_test
    })
}

/// Whether a `cfg` condition holds in test builds only: `test`, or `all(..)` with it.
fn requires_test(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => {
            let parser = syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated;
            list.parse_args_with(parser).is_ok_and(|conditions| conditions.iter().any(requires_test))
        }
        Meta::List(_) | Meta::NameValue(_) => false,
    }
}

/// Collects what the rules ask about while walking the syntax tree.
#[derive(Default)]
struct Outline {
    functions: Vec<Function>,
    modules: Vec<Module>,
    imports: Vec<Import>,
    inside: Vec<String>,
    table_lines: usize,
    in_test: bool,
}

impl Outline {
    fn function(&mut self, attributes: &[Attribute], signature: &Signature, body: &Block) {
        let line = signature.fn_token.span.start().line;
        let end_line = body.brace_token.span.close().end().line;
        self.functions.push(Function {
            name: signature.ident.to_string(),
            line,
            length_lines: (end_line + 1).saturating_sub(line),
            is_test: self.in_test || marks_test(attributes),
        });
    }

    fn module(&mut self, name: &Ident, is_in_other_file: bool, is_test: bool) {
        let line = name.span().start().line;
        self.modules.push(Module { name: name.to_string(), line, is_in_other_file, is_test });
    }

    fn import(&mut self, segments: Vec<String>, line: usize, is_passed_on: bool, renamed: Option<String>) {
        if !self.in_test && !segments.is_empty() {
            let inside = self.inside.clone();
            self.imports.push(Import { segments, inside, line, is_passed_on, renamed });
        }
    }

    /// Takes a tree of `use` apart into its paths.
    fn tree(&mut self, tree: &UseTree, mut before: Vec<String>, is_passed_on: bool) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(&path.tree, before, is_passed_on);
            }
            UseTree::Name(name) => {
                // `use a::{self}` names `a`.
                if name.ident != "self" {
                    before.push(name.ident.to_string());
                }
                self.import(before, name.ident.span().start().line, is_passed_on, None);
            }
            UseTree::Rename(rename) => {
                before.push(rename.ident.to_string());
                let line = rename.ident.span().start().line;
                self.import(before, line, is_passed_on, Some(rename.rename.to_string()));
            }
            UseTree::Glob(glob) => self.import(before, glob.star_token.span.start().line, false, None),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(tree, before.clone(), is_passed_on);
                }
            }
        }
    }

    /// Walks further with `in_test` set where `attributes` say so.
    fn within(&mut self, attributes: &[Attribute], walk: impl FnOnce(&mut Self)) {
        let before = self.in_test;
        self.in_test |= marks_test(attributes);
        walk(self);
        self.in_test = before;
    }
}

impl<'ast> Visit<'ast> for Outline {
    fn visit_item(&mut self, item: &'ast Item) {
        if matches!(item, Item::Const(_) | Item::Static(_)) {
            let span = item.span();
            self.table_lines += (span.end().line + 1).saturating_sub(span.start().line);
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module(&item.ident, item.content.is_none(), self.in_test || marks_test(&item.attrs));
        self.inside.push(item.ident.to_string());
        self.within(&item.attrs, |outline| visit::visit_item_mod(outline, item));
        self.inside.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_passed_on = !matches!(item.vis, Visibility::Inherited);
        self.within(&item.attrs, |outline| outline.tree(&item.tree, Vec::new(), is_passed_on));
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.segments.len() > 1 {
            let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.import(segments, path.span().start().line, false, None);
        }
        visit::visit_path(self, path);
    }

    // A visibility names a module that may look in, and imports nothing from it.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        self.within(&item.attrs, |outline| visit::visit_item_impl(outline, item));
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
        self.within(&item.attrs, |outline| visit::visit_item_fn(outline, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
        self.within(&item.attrs, |outline| visit::visit_impl_item_fn(outline, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(&item.attrs, &item.sig, body);
        }
        self.within(&item.attrs, |outline| visit::visit_trait_item_fn(outline, item));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Source {
        Source::parse("a.rs", text).expect("test sources are Rust")
    }

    #[test]
    fn a_function_is_measured_from_fn_to_its_closing_brace() {
        let source = parse(
            "/// Doc.\n#[inline]\npub fn f(\n a: u8,\n) {\n}\ntrait T {\n fn g(&self);\n fn h(&self) {}\n}",
        );
        let seen: Vec<_> =
            source.functions.iter().map(|f| (f.name.as_str(), f.line, f.length_lines)).collect();
        assert_eq!(seen, [("f", 3, 4), ("h", 9, 1)]);
    }

    #[test]
    fn functions_of_tests_are_marked() {
        let text = "fn f() {}\n#[test]\nfn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\n#[cfg(all(test, unix))]\nimpl X { fn c() {} }\n#[cfg(any(test, unix))]\nfn g() {}\n#[cfg(not(test))]\nfn h() {}";
        let tests: Vec<_> = parse(text).functions.into_iter().filter(|f| f.is_test).map(|f| f.name).collect();
        assert_eq!(tests, ["a", "b", "c"]);
    }

    #[test]
    fn lines_of_constant_tables_do_not_count() {
        assert_eq!(parse("//! A.\n/// T.\nconst T: &[u8] = &[\n 1,\n 2,\n];\nfn f() {}\n").counted_lines, 2);
    }

    #[test]
    fn the_table_mark_is_a_comment_near_the_top() {
        assert!(parse("//! A.\n//! house_rules: table\n").is_table);
        assert!(!parse("//! A.\nconst A: &str = \"house_rules: table\";\n").is_table);
        assert!(!parse(&format!("//! A.\n{}// house_rules: table\n", "\n".repeat(40))).is_table);
    }

    #[test]
    fn crate_attributes_are_read_from_the_top_of_the_file() {
        let source = parse("//! A.\n#![no_std]\n#![forbid(unsafe_code)]\nmod inner { #![allow(dead_code)] }");
        assert_eq!(source.inner_words, ["no_std"]);
        assert!(source.sets_unsafe_code_to("forbid"));
        assert!(!source.sets_unsafe_code_to("deny"));
    }

    #[test]
    fn what_is_not_rust_is_refused_with_its_line() {
        assert_eq!(Source::parse("a.rs", "fn f() {}\nfn {").map(|_| ()).map_err(|(line, _)| line), Err(2));
    }
}
