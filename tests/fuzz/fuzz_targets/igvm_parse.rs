//! IGVM files that anybody may have written: reading, planning the launch, describing, measuring.
#![no_main]

use igvm::file::ImageFile;
use igvm::launch::LaunchPlan;
use igvm::ovmf::FirmwareLayout;
use igvm::{elf, show};
use libfuzzer_sys::fuzz_target;

/// magic, version, offset and size of the variable headers, size of the file, checksum.
const FIXED_HEADER_BYTES: usize = 24;

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    read(&with_fixed_header(bytes));
    let _ = elf::LoadedElf::load(bytes, elf::Placement::Physical);
    let _ = elf::LoadedElf::load(bytes, elf::Placement::Virtual(0x10_0000));
    let _ = FirmwareLayout::parse(bytes);
});

fn read(bytes: &[u8]) {
    let Ok(file) = ImageFile::parse(bytes) else { return };
    let _ = show::to_text(&file);
    if let Ok(plan) = LaunchPlan::of_file(&file) {
        let _ = plan.digest(1, 0);
    }
}

/// The bytes as variable headers and data behind a fixed header that fits, so that the checksum is no wall.
fn with_fixed_header(bytes: &[u8]) -> Vec<u8> {
    let (size, body) = match bytes {
        [high, low, body @ ..] => (usize::from(u16::from_be_bytes([*high, *low])) % (body.len() + 1), body),
        _ => return Vec::new(),
    };
    let mut file = b"IGVM".to_vec();
    for number in [1, FIXED_HEADER_BYTES, size, FIXED_HEADER_BYTES + body.len(), 0] {
        file.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }
    let headers = &body[..size];
    let checksum = {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&file);
        hasher.update(headers);
        hasher.finalize()
    };
    file[20..24].copy_from_slice(&checksum.to_le_bytes());
    file.extend_from_slice(body);
    file
}
