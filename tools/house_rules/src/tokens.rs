//! Reads the tokens of a source file: where `unsafe` stands as code, which lints are switched, which macros are called.
//!
//! Tokens, and not the syntax tree, because the tree does not look into macros; and not the text, because words in
//! comments and strings are not code.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What an `unsafe` introduces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsafeKind {
    /// `unsafe { .. }`.
    Block,
    /// `unsafe impl`.
    Implementation,
    /// `unsafe extern { .. }`.
    ExternBlock,
    /// `unsafe trait`.
    Trait,
    /// `unsafe fn` with a name, where its contract is stated.
    Function,
    /// `unsafe fn` whose contract is stated elsewhere: by the trait that it implements, or by its `extern` block.
    ContractElsewhere,
    /// `#[unsafe(..)]`.
    Attribute,
    /// A function pointer type, or a fragment inside a macro's pattern: claims nothing by itself.
    Mention,
}

/// One `unsafe` in the code.
#[derive(Clone, Debug)]
pub struct UnsafeUse {
    /// What it introduces.
    pub kind: UnsafeKind,
    /// The line of the word.
    pub line: usize,
    /// The first line of the statement, arm, field or item around it.
    pub statement_line: usize,
    /// Whether the item's doc comment has a `# Safety` section.
    pub has_safety_section: bool,
}

/// An attribute that sets the level of the `unsafe_code` lint.
#[derive(Clone, Debug)]
pub struct LintLevel {
    /// `allow`, `expect`, `warn`, `deny` or `forbid`.
    pub level: String,
    /// Whether it is written `#![..]`.
    pub inner: bool,
    /// The line of the attribute.
    pub line: usize,
    /// The last line of the item that it stands on.
    pub end_line: usize,
}

/// A macro call: its name and line.
#[derive(Clone, Debug)]
pub struct MacroCall {
    /// The last segment of the macro's path.
    pub name: String,
    /// The line of the name.
    pub line: usize,
}

/// What the tokens of one file say.
#[derive(Debug, Default)]
pub struct Findings {
    /// Every `unsafe`, in the order of the file.
    pub unsafe_uses: Vec<UnsafeUse>,
    /// Every attribute that sets the level of `unsafe_code`.
    pub lint_levels: Vec<LintLevel>,
    /// Every macro call.
    pub macro_calls: Vec<MacroCall>,
}

/// Reads all tokens of a file.
pub fn read(stream: TokenStream) -> Findings {
    let mut findings = Findings::default();
    let surroundings = Surroundings { statement_line: None, contract_elsewhere: false, in_attribute: false };
    read_group(stream, Delimiter::Brace, surroundings, &mut findings);
    findings
}

/// What is known about the place of a group of tokens.
#[derive(Clone, Copy)]
struct Surroundings {
    /// First line of the statement around a group that is not a block; none in a block, which has its own.
    statement_line: Option<usize>,
    /// Whether the group is the body of a trait implementation or of an `extern` block.
    contract_elsewhere: bool,
    /// Whether the group is the inside of `#[..]`.
    in_attribute: bool,
}

fn read_group(stream: TokenStream, delimiter: Delimiter, around: Surroundings, findings: &mut Findings) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut item_start = 0; // after the last `;` or block
    let mut part_start = 0; // after the last `,` too: a match arm, a field
    for (index, token) in tokens.iter().enumerate() {
        let item = tokens.get(item_start..index).unwrap_or_default();
        let after = tokens.get(index + 1..).unwrap_or_default();
        let line = line_of(token);
        let statement_line = match around.statement_line {
            Some(line) if delimiter != Delimiter::Brace => line,
            _ => tokens.get(part_start).map_or(line, line_of),
        };
        match token {
            TokenTree::Ident(word) if word == "unsafe" => {
                let kind = classify(after, around);
                let has_safety_section = documents_safety(item);
                findings.unsafe_uses.push(UnsafeUse { kind, line, statement_line, has_safety_section });
            }
            TokenTree::Ident(word) if is_macro_call(after) => {
                findings.macro_calls.push(MacroCall { name: word.to_string(), line });
            }
            TokenTree::Group(group) => {
                let in_attribute = is_attribute(item, group);
                if in_attribute {
                    let end_line = tokens.get(index..).map_or(line, end_of_item);
                    read_lint_levels(group, is_inner(item), end_line, findings);
                }
                let block = group.delimiter() == Delimiter::Brace;
                let inside = Surroundings {
                    statement_line: (!block).then_some(statement_line),
                    contract_elsewhere: block && states_no_contract(item),
                    in_attribute,
                };
                read_group(group.stream(), group.delimiter(), inside, findings);
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        if delimiter == Delimiter::Brace {
            if ends_item(token) {
                item_start = index + 1;
                part_start = index + 1;
            } else if is_punct(token, ',') {
                part_start = index + 1;
            }
        }
    }
}

fn line_of(token: &TokenTree) -> usize {
    token.span().start().line
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn ends_item(token: &TokenTree) -> bool {
    is_punct(token, ';') || matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

/// The last line of the item that begins with these tokens.
fn end_of_item(tokens: &[TokenTree]) -> usize {
    let last = tokens.iter().find(|token| ends_item(token)).or_else(|| tokens.last());
    last.map_or(0, |token| token.span().end().line)
}

fn classify(after: &[TokenTree], around: Surroundings) -> UnsafeKind {
    let named_function = || {
        let position = after.iter().position(|token| is_word(token, "fn"));
        position
            .and_then(|position| after.get(position + 1))
            .is_some_and(|next| matches!(next, TokenTree::Ident(_)) || is_punct(next, '$'))
    };
    match after {
        [TokenTree::Group(group), ..]
            if around.in_attribute && group.delimiter() == Delimiter::Parenthesis =>
        {
            UnsafeKind::Attribute
        }
        [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Brace => UnsafeKind::Block,
        [first, ..] if is_word(first, "impl") => UnsafeKind::Implementation,
        [first, ..] if is_word(first, "trait") || is_word(first, "auto") => UnsafeKind::Trait,
        [first, rest @ ..] if is_word(first, "extern") && opens_block(rest) => UnsafeKind::ExternBlock,
        [first, ..] if (is_word(first, "fn") || is_word(first, "extern")) && named_function() => {
            if around.contract_elsewhere { UnsafeKind::ContractElsewhere } else { UnsafeKind::Function }
        }
        _ => UnsafeKind::Mention,
    }
}

/// Whether a block follows `extern`, with or without the name of an ABI between.
fn opens_block(after_extern: &[TokenTree]) -> bool {
    let is_block =
        |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
    match after_extern {
        [TokenTree::Literal(_), second, ..] => is_block(second),
        [first, ..] => is_block(first),
        [] => false,
    }
}

/// Whether the body after these tokens holds functions whose contract others state.
fn states_no_contract(item: &[TokenTree]) -> bool {
    let is_foreign =
        item.iter().any(|token| is_word(token, "extern")) && !item.iter().any(|token| is_word(token, "fn"));
    let mut words = item.iter().skip_while(|token| !is_word(token, "impl")).peekable();
    let mut for_a_type = false;
    while let Some(token) = words.next() {
        // `for<'a>` is a bound, `for Type` is the implementation of a trait.
        let bound = words.peek().is_some_and(|next| is_punct(next, '<'));
        for_a_type |= is_word(token, "for") && !bound;
    }
    is_foreign || for_a_type
}

fn documents_safety(item: &[TokenTree]) -> bool {
    item.iter().any(|token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
            let mut inside = group.stream().into_iter();
            inside.next().is_some_and(|first| is_word(&first, "doc"))
                && inside.any(|token| matches!(token, TokenTree::Literal(text) if text.to_string().contains("# Safety")))
        }
        _ => false,
    })
}

fn is_macro_call(after: &[TokenTree]) -> bool {
    matches!(after, [bang, TokenTree::Group(_), ..] if is_punct(bang, '!'))
}

fn is_attribute(before: &[TokenTree], group: &Group) -> bool {
    group.delimiter() == Delimiter::Bracket
        && match before {
            [.., hash, bang] if is_punct(bang, '!') => is_punct(hash, '#'),
            [.., hash] => is_punct(hash, '#'),
            [] => false,
        }
}

fn is_inner(before: &[TokenTree]) -> bool {
    before.last().is_some_and(|token| is_punct(token, '!'))
}

/// Finds `allow(unsafe_code)` and its like in an attribute, inside `cfg_attr` too.
fn read_lint_levels(group: &Group, inner: bool, end_line: usize, findings: &mut Findings) {
    let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    for pair in tokens.windows(2) {
        let [TokenTree::Ident(word), TokenTree::Group(arguments)] = pair else { continue };
        let level = word.to_string();
        let sets_level = ["allow", "deny", "expect", "forbid", "warn"].contains(&level.as_str());
        if sets_level && arguments.stream().into_iter().any(|token| is_word(&token, "unsafe_code")) {
            let line = word.span().start().line;
            findings.lint_levels.push(LintLevel { level, inner, line, end_line });
        } else {
            read_lint_levels(arguments, inner, end_line, findings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Findings {
        read(text.parse().expect("test sources are Rust"))
    }

    fn kinds(text: &str) -> Vec<UnsafeKind> {
        read_text(text).unsafe_uses.iter().map(|found| found.kind).collect()
    }

    #[test]
    fn the_word_in_comments_strings_and_other_words_is_not_code() {
        let text = "//! unsafe\n/// unsafe { }\n#[deny(unsafe_code)]\nfn f() -> &'static str { /* unsafe */ \"unsafe {}\" }";
        assert!(kinds(text).is_empty());
    }

    #[test]
    fn each_form_of_unsafe_is_told_apart() {
        assert_eq!(kinds("fn f() { unsafe { g() } }"), [UnsafeKind::Block]);
        assert_eq!(kinds("unsafe impl Sync for X {}"), [UnsafeKind::Implementation]);
        assert_eq!(kinds("pub unsafe fn f() {}"), [UnsafeKind::Function]);
        assert_eq!(kinds("pub unsafe extern \"C\" fn f() {}"), [UnsafeKind::Function]);
        assert_eq!(kinds("unsafe trait T {}"), [UnsafeKind::Trait]);
        assert_eq!(
            kinds("unsafe extern \"C\" { unsafe fn f(); }"),
            [UnsafeKind::ExternBlock, UnsafeKind::ContractElsewhere]
        );
        assert_eq!(kinds("#[unsafe(no_mangle)] fn f() {}"), [UnsafeKind::Attribute]);
        assert_eq!(kinds("type F = unsafe extern \"C\" fn(u8);"), [UnsafeKind::Mention]);
        assert_eq!(kinds("type F = unsafe fn(u8);"), [UnsafeKind::Mention]);
    }

    #[test]
    fn a_trait_implementation_states_no_contract_but_an_inherent_one_does() {
        let in_trait = "unsafe impl<A: for<'a> B<'a>> GlobalAlloc for X<A> { unsafe fn alloc() {} }";
        assert_eq!(kinds(in_trait), [UnsafeKind::Implementation, UnsafeKind::ContractElsewhere]);
        assert_eq!(kinds("impl<A: for<'a> B<'a>> X<A> { unsafe fn f() {} }"), [UnsafeKind::Function]);
    }

    #[test]
    fn unsafe_inside_a_macro_body_is_found() {
        let text = "macro_rules! m { ($n:ident) => { pub unsafe fn $n() { unsafe { g() } } } }";
        assert_eq!(kinds(text), [UnsafeKind::Function, UnsafeKind::Block]);
    }

    #[test]
    fn a_statement_begins_where_its_first_token_stands() {
        let text = "fn f() {\n g();\n let x = h(\n 1,\n unsafe { i() },\n );\n match x {\n A => 1,\n B =>\n unsafe { j() },\n }\n}";
        let lines: Vec<_> =
            read_text(text).unsafe_uses.iter().map(|found| (found.line, found.statement_line)).collect();
        assert_eq!(lines, [(5, 3), (10, 9)]);
    }

    #[test]
    fn a_safety_section_counts_for_its_own_function_only() {
        let text = "/// Does.\n///\n/// # Safety\n/// Mind.\n#[inline]\npub unsafe fn f() {}\n/// Does.\nunsafe fn g() {}";
        let documented: Vec<_> =
            read_text(text).unsafe_uses.iter().map(|found| found.has_safety_section).collect();
        assert_eq!(documented, [true, false]);
    }

    #[test]
    fn lint_levels_are_read_with_the_range_of_their_item() {
        let text = "#![deny(unsafe_code)]\n#[expect(unsafe_code, reason = \"entry\")]\n#[inline]\nfn f() {\n}\n#[cfg_attr(test, allow(unsafe_code))]\nfn g() {}";
        let levels = read_text(text).lint_levels;
        let seen: Vec<_> = levels
            .iter()
            .map(|level| (level.level.as_str(), level.inner, level.line, level.end_line))
            .collect();
        assert_eq!(seen, [("deny", true, 1, 5), ("expect", false, 2, 5), ("allow", false, 6, 7)]);
    }

    #[test]
    fn macro_calls_are_found_by_name_but_not_in_strings() {
        let calls = read_text("fn f() { core::todo!(); \"todo!()\"; a != (b) }").macro_calls;
        assert_eq!(calls.iter().map(|call| call.name.as_str()).collect::<Vec<_>>(), ["todo"]);
    }
}
