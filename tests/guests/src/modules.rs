//! A kernel's modules: found by name, unpacked, and put into the order in which they must be loaded.
//!
//! Kernel packages bring no list of dependencies (their installation makes it), but each module names its own, in the
//! section `.modinfo`.

use object::{Object, ObjectSection};
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// A module, ready for the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// The object file.
    pub object: Vec<u8>,
}

/// The modules named, and those that they need, in loading order. A module that the kernel does not have is left out: it is built in,
/// or the check that needs it fails.
pub fn in_order(folder: &Path, wanted: &[&str]) -> Result<Vec<Module>, String> {
    let mut files = BTreeMap::new();
    list(folder, &mut files)?;
    let mut loaded = BTreeSet::new();
    let mut order = Vec::new();
    for name in wanted {
        load(name, &files, &mut loaded, &mut order)?;
    }
    Ok(order)
}

/// Every module's file, by name.
fn list(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), String> {
    let explain = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(explain)? {
        let entry = entry.map_err(explain)?;
        let path = entry.path();
        if entry.file_type().map_err(explain)?.is_dir() {
            list(&path, files)?;
        } else if let Some(name) = path.file_name().and_then(|name| name.to_str()).and_then(module_name) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `virtio-rng.ko.xz` is called `virtio_rng`.
fn module_name(file: &str) -> Option<String> {
    let name = file.strip_suffix(".ko").or_else(|| file.strip_suffix(".ko.xz"))?;
    Some(name.replace('-', "_"))
}

fn load(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    loaded: &mut BTreeSet<String>,
    order: &mut Vec<Module>,
) -> Result<(), String> {
    let name = name.replace('-', "_");
    let Some(path) = files.get(&name).filter(|_| loaded.insert(name.clone())) else { return Ok(()) };
    let object = unpack(path).map_err(|error| format!("{}: {error}", path.display()))?;
    for needed in dependencies(&object)? {
        load(&needed, files, loaded, order)?;
    }
    order.push(Module { name, object });
    Ok(())
}

fn unpack(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    if path.extension().is_none_or(|extension| extension != "xz") {
        return Ok(bytes);
    }
    let mut object = Vec::new();
    lzma_rs::xz_decompress(&mut BufReader::new(&*bytes), &mut object).map_err(|error| error.to_string())?;
    Ok(object)
}

/// The names after `depends=` in `.modinfo`, a list of zero-terminated words.
fn dependencies(object: &[u8]) -> Result<Vec<String>, String> {
    let file = object::File::parse(object).map_err(|error| error.to_string())?;
    let section = file.section_by_name(".modinfo").ok_or("no section .modinfo")?;
    let words = section.data().map_err(|error| error.to_string())?;
    let depends = words.split(|byte| *byte == 0).find_map(|word| word.strip_prefix(b"depends="));
    let text = String::from_utf8_lossy(depends.unwrap_or_default()).into_owned();
    Ok(text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_like_its_file_with_underscores() {
        assert_eq!(module_name("virtio-rng.ko.xz").as_deref(), Some("virtio_rng"));
        assert_eq!(module_name("tsm.ko").as_deref(), Some("tsm"));
        assert_eq!(module_name("modules.order"), None);
    }
}
