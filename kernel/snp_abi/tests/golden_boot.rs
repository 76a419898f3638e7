//! The guest's boot contract and the host's tables: Linux boot parameters, IGVM memory map, ACPI MADT.

use snp_abi::acpi::{InvalidMadt, Madt, write_madt};
use snp_abi::igvm_parameters::{
    InvalidMemoryMap, MAXIMUM_MEMORY_MAP_ENTRIES, MemoryKind, MemoryMapEntry, MemoryRange, memory_ranges,
};
use snp_abi::linux::{
    BootParameters, CcBlob, CcBlobSetupData, E820Entry, E820Kind, ExtendedLoadFlags, InvalidKernel,
    SetupHeader,
};
use zerocopy::{FromZeros, IntoBytes};

#[test]
fn the_cc_blob_is_linux_cc_blob_sev_info() {
    let blob = CcBlob::new(0x0080_D000, 0x0080_E000);
    let mut expected = b"AMDE".to_vec();
    expected.extend([1, 0, 0, 0]);
    expected.extend(0x0080_D000_u64.to_le_bytes());
    expected.extend([0, 0x10, 0, 0, 0, 0, 0, 0]);
    expected.extend(0x0080_E000_u64.to_le_bytes());
    expected.extend([0, 0x10, 0, 0, 0, 0, 0, 0]);
    assert_eq!(blob.as_bytes(), expected);
    let node = CcBlobSetupData::new(0x0009_0000);
    assert_eq!(node.as_bytes(), [0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 4, 0, 0, 0, 0, 0, 9, 0]);
}

#[test]
fn boot_parameters_carry_map_and_header() {
    let mut parameters = BootParameters::new_zeroed();
    parameters.e820_entries = 1;
    parameters.e820_table[0] = E820Entry::new(0x10_0000, 0x700_0000, E820Kind::Ram);
    parameters.setup_header.setup_data = 0x9_0000.into();
    let bytes = parameters.as_bytes();
    assert_eq!(bytes[0x2D0..0x2E4], [0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(bytes[0x250..0x258], [0, 0, 9, 0, 0, 0, 0, 0]);
}

/// The header fields of Debian's 7.2.13 amd64 kernel, in an otherwise empty file.
fn debian_kernel() -> Vec<u8> {
    let mut image = vec![0; 0x6000];
    image[0x1F1] = 39;
    image[0x1FE..0x200].copy_from_slice(&[0x55, 0xAA]);
    image[0x202..0x208].copy_from_slice(b"HdrS\x0F\x02");
    image[0x1F4..0x1F8].copy_from_slice(&(0x1000_u32 / 16).to_le_bytes());
    image[0x238..0x23C].copy_from_slice(&2047_u32.to_le_bytes());
    image[0x248..0x24C].copy_from_slice(&0x300_u32.to_le_bytes());
    image[0x24C..0x250].copy_from_slice(&0xD00_u32.to_le_bytes());
    image[0x230..0x234].copy_from_slice(&0x20_0000_u32.to_le_bytes());
    image[0x236] = 0x7F;
    image[0x258..0x260].copy_from_slice(&0x100_0000_u64.to_le_bytes());
    image[0x260..0x264].copy_from_slice(&0x03C4_E000_u32.to_le_bytes());
    image
}

#[test]
fn debians_kernel_header_is_read() {
    let header = SetupHeader::parse(&debian_kernel()).unwrap();
    assert_eq!(header.version.get(), 0x20F);
    assert_eq!(header.protected_mode_offset(), 40 * 512);
    assert_eq!(header.kernel_alignment.get(), 0x20_0000);
    assert_eq!(header.preferred_address.get(), 0x100_0000);
    assert_eq!(header.initial_size.get(), 0x03C4_E000);
    let flags = ExtendedLoadFlags::from_bits_truncate(header.extended_load_flags.get());
    assert!(flags.contains(ExtendedLoadFlags::KERNEL_64 | ExtendedLoadFlags::ABOVE_4G));
}

#[test]
fn files_that_are_no_64_bit_kernel_are_refused() {
    assert_eq!(SetupHeader::parse(&[]), Err(InvalidKernel::NotAKernel));
    assert_eq!(SetupHeader::parse(&[0; 0x26B]), Err(InvalidKernel::NotAKernel));
    let mut old = debian_kernel();
    old[0x206..0x208].copy_from_slice(&[0x0B, 0x02]);
    assert_eq!(SetupHeader::parse(&old), Err(InvalidKernel::ProtocolVersion(0x20B)));
    let mut only_32_bit = debian_kernel();
    only_32_bit[0x236] = 0x7E;
    assert_eq!(SetupHeader::parse(&only_32_bit), Err(InvalidKernel::No64BitEntry));
    assert_eq!(SetupHeader::parse(&debian_kernel()[..40 * 512]), Err(InvalidKernel::Truncated));
}

#[test]
fn a_kernel_of_which_any_part_is_missing_is_refused() {
    let whole = debian_kernel();
    assert!(SetupHeader::parse(&whole[..0x6000]).is_ok());
    // A byte of the protected-mode part, and the header still says so when only a page of the file is read.
    assert_eq!(SetupHeader::parse(&whole[..0x5FFF]), Err(InvalidKernel::Truncated));
    assert_eq!(SetupHeader::parse_start(&whole[..0x1000], 0x5FFF), Err(InvalidKernel::Truncated));
    assert!(SetupHeader::parse_start(&whole[..0x1000], 0x6000).is_ok());
    // The compressed kernel ends behind the protected-mode part.
    let mut longer = debian_kernel();
    longer[0x24C..0x250].copy_from_slice(&0xD01_u32.to_le_bytes());
    assert_eq!(SetupHeader::parse(&longer), Err(InvalidKernel::Truncated));
    // A signature behind the kernel is none of the loader's business.
    assert!(SetupHeader::parse(&[&whole[..], &[0; 100]].concat()).is_ok());
}

#[test]
fn a_command_line_may_be_as_long_as_the_kernel_says() {
    let header = SetupHeader::parse(&debian_kernel()).unwrap();
    assert!(header.takes_command_line(0) && header.takes_command_line(2047));
    assert!(!header.takes_command_line(2048) && !header.takes_command_line(u64::MAX));
}

#[test]
fn a_memory_map_ends_at_the_first_empty_entry() {
    let mut map = [MemoryMapEntry::new_zeroed(); MAXIMUM_MEMORY_MAP_ENTRIES];
    map[0].page_count = 0xA0;
    map[1] = MemoryMapEntry { first_page: 0xA0, page_count: 0x60, kind: 1, flags: 0, reserved: 0 };
    map[3].page_count = 1;
    let ranges: Vec<_> = memory_ranges(&map).collect();
    let memory = MemoryRange { start: 0, length: 0xA_0000, kind: Some(MemoryKind::Memory) };
    let reserved =
        MemoryRange { start: 0xA_0000, length: 0x6_0000, kind: Some(MemoryKind::PlatformReserved) };
    assert_eq!(ranges, [Ok(memory), Ok(reserved)]);
    assert_eq!(map[1].as_bytes()[..20], [0xA0, 0, 0, 0, 0, 0, 0, 0, 0x60, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
}

#[test]
fn a_memory_map_entry_beyond_the_address_space_is_an_error() {
    for (first_page, page_count) in [(u64::MAX, 2), (1 << 40, 1), (0, u64::MAX), ((1 << 40) - 1, 2)] {
        let entry = MemoryMapEntry { first_page, page_count, kind: 0, flags: 0, reserved: 0 };
        let ranges: Vec<_> = memory_ranges(&[entry]).collect();
        assert_eq!(ranges, [Err(InvalidMemoryMap(0))], "{first_page:#x} {page_count:#x}");
    }
}

/// A MADT by hand: header, one enabled and one disabled local APIC, an IO APIC, one x2APIC that can come online.
fn madt() -> Vec<u8> {
    let mut table = b"APIC".to_vec();
    table.extend([0; 40]);
    table.extend([0, 8, 0, 5, 1, 0, 0, 0]);
    table.extend([0, 8, 1, 6, 0, 0, 0, 0]);
    table.extend([1, 12, 0, 0, 0, 0, 0xC0, 0xFE, 0, 0, 0, 0]);
    table.extend([9, 16, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0]);
    table[4] = table.len() as u8;
    let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    table[9] = sum.wrapping_neg();
    table
}

#[test]
fn usable_processors_are_listed() {
    let table = madt();
    let ids: Vec<u32> = Madt::parse(&table).unwrap().apic_ids().collect();
    assert_eq!(ids, [5, 0x100]);
}

#[test]
fn hostile_madts_are_refused() {
    let good = madt();
    assert_eq!(Madt::parse(&good[..43]).err(), Some(InvalidMadt::Length));
    assert_eq!(Madt::parse(&good[..good.len() - 1]).err(), Some(InvalidMadt::Length));
    let patched = |changes: &[(usize, u8)]| {
        let mut table = madt();
        for (offset, byte) in changes {
            table[*offset] = *byte;
        }
        table[9] = 0;
        let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        table[9] = sum.wrapping_neg();
        Madt::parse(&table).err()
    };
    assert_eq!(patched(&[(0, b'X')]), Some(InvalidMadt::Signature));
    assert_eq!(patched(&[(45, 0)]), Some(InvalidMadt::Structure(44)));
    assert_eq!(patched(&[(45, 1)]), Some(InvalidMadt::Structure(44)));
    assert_eq!(patched(&[(45, 255)]), Some(InvalidMadt::Structure(44)));
    // A structure too short for its kind is skipped, not read beyond.
    assert_eq!(patched(&[(45, 4), (49, 4)]), None);
    let mut table = madt();
    table[50] ^= 1;
    assert_eq!(Madt::parse(&table).err(), Some(InvalidMadt::Checksum));
}

#[test]
fn a_written_madt_is_read_back() {
    let mut buffer = [0; 4096];
    let ids = [0, 1, 254, 255, 300];
    let table = write_madt(ids, &mut buffer).unwrap();
    assert_eq!(table.len(), 44 + 3 * 8 + 2 * 16);
    assert_eq!(Madt::parse(table).unwrap().apic_ids().collect::<Vec<_>>(), ids);
    assert_eq!(write_madt(0..4, &mut [0; 75]).err(), Some(InvalidMadt::BufferTooSmall));
}
