//! Names for addresses in messages, from the symbol tables of ELF files.

use object::{Object, ObjectSymbol, SymbolKind};
use std::path::PathBuf;

/// Symbols of all files, by address.
#[derive(Default)]
pub struct Symbols {
    functions: Vec<(u64, u64, String)>,
    /// Address of the words in which our firmware says where its page ledger is.
    pub ledger: Option<u64>,
}

/// Last part of their name.
const LEDGER: &str = "::LEDGER_PLACE";

impl Symbols {
    /// Reads the functions of ELF files.
    pub fn read(files: &[PathBuf]) -> Result<Self, (PathBuf, String)> {
        let mut functions = Vec::new();
        let mut ledger = None;
        for path in files {
            let fail = |error: String| (path.clone(), error);
            let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
            let file = object::File::parse(&*bytes).map_err(|error| fail(error.to_string()))?;
            let mut data = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Data);
            let found = data.find(|symbol| symbol.name().is_ok_and(|name| readable(name).ends_with(LEDGER)));
            ledger = ledger.or(found.map(|symbol| symbol.address()));
            let symbols =
                file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
            functions.extend(
                symbols.filter_map(|symbol| {
                    Some((symbol.address(), symbol.size(), readable(symbol.name().ok()?)))
                }),
            );
        }
        functions.sort_unstable();
        Ok(Self { functions, ledger })
    }

    /// Adds a name to each `rip 0x...` of a line.
    pub fn annotate(&self, line: &str) -> String {
        let mut out = String::new();
        let mut rest = line;
        while let Some(at) = rest.find("rip 0x") {
            let digits = &rest[at + 6..];
            let length = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
            out.push_str(&rest[..at + 6 + length]);
            if let Some(name) =
                u64::from_str_radix(&digits[..length], 16).ok().and_then(|address| self.name(address))
            {
                out.push_str(&format!(" ({name})"));
            }
            rest = &digits[length..];
        }
        out + rest
    }

    fn name(&self, address: u64) -> Option<String> {
        let index = self.functions.partition_point(|(start, ..)| *start <= address).checked_sub(1)?;
        let (start, size, name) = &self.functions[index];
        (address - start < *size).then(|| format!("{name}+{:#x}", address - start))
    }
}

/// The name as it stands in the source, without the compiler's hash.
fn readable(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_in_the_source() {
        assert_eq!(
            readable("_ZN13guest_payload5cases9forbidden3run17hd4ec4cec6005c0efE"),
            "guest_payload::cases::forbidden::run"
        );
        assert_eq!(readable("payload_entry"), "payload_entry");
    }

    #[test]
    fn addresses_inside_a_function_get_its_name() {
        let symbols = Symbols { functions: vec![(0x1000, 0x20, "main".into())], ledger: None };
        assert_eq!(symbols.annotate("vcpu 0 rip 0x1004: x"), "vcpu 0 rip 0x1004 (main+0x4): x");
        assert_eq!(symbols.annotate("rip 0x1020, rip 0xfff"), "rip 0x1020, rip 0xfff");
    }
}
