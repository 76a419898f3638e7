//! Programs, kernels and firmware that anybody may have written: an image or an error with a reason, never a panic.

mod synthetic_elf;

use igvm::build::{BuildOptions, GuestSource, build};
use igvm::file::ImageFile;
use igvm::guest::LinuxSource;
use igvm::launch::LaunchPlan;
use igvm::layout::RegionOptions;
use igvm::ovmf::{FirmwareLayout, kind};
use proptest::prelude::*;
use snp_abi::policy::GuestPolicy;

/// The volume ends with the reset vector; the table ends this far before the end of the file.
const BEHIND_TABLE: usize = 0x20;
const FOOTER: [u8; 16] =
    [0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d];
const SEV_METADATA: [u8; 16] =
    [0x66, 0x65, 0x88, 0xdc, 0x4a, 0x98, 0x98, 0x47, 0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc];

/// A small firmware volume as edk2 lays it out: sections of secrets, CPUID, calling area and memory.
fn firmware() -> Vec<u8> {
    let mut file = vec![0; 0x2000];
    let sections = [
        (0x80_0000u32, 0x9000u32, 1u32),
        (0x80_d000, 0x1000, 2),
        (0x80_e000, 0x1000, 3),
        (0x80_f000, 0x1000, 4),
    ];
    let list = 0x1000;
    let mut bytes = b"ASEV".to_vec();
    bytes.extend((16 + 12 * sections.len() as u32).to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend((sections.len() as u32).to_le_bytes());
    for (start, length, kind) in sections {
        [start, length, kind].iter().for_each(|word| bytes.extend(word.to_le_bytes()));
    }
    file[list..list + bytes.len()].copy_from_slice(&bytes);
    // Backwards from the table's end: GUID, length, data of each entry; the footer first.
    let mut table = Vec::new();
    table.extend((file.len() as u32 - list as u32).to_le_bytes());
    table.extend(22u16.to_le_bytes());
    table.extend(SEV_METADATA);
    table.extend(40u16.to_le_bytes());
    table.extend(FOOTER);
    let end = file.len() - BEHIND_TABLE;
    file[end - table.len()..end].copy_from_slice(&table);
    file
}

fn options<'a>(stage2: &'a [u8], kernel: &'a [u8], guest: GuestSource<'a>) -> BuildOptions<'a> {
    let region = RegionOptions { base: 0x0800_0000, size: 0x0100_0000, with_madt: true, log_level: 3 };
    BuildOptions { stage2, kernel, guest, region, policy: GuestPolicy::DEFAULT }
}

/// Changes bytes in place; positions wrap.
fn change(file: &mut [u8], changes: &[(usize, u8)]) {
    for (place, byte) in changes {
        let place = place % file.len();
        file[place] = *byte;
    }
}

#[test]
fn the_synthetic_firmware_is_one() {
    let layout = FirmwareLayout::parse(&firmware()).unwrap();
    assert_eq!(layout.base, 0xffff_e000);
    assert_eq!(layout.section(kind::CALLING_AREA).unwrap().start, 0x80_f000);
    let (stage2, kernel, file) = (synthetic_elf::stage2(0x0800_0000), synthetic_elf::kernel(), firmware());
    let image = build(&options(&stage2, &kernel, GuestSource::Firmware(&file, None))).unwrap();
    LaunchPlan::of_bytes(&image).unwrap();
}

#[test]
fn malformed_firmware_metadata_is_refused_with_table_and_offset() {
    // Offsets in `firmware()`: the list at 0x1000, its sections from 0x1010; the table's footer at 0x1fd0, the entry of the list
    // ends at 0x1fce with its length at 0x1fbc.
    let rows: &[(usize, &[u8], &str)] = &[
        (0x1fd0, &[0], "offset 0x1fd0: no GUIDed table ends here"),
        (0x1fce, &[0xff, 0xff], "GUIDed table, offset 0x1fce: length 0xffff does not fit"),
        (0x1fce, &[17, 0], "GUIDed table, offset 0x1fce: length 0x11 does not fit"),
        (0x1fce, &[20, 0], "GUIDed table, offset 0x1fce: length 0x2 does not fit"),
        (0x1fbc, &[3, 0], "GUIDed table, offset 0x1fbc: length 0x3 does not fit"),
        (0x1fbc, &[23, 0], "GUIDed table, offset 0x1fbc: length 0x17 does not fit"),
        (0x1fbe, &[0], "GUIDed table: no SEV metadata"),
        (0x1fb8, &[0xff; 4], "SEV metadata, offset 0x2000: no list of version 1"),
        (0x1fb8, &[8, 0, 0, 0], "SEV metadata, offset 0x1ff8: no list of version 1"),
        (0x1000, b"a", "SEV metadata, offset 0x1000: no list of version 1"),
        (0x1004, &[0], "SEV metadata, offset 0x1000: no list of version 1"),
        (0x1008, &[2], "SEV metadata, offset 0x1000: no list of version 1"),
        (0x100c, &[0xff; 4], "SEV metadata, offset 0x1000: no list of version 1"),
        (0x1010, &[1], "SEV metadata, offset 0x1010: section 0x800001+0x9000 is not made of pages"),
        (0x1020, &[0, 0x20], "SEV metadata, offset 0x101c: section 0x80d000+0x2000 is not made of pages"),
        (0x1018, &[9], "SEV metadata, offset 0x1010: section kind 9 is unknown"),
        (0x1024, &[1], "SEV metadata: 0 sections for the secrets page instead of one"),
        (0x1024, &[3], "SEV metadata: 0 sections for the secrets page instead of one"),
    ];
    for (offset, bytes, message) in rows {
        let mut file = firmware();
        file[*offset..*offset + bytes.len()].copy_from_slice(bytes);
        let error = FirmwareLayout::parse(&file).unwrap_err().to_string();
        assert!(error.contains(message), "byte {offset:#x}: '{error}' instead of '{message}'");
    }
    for length in [0, 0x1fff, (16 << 20) + 0x1000] {
        let error = FirmwareLayout::parse(&vec![0; length]).unwrap_err().to_string();
        assert!(error.contains("a multiple of 4096 up to 16 MiB is needed"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_judged_as_an_image(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(ImageFile::parse(&bytes).is_err());
        prop_assert!(LaunchPlan::of_bytes(&bytes).is_err());
    }

    #[test]
    fn a_damaged_program_ends_in_an_image_or_an_error(
        damage in prop::collection::vec((0..0x200usize, any::<u8>()), 1..8),
        which in 0..3u8,
    ) {
        let (mut stage2, mut kernel) = (synthetic_elf::stage2(0x0800_0000), synthetic_elf::kernel());
        let mut guest = synthetic_elf::guest();
        change([&mut stage2, &mut kernel, &mut guest][usize::from(which)], &damage);
        if let Ok(image) = build(&options(&stage2, &kernel, GuestSource::Elf(&guest))) {
            // What was built is well formed, whatever went in.
            prop_assert!(LaunchPlan::of_bytes(&image).is_ok());
        }
    }

    #[test]
    fn damaged_firmware_ends_in_an_image_or_an_error(
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        in_table in prop::collection::vec((0x1f80..0x1fe0usize, any::<u8>()), 0..4),
        in_list in prop::collection::vec((0x1000..0x1040usize, any::<u8>()), 0..4),
    ) {
        let mut file = firmware();
        [damage, in_table, in_list].iter().for_each(|changes| change(&mut file, changes));
        let (stage2, kernel) = (synthetic_elf::stage2(0x0800_0000), synthetic_elf::kernel());
        if let Ok(image) = build(&options(&stage2, &kernel, GuestSource::Firmware(&file, None))) {
            prop_assert!(LaunchPlan::of_bytes(&image).is_ok());
        }
    }

    #[test]
    fn any_bytes_are_judged_as_firmware_and_kernel(
        bytes in prop::collection::vec(any::<u8>(), 0x1000..0x1001),
        pages in 1..3usize,
        command_line in ".{0,40}",
    ) {
        let file = bytes.repeat(pages);
        let _ = FirmwareLayout::parse(&file);
        let (stage2, kernel) = (synthetic_elf::stage2(0x0800_0000), synthetic_elf::kernel());
        let linux = LinuxSource { kernel: &file, initrd: &bytes, command_line: &command_line, embed: true };
        let _ = build(&options(&stage2, &kernel, GuestSource::Linux(linux)));
    }
}
