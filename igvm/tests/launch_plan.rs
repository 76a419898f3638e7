//! The launch as QEMU and KVM do it: order, contents, refusals, and what hostile files do.

mod synthetic_elf;

use igvm::build::{BuildOptions, GuestSource, build};
use igvm::file::{FileError, FixedHeaderError, HeaderError, ImageFile, ParameterKind};
use igvm::launch::{HostParameters, LaunchError, LaunchPlan, ParameterError, VmsaError, Warning};
use igvm::layout::RegionOptions;
use igvm_defs::{
    IGVM_VHS_PARAMETER, IGVM_VHS_PARAMETER_INSERT, IGVM_VHS_SUPPORTED_PLATFORM, IgvmPageDataFlags,
    IgvmPageDataType, IgvmPlatformType,
};
use igvm_file::snp_defs::SevVmsa;
use igvm_file::{IgvmDirectiveHeader, IgvmFile, IgvmInitializationHeader, IgvmPlatformHeader, IgvmRevision};
use proptest::prelude::*;
use snp_abi::igvm_parameters::MemoryMapEntry;
use snp_abi::launch::PageType;
use snp_abi::policy::GuestPolicy;
use snp_abi::vmsa::{SevFeatures, Vmsa};
use zerocopy::{FromZeros, IntoBytes};

const VMSA_ADDRESS: u64 = 0xFFFF_FFFF_F000;

fn image() -> Vec<u8> {
    let (stage2, kernel) = (synthetic_elf::stage2(0x0800_0000), synthetic_elf::kernel());
    let region = RegionOptions { base: 0x0800_0000, size: 0x0100_0000, with_madt: true, log_level: 3 };
    let policy = GuestPolicy::DEFAULT;
    build(&BuildOptions { stage2: &stage2, kernel: &kernel, guest: GuestSource::None, region, policy })
        .unwrap()
}

fn platform(mask: u32, platform_type: IgvmPlatformType) -> IgvmPlatformHeader {
    IgvmPlatformHeader::SupportedPlatform(IGVM_VHS_SUPPORTED_PLATFORM {
        compatibility_mask: mask,
        highest_vtl: 0,
        platform_type,
        platform_version: 1,
        shared_gpa_boundary: 0,
    })
}

fn file(directives: Vec<IgvmDirectiveHeader>) -> Vec<u8> {
    let policy = IgvmInitializationHeader::GuestPolicy { policy: 0x30000, compatibility_mask: 1 };
    let platforms = vec![platform(1, IgvmPlatformType::SEV_SNP)];
    let file = IgvmFile::new(IgvmRevision::V1, platforms, vec![policy], directives).unwrap();
    let mut bytes = Vec::new();
    file.serialize(&mut bytes).unwrap();
    bytes
}

fn page(gpa: u64, content: Option<u8>) -> IgvmDirectiveHeader {
    IgvmDirectiveHeader::PageData {
        gpa,
        compatibility_mask: 1,
        flags: IgvmPageDataFlags::new(),
        data_type: IgvmPageDataType::NORMAL,
        data: content.map_or(Vec::new(), |fill| vec![fill; 4096]),
    }
}

fn area(index: u32, gpa: u64) -> [IgvmDirectiveHeader; 2] {
    [
        IgvmDirectiveHeader::ParameterArea {
            number_of_bytes: 0x2000,
            parameter_area_index: index,
            initial_data: Vec::new(),
        },
        IgvmDirectiveHeader::ParameterInsert(IGVM_VHS_PARAMETER_INSERT {
            gpa,
            compatibility_mask: 1,
            parameter_area_index: index,
        }),
    ]
}

fn vmsa_with(vp_index: u16, gpa: u64, change: fn(&mut Vmsa)) -> IgvmDirectiveHeader {
    let mut vmsa = Vmsa::protected_mode_start(0x1000, SevFeatures::SNP_ACTIVE);
    change(&mut vmsa);
    let mut context = Box::new(SevVmsa::new_zeroed());
    context.as_mut_bytes().copy_from_slice(vmsa.as_bytes());
    IgvmDirectiveHeader::SnpVpContext { gpa, compatibility_mask: 1, vp_index, vmsa: context }
}

fn vmsa() -> IgvmDirectiveHeader {
    vmsa_with(0, VMSA_ADDRESS, |_| {})
}

fn addresses(plan: &LaunchPlan) -> Vec<u64> {
    plan.pages.iter().map(|page| page.address).collect()
}

#[test]
fn pages_without_data_are_measured_as_pages_of_zeros() {
    let plan = LaunchPlan::of_bytes(&file(vec![page(0x1000, None), vmsa()])).unwrap();
    assert_eq!(plan.pages[0].page_type, PageType::Normal);
    assert_eq!(plan.pages[0].content, Box::new([0; 4096]));
}

#[test]
fn an_insert_overtakes_the_run_that_is_kept_back() {
    let mut directives = vec![page(0x1000, Some(1)), page(0x2000, Some(2))];
    directives.extend(area(0, 0x8000));
    directives.extend([page(0x3000, Some(3)), vmsa()]);
    let plan = LaunchPlan::of_bytes(&file(directives)).unwrap();
    // The area (two pages) first; the page behind the insert is not the run's neighbour in the file any more.
    assert_eq!(addresses(&plan), [0x8000, 0x9000, 0x1000, 0x2000, 0x3000]);
    assert!(matches!(plan.warnings[..], [Warning::InsertAfterPages(place)] if place.index == 5));
}

#[test]
fn required_memory_empties_the_pages_that_were_queued_before_it() {
    let required = IgvmDirectiveHeader::RequiredMemory {
        gpa: 0x1000,
        compatibility_mask: 1,
        number_of_bytes: 0x9000,
        vtl2_protectable: false,
    };
    let mut directives = vec![page(0x1000, Some(1)), page(0x5000, Some(2))];
    directives.extend(area(0, 0x8000));
    directives.extend([required, page(0x6000, Some(3)), vmsa()]);
    let plan = LaunchPlan::of_bytes(&file(directives)).unwrap();
    let content = |address| plan.pages.iter().find(|page| page.address == address).unwrap().content[0];
    // The second run was kept back, so that QEMU had not copied it yet.
    assert_eq!([content(0x1000), content(0x5000), content(0x6000)], [0, 2, 3]);
    assert!(plan.parameters.is_empty());
    let warned = |warning: &Warning| matches!(warning, Warning::MemoryAfterPages(place) if place.index == 6);
    assert!(plan.warnings.iter().any(warned), "{:?}", plan.warnings);
}

#[test]
fn a_run_that_ended_before_the_insert_is_not_overtaken() {
    let mut directives = vec![page(0x1000, Some(1)), page(0x5000, Some(2))];
    directives.extend(area(0, 0x8000));
    directives.push(vmsa());
    let plan = LaunchPlan::of_bytes(&file(directives)).unwrap();
    assert_eq!(addresses(&plan), [0x1000, 0x8000, 0x9000, 0x5000]);
}

#[test]
fn pages_with_and_without_data_are_separate_runs() {
    let mut directives = vec![page(0x1000, Some(1)), page(0x2000, None)];
    directives.extend(area(0, 0x8000));
    directives.push(vmsa());
    let plan = LaunchPlan::of_bytes(&file(directives)).unwrap();
    assert_eq!(addresses(&plan), [0x1000, 0x8000, 0x9000, 0x2000]);
}

#[test]
fn headers_of_other_platforms_are_left_out() {
    let mut other = page(0x7000, Some(9));
    *other.compatibility_mask_mut().unwrap() = 2;
    let directives = vec![page(0x1000, Some(1)), other, vmsa()];
    let policy = IgvmInitializationHeader::GuestPolicy { policy: 0x30000, compatibility_mask: 1 };
    let platforms = vec![platform(1, IgvmPlatformType::SEV_SNP), platform(2, IgvmPlatformType::NATIVE)];
    let file = IgvmFile::new(IgvmRevision::V1, platforms, vec![policy], directives).unwrap();
    let mut bytes = Vec::new();
    file.serialize(&mut bytes).unwrap();
    assert_eq!(addresses(&LaunchPlan::of_bytes(&bytes).unwrap()), [0x1000]);
}

#[test]
fn a_vmsa_before_pages_is_measured_last_and_warned_of() {
    let first = LaunchPlan::of_bytes(&file(vec![vmsa(), page(0x1000, Some(1))])).unwrap();
    let last = LaunchPlan::of_bytes(&file(vec![page(0x1000, Some(1)), vmsa()])).unwrap();
    assert_eq!(first.digest(1, 0), last.digest(1, 0));
    assert!(matches!(first.warnings[..], [Warning::VmsaNotLast(_)]));
    assert!(last.warnings.is_empty());
}

#[test]
fn each_vcpu_adds_its_vmsa_to_the_digest() {
    let one_given = LaunchPlan::of_bytes(&file(vec![page(0x1000, Some(1)), vmsa()])).unwrap();
    assert_ne!(one_given.digest(1, 0), one_given.digest(2, 0));
    assert_ne!(one_given.digest(2, 1), one_given.digest(2, 2));
    assert_eq!(one_given.digest(1, 1), one_given.digest(1, 2));
    assert_eq!(one_given.vmsa(1, 0x0080_0F12).rdx, 0x0080_0F12);
    assert_eq!(one_given.vmsa(0, 0x0080_0F12).rip, 0x1000);
}

#[test]
fn what_qemu_refuses_is_refused_with_its_place() {
    let refusal = |directives| LaunchPlan::of_bytes(&file(directives)).err().unwrap();
    assert!(matches!(
        refusal(vec![page(0x1000, None), page(0x1000, None), vmsa()]),
        LaunchError::SecondPage(place, 0x1000) if place.index == 3
    ));
    assert!(matches!(refusal(vec![page(0x1000, Some(1))]), LaunchError::NoBootVmsa));
    assert!(matches!(
        refusal(vec![vmsa_with(0, 0x1000, |_| {})]),
        LaunchError::Vmsa(_, VmsaError::Address(0x1000))
    ));
    assert!(matches!(
        refusal(vec![vmsa_with(0, VMSA_ADDRESS, |vmsa| vmsa.lstar = 1)]),
        LaunchError::Vmsa(_, VmsaError::Unsupported)
    ));
    assert!(matches!(refusal(vec![vmsa(), vmsa()]), LaunchError::Vmsa(_, VmsaError::SecondContext)));
    let command_line = IGVM_VHS_PARAMETER { parameter_area_index: 0, byte_offset: 0 };
    let [declaration, insert] = area(0, 0x8000);
    assert!(matches!(
        refusal(vec![declaration, IgvmDirectiveHeader::CommandLine(command_line), insert, vmsa()]),
        LaunchError::HeaderType(place, _) if (place.index, place.kind) == (3, 0x30E)
    ));
    let mut shared = page(0x1000, None);
    if let IgvmDirectiveHeader::PageData { flags, .. } = &mut shared {
        flags.set_shared(true);
    }
    assert!(matches!(refusal(vec![shared, vmsa()]), LaunchError::PageFlags(_)));
    let outside = IGVM_VHS_PARAMETER { parameter_area_index: 0, byte_offset: 0x1FFE };
    let [declaration, insert] = area(0, 0x8000);
    assert!(matches!(
        refusal(vec![declaration, IgvmDirectiveHeader::VpCount(outside), insert, vmsa()]),
        LaunchError::ParameterOffset(_)
    ));
}

#[test]
fn registers_that_kvm_overrides_are_warned_of() {
    let warning = |change| {
        let plan = LaunchPlan::of_bytes(&file(vec![vmsa_with(0, VMSA_ADDRESS, change)])).unwrap();
        plan.warnings
    };
    assert!(matches!(warning(|vmsa| vmsa.cr0 = 0x8000_0031)[..], [Warning::Cr0(_, 0x8000_0031)]));
    assert!(matches!(warning(|vmsa| vmsa.efer = 0)[..], [Warning::ForcedBits(_)]));
    assert!(matches!(warning(|vmsa| vmsa.cr4 = 0)[..], [Warning::ForcedBits(_)]));
}

#[test]
fn parameters_are_filled_as_a_loader_fills_them() {
    let mut plan = LaunchPlan::of_bytes(&image()).unwrap();
    let digest = plan.digest(1, 0);
    let map = [
        MemoryMapEntry { first_page: 0, page_count: 0xA0, kind: 0, flags: 0, reserved: 0 },
        MemoryMapEntry { first_page: 0x100, page_count: 0xFF00, kind: 0, flags: 0, reserved: 0 },
    ];
    let host = HostParameters { memory_map: &map, apic_ids: &[0, 1, 2], memory_is_shared: true };
    plan.fill(&host).unwrap();
    let content = |address: u64| &plan.pages.iter().find(|page| page.address == address).unwrap().content;
    assert_eq!(content(0x0800_6000)[..8], [3, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(content(0x0800_7000)[..48], *map.as_bytes());
    assert_eq!(content(0x0800_8000)[..4], *b"APIC");
    let madt = snp_abi::acpi::Madt::parse(&content(0x0800_8000)[..]).unwrap();
    assert_eq!(madt.apic_ids().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(plan.digest(1, 0), digest, "parameters are not measured");
    let too_many = vec![map[0]; 171];
    let host = HostParameters { memory_map: &too_many, ..host };
    assert_eq!(plan.fill(&host), Err(ParameterError::TooLarge(ParameterKind::MemoryMap)));
}

#[test]
fn a_parameter_may_cross_pages_of_its_area() {
    let crossing = IGVM_VHS_PARAMETER { parameter_area_index: 0, byte_offset: 0xFFE };
    let [declaration, insert] = area(0, 0x8000);
    let directives = vec![declaration, IgvmDirectiveHeader::VpCount(crossing), insert, vmsa()];
    let mut plan = LaunchPlan::of_bytes(&file(directives)).unwrap();
    let ids: Vec<u32> = (0..0x10203).collect();
    plan.fill(&HostParameters { memory_map: &[], apic_ids: &ids, memory_is_shared: false }).unwrap();
    assert_eq!(plan.pages[0].content[0xFFE..], [3, 2]);
    assert_eq!(plan.pages[1].content[..2], [1, 0]);
}

/// The image with some bytes changed and its checksum made right again.
fn patched(changes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = image();
    for (offset, new) in changes {
        bytes[*offset..offset + new.len()].copy_from_slice(new);
    }
    seal(&mut bytes);
    bytes
}

fn seal(bytes: &mut [u8]) {
    bytes[20..24].fill(0);
    let word = |bytes: &[u8], offset: usize| {
        u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap()) as usize
    };
    let (start, size) = (word(bytes, 8), word(bytes, 12));
    let Some(headers) = bytes.get(start..start.saturating_add(size)) else { return };
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&bytes[..24]);
    checksum.update(headers);
    let checksum = checksum.finalize();
    bytes[20..24].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn malformed_files_are_refused_with_header_and_offset() {
    // Header 0 (platform) at 0x18 has 24 bytes, header 1 (policy) 24, header 2 (required memory) 32, and so on.
    let refusal = |changes: &[(usize, &[u8])]| ImageFile::parse(&patched(changes)).err().unwrap();
    let unaligned = refusal(&[(0x50, &[1])]);
    let FileError::Header(place, HeaderError::Unaligned(0x0800_0001)) = unaligned else {
        panic!("{unaligned:?}")
    };
    assert_eq!((place.index, place.offset, place.kind), (2, 0x48, 0x305));
    assert_eq!(
        unaligned.to_string(),
        "header 2 at offset 0x48 (required memory, type 0x305): address 0x8000001 is not a multiple of 4096"
    );
    let kind = |error: FileError| match error {
        FileError::Header(place, error) => (place.index, error),
        error @ FileError::FixedHeader(_) => panic!("{error}"),
    };
    assert_eq!(kind(refusal(&[(0x1C, &[17])])), (0, HeaderError::Length { expected: 16, actual: 17 }));
    assert_eq!(kind(refusal(&[(0x1C, &[0xFF; 4])])), (0, HeaderError::Truncated));
    assert_eq!(kind(refusal(&[(0x30, &[1, 2])])), (1, HeaderError::UnknownRange));
    assert_eq!(kind(refusal(&[(0x48, &1_u32.to_le_bytes())])), (2, HeaderError::SectionOrder));
    let length = HeaderError::Length { expected: 16, actual: 24 };
    assert_eq!(kind(refusal(&[(0x48, &0x101_u32.to_le_bytes())])), (2, length));
}

#[test]
fn broken_fixed_headers_are_refused() {
    let fixed = |bytes: &[u8]| match ImageFile::parse(bytes) {
        Err(FileError::FixedHeader(error)) => error,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("accepted"),
    };
    assert_eq!(fixed(b"IGVM"), FixedHeaderError::TooShort(4));
    assert_eq!(fixed(&patched(&[(0, b"X")])), FixedHeaderError::Magic);
    assert_eq!(fixed(&patched(&[(4, &[9])])), FixedHeaderError::Version(9));
    let image = image();
    let short = &image[..image.len() - 1];
    let announced = image.len() as u32;
    assert_eq!(fixed(short), FixedHeaderError::FileSize { announced, actual: short.len() });
    assert!(matches!(fixed(&patched(&[(12, &[0xFF; 4])])), FixedHeaderError::VariableHeaders { .. }));
    let mut flipped = image.clone();
    flipped[0x50] ^= 1;
    assert!(matches!(fixed(&flipped), FixedHeaderError::Checksum { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn hostile_headers_end_in_a_plan_or_an_error(
        changes in prop::collection::vec((0..0x400_usize, any::<u8>()), 1..6),
        from_small_set in any::<bool>(),
    ) {
        let mut bytes = image();
        for (offset, value) in changes {
            bytes[offset] = if from_small_set { value & 7 } else { value };
        }
        seal(&mut bytes);
        if let Ok(plan) = LaunchPlan::of_bytes(&bytes) {
            let _ = plan.digest(1, 0);
        }
        if let Ok(file) = ImageFile::parse(&bytes) {
            let _ = igvm::show::to_text(&file);
        }
    }
}
