//! What a host that lies hands over instead of the blobs that the image was built for.

use crate::rows::Deceit;
use guests::boot::Blobs;
use std::io;
use std::path::{Path, PathBuf};

/// A byte of the kernel's setup header that no reader depends on: part of the version's address.
const HEADER_BYTE: usize = 0x20e;

/// Changes the blobs; files of their own go to `folder`.
pub fn apply(deceit: Deceit, blobs: &mut Blobs, folder: &Path) -> io::Result<()> {
    let changed = |path: &Path, change: &dyn Fn(&mut Vec<u8>)| -> io::Result<PathBuf> {
        let mut bytes = std::fs::read(path)?;
        change(&mut bytes);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let target = folder.join(format!("{name}.{deceit:?}"));
        std::fs::write(&target, bytes)?;
        Ok(target)
    };
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 1;
    let flip_last = |bytes: &mut Vec<u8>| {
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
    };
    match deceit {
        // The blob is right; the machine plays the host ([`options`]).
        Deceit::KernelChanging => {}
        Deceit::KernelMissing => blobs.kernel = None,
        Deceit::KernelChanged => blobs.kernel = change_kernel(blobs, |path| changed(path, &flip_last))?,
        Deceit::HeaderChanged => {
            blobs.kernel = change_kernel(blobs, |path| changed(path, &flip(HEADER_BYTE)))?
        }
        Deceit::InitrdLonger => blobs.initrd = changed(&blobs.initrd, &|bytes| bytes.push(0))?,
        Deceit::InitrdShorter => {
            blobs.initrd = changed(&blobs.initrd, &|bytes| {
                bytes.pop();
            })?;
        }
        Deceit::InitrdChanged => blobs.initrd = changed(&blobs.initrd, &flip_last)?,
        Deceit::CommandLineChanged => blobs.command_line = changed(&blobs.command_line, &flip_last)?,
    }
    Ok(())
}

/// What the machine has to do for a deceit.
pub fn options(deceit: Deceit) -> &'static [&'static str] {
    match deceit {
        Deceit::KernelChanging => &["--changing-file", "opt/org.vouchsafe/kernel"],
        _ => &[],
    }
}

fn change_kernel(
    blobs: &Blobs,
    change: impl FnOnce(&Path) -> io::Result<PathBuf>,
) -> io::Result<Option<PathBuf>> {
    blobs.kernel.as_deref().map(change).transpose()
}
