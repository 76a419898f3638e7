//! Guests that start, and guests that do not.

use crate::vm::{END, HOLE, MIB, REGION, REGION_END, View, Vm};
use boot_handoff::{BlobDigest, ElfGuest, Guest, GuestPages, GuestRecord, LinuxGuest, PageRange};
use guest_start::{
    CannotStart, FileError, GuestMemory, HostFile, HostFiles, MemoryRange, ReadyGuest, Surroundings, VmFacts,
};
use sha2::{Digest, Sha384};
use snp_abi::cpuid::CpuidPage;
use snp_abi::linux::SetupHeader;
use snp_abi::rmp::Vmpl;
use snp_abi::secrets::SecretsPage;
use std::collections::BTreeMap;
use svsm_protocol::{GuestAddress, PageState, Stopped};
use zerocopy::{FromZeros, IntoBytes};

/// Where the ELF guest's pages are.
pub const PAGES: u64 = 0x10_0000;
const PAGE: u64 = 0x1000;

pub fn record(guest: Guest<'_>) -> GuestRecord {
    GuestRecord::encode(guest)
}

pub fn elf() -> GuestRecord {
    let ranges = |start, pages| GuestPages::from_ranges(&[PageRange { start, pages }]).unwrap();
    record(Guest::Elf(&ElfGuest {
        entry: PAGES,
        pages: ranges(PAGES, 2),
        zeroed: ranges(PAGES + 2 * PAGE, 3),
    }))
}

/// The host's files, by name.
#[derive(Default)]
pub struct Files(BTreeMap<String, Vec<u8>>);

impl HostFiles for Files {
    fn find(&mut self, name: &str) -> Result<HostFile, FileError> {
        let found = self.0.iter().enumerate().find(|(_, (file, _))| *file == name);
        let (key, (_, contents)) = found.ok_or(FileError::NoFile)?;
        Ok(HostFile { key: key as u16, bytes: contents.len() as u32 })
    }

    fn read(&mut self, file: HostFile, each: &mut dyn FnMut(usize, &[u8])) -> Result<(), FileError> {
        let contents = self.0.values().nth(file.key.into()).unwrap();
        contents.chunks(4096).enumerate().for_each(|(number, part)| each(number * 4096, part));
        Ok(())
    }

    fn read_start(&mut self, file: HostFile, bytes: &mut [u8]) -> Result<(), FileError> {
        let contents = self.0.values().nth(file.key.into()).unwrap();
        let length = bytes.len().min(contents.len());
        bytes[..length].copy_from_slice(&contents[..length]);
        Ok(())
    }

    fn write(&mut self, _: HostFile, _: u32, _: &[u8]) -> Result<(), FileError> {
        Ok(())
    }
}

/// Prepares a guest in a VM.
pub fn prepare(
    vm: &Vm,
    stopped: &Stopped,
    record: &GuestRecord,
    files: &mut Files,
) -> Result<Option<ReadyGuest>, CannotStart> {
    let memory = [MemoryRange { start: 0, end: HOLE.start }, MemoryRange { start: HOLE.end, end: END }];
    let cpuid = CpuidPage::new_zeroed();
    let facts = VmFacts {
        memory: &memory,
        apic_ids: &crate::vm::APIC_IDS,
        region: MemoryRange { start: REGION, end: REGION_END },
        c_bit: 1 << 51,
        cpuid: &cpuid,
        sev_features: 1,
        vmpl: Vmpl::Vmpl2,
    };
    let mut surroundings = Surroundings {
        memory: GuestMemory { facts: &facts, svsm: &vm.svsm, stopped, machine: &mut View::new(vm, 0) },
        files: Some(files),
        secrets: &|_| SecretsPage::new_zeroed(),
    };
    guest_start::prepare(record, &mut surroundings)
}

/// A VM in which the ELF guest's pages were launched.
pub fn launched() -> (Vm, Stopped) {
    let (vm, stopped) = Vm::without_guest();
    vm.lock().launch(PAGES);
    vm.lock().launch(PAGES + PAGE);
    (vm, stopped)
}

fn state(vm: &Vm, page: u64) -> PageState {
    vm.svsm.ledger.state(GuestAddress(page))
}

#[test]
fn an_elf_guest_gets_its_pages_and_the_boot_area_and_no_more() {
    let (vm, stopped) = launched();
    let ready = prepare(&vm, &stopped, &elf(), &mut Files::default()).unwrap().unwrap();
    assert_eq!((ready.vmsa.rip, ready.vmsa.vmpl), (PAGES, 2));
    let granted = (0..END).step_by(0x1000).filter(|page| state(&vm, *page) == PageState::Guest).count();
    assert_eq!(granted, 5 + 15);
    assert_eq!(state(&vm, ready.calling_area), PageState::CallingArea);
    assert!((REGION - 16 * PAGE..REGION).contains(&ready.calling_area));
    crate::invariants::check(&vm);
}

#[test]
fn an_image_without_a_guest_starts_none() {
    let (vm, stopped) = launched();
    assert!(prepare(&vm, &stopped, &record(Guest::None), &mut Files::default()).unwrap().is_none());
}

#[test]
fn pages_that_overlap_the_firmware_or_no_memory_start_no_guest() {
    for start in [REGION, REGION - 2 * PAGE, HOLE.start, END, 1 << 52] {
        let (vm, stopped) = launched();
        let ranges = GuestPages::from_ranges(&[PageRange { start, pages: 4 }]).unwrap();
        let guest = ElfGuest { entry: start, pages: GuestPages::from_ranges(&[]).unwrap(), zeroed: ranges };
        let refused = prepare(&vm, &stopped, &record(Guest::Elf(&guest)), &mut Files::default());
        assert!(matches!(refused, Err(CannotStart::Memory)), "{start:#x} {refused:?}");
        assert!(vm.lock().model.take_violations().is_empty());
    }
}

/// A kernel of two setup sectors and some pages.
fn kernel() -> Vec<u8> {
    let mut image = vec![0; 0x3000];
    let mut header = SetupHeader::new_zeroed();
    header.setup_sectors = 1;
    header.boot_flag = 0xaa55.into();
    header.magic = 0x5372_6448.into();
    header.version = 0x020f.into();
    header.load_flags = 1;
    header.extended_load_flags = 1.into();
    header.kernel_alignment = 0x10_0000.into();
    header.preferred_address = (6 * MIB).into();
    header.initial_size = 0x4_0000.into();
    header.initrd_maximum_address = 0x7fff_ffff.into();
    header.command_line_size = 2047.into();
    header.system_size = ((0x3000u32 - 1024) / 16).into();
    let at = snp_abi::linux::SETUP_HEADER_OFFSET;
    image[at..at + size_of::<SetupHeader>()].copy_from_slice(header.as_bytes());
    image[1024..].fill(0x90);
    image
}

fn digest(bytes: &[u8]) -> BlobDigest {
    BlobDigest { length: bytes.len() as u64, sha384: Sha384::digest(bytes).into(), embedded_at: 0 }
}

fn linux() -> (GuestRecord, Files) {
    let (kernel, initrd, line) = (kernel(), vec![0x5a; 0x1800], b"console=ttyS0".to_vec());
    let guest = LinuxGuest { kernel: digest(&kernel), initrd: digest(&initrd), command_line: digest(&line) };
    let files = [("kernel", kernel), ("initrd", initrd), ("cmdline", line)];
    let files = files.map(|(name, contents)| (format!("opt/org.vouchsafe/{name}"), contents));
    (record(Guest::Linux(&guest)), Files(files.into()))
}

#[test]
fn a_linux_guest_gets_all_memory_and_the_files_that_the_image_names() {
    let (vm, stopped) = Vm::without_guest();
    let (record, mut files) = linux();
    let ready = prepare(&vm, &stopped, &record, &mut files).unwrap().unwrap();
    assert_eq!(ready.vmsa.rip, 6 * MIB + 0x200, "its 64-bit entry");
    for page in (0..END).step_by(0x1000) {
        let expected = match page {
            _ if HOLE.contains(&page) => PageState::Absent,
            REGION..REGION_END => PageState::Own,
            _ if page == ready.calling_area => PageState::CallingArea,
            _ => PageState::Guest,
        };
        assert_eq!(state(&vm, page), expected, "{page:#x}");
    }
    let mut first = [0; 8];
    assert!(model::Contents::read(&vm.lock().memory, 6 * MIB, &mut first));
    assert_eq!(first, [0x90; 8], "the kernel lies at its preferred address");
    crate::invariants::check(&vm);
}

#[test]
fn a_file_that_is_not_the_measured_one_starts_no_guest() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 7] = [
        ("kernel", |file| file[0x2fff] ^= 1),
        ("kernel", |file| file[0x1f1] ^= 1),
        ("kernel", |file| file.truncate(0x2000)),
        ("initrd", |file| file[0] ^= 1),
        ("initrd", |file| file.push(0)),
        ("cmdline", |file| file[0] ^= 1),
        ("cmdline", Vec::clear),
    ];
    for (name, change) in changes {
        let (vm, stopped) = Vm::without_guest();
        let (record, mut files) = linux();
        change(files.0.get_mut(&format!("opt/org.vouchsafe/{name}")).unwrap());
        let refused = prepare(&vm, &stopped, &record, &mut files);
        assert!(matches!(refused, Err(CannotStart::Blob | CannotStart::Image)), "{name}: {refused:?}");
        let (record, mut files) = linux();
        files.0.remove(&format!("opt/org.vouchsafe/{name}"));
        let (vm, stopped) = Vm::without_guest();
        let missing = prepare(&vm, &stopped, &record, &mut files);
        assert!(matches!(missing, Err(CannotStart::Blob)), "{name}: {missing:?}");
    }
}
