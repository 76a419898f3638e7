//! What is built: where things lie, what the record and the page tables say, and what is refused.

mod synthetic_elf;

use boot_handoff::{BOOT_STACK, DIRECT_WINDOW, Guest, Handoff, PageRange, permission};
use igvm::build::{BuildError, BuildOptions, GuestSource, build};
use igvm::elf::{ElfError, LoadedElf, Placement};
use igvm::file::{Body, ImageFile};
use igvm::launch::LaunchPlan;
use igvm::layout::{Layout, LayoutError, RegionOptions};
use igvm::page_tables::Access;
use proptest::prelude::*;
use snp_abi::launch::PageType;
use snp_abi::policy::GuestPolicy;
use synthetic_elf::{
    CONSTANT, DATA, FIXED, KERNEL_BASE, POSITION_INDEPENDENT, Segment, TEXT, guest, kernel, pattern, program,
    relocation, stage2,
};

const BASE: u64 = 0x0800_0000;

fn region() -> RegionOptions {
    RegionOptions { base: BASE, size: 0x0100_0000, with_madt: true, log_level: 3 }
}

fn options<'a>(stage2: &'a [u8], kernel: &'a [u8], guest: GuestSource<'a>) -> BuildOptions<'a> {
    BuildOptions { stage2, kernel, guest, region: region(), policy: GuestPolicy::DEFAULT }
}

fn image(with_guest: bool) -> Vec<u8> {
    let (stage2, kernel, guest) = (stage2(BASE), kernel(), guest());
    let source = if with_guest { GuestSource::Elf(&guest) } else { GuestSource::None };
    build(&options(&stage2, &kernel, source)).unwrap()
}

fn page_at(plan: &LaunchPlan, address: u64) -> &igvm::launch::LaunchPage {
    plan.pages.iter().find(|page| page.address == address).unwrap()
}

#[repr(align(4096))]
struct Page([u8; 4096]);

/// The record where the boot vCPU's ESI points.
fn record(plan: &LaunchPlan) -> (Page, u64) {
    let address = plan.vmsas[&0].rsi;
    (Page(*page_at(plan, address).content), address)
}

#[test]
fn equal_inputs_give_equal_bytes() {
    assert_eq!(image(true), image(true));
    assert_ne!(image(true), image(false));
}

#[test]
fn the_region_is_laid_out_as_the_record_says() {
    let image = image(true);
    let plan = LaunchPlan::of_bytes(&image).unwrap();
    let (page, handoff_page) = record(&plan);
    let handoff = Handoff::parse(&page.0).unwrap();
    assert_eq!(handoff.stage2, PageRange { start: BASE, pages: 4 });
    assert_eq!(handoff.cpuid_page, BASE + 0x4000);
    assert_eq!(handoff.secrets_page, BASE + 0x5000);
    assert_eq!(handoff.parameters_page, BASE + 0x6000);
    assert_eq!(handoff.memory_map_page, BASE + 0x7000);
    assert_eq!(handoff.madt_page, BASE + 0x8000);
    assert_eq!(handoff_page, BASE + 0x9000);
    assert_eq!(handoff.page_tables.start, BASE + 0xA000);
    assert_eq!(handoff.launched.start, BASE);
    assert_eq!(handoff.launched.end(), Some(handoff.stage2_validates.start));
    assert_eq!(handoff.region, PageRange { start: BASE, pages: 0x1000 });
    assert_eq!((handoff.log_level, handoff.kernel_entry), (3, KERNEL_BASE + 0x10));
    let launched: Vec<u64> = handoff.launched.pages_in_order().collect();
    for page in &launched {
        assert!(plan.pages.iter().any(|launched| launched.address == *page), "{page:#x} is not launched");
    }
    let in_region = plan.pages.iter().filter(|page| handoff.region.contains(page.address)).count();
    assert_eq!(in_region, launched.len());
}

trait PagesInOrder {
    fn pages_in_order(&self) -> impl Iterator<Item = u64>;
}

impl PagesInOrder for PageRange {
    fn pages_in_order(&self) -> impl Iterator<Item = u64> {
        (self.start..self.end().unwrap()).step_by(0x1000)
    }
}

#[test]
fn pages_are_launched_as_what_they_are() {
    let image = image(true);
    let plan = LaunchPlan::of_bytes(&image).unwrap();
    let (page, _) = record(&plan);
    let handoff = Handoff::parse(&page.0).unwrap();
    assert_eq!(page_at(&plan, handoff.cpuid_page).page_type, PageType::Cpuid);
    assert_eq!(page_at(&plan, handoff.secrets_page).page_type, PageType::Secrets);
    for parameters in [handoff.parameters_page, handoff.memory_map_page, handoff.madt_page] {
        assert_eq!(page_at(&plan, parameters).page_type, PageType::Unmeasured);
    }
    assert_eq!(page_at(&plan, BASE).content[..], pattern(0x1200, 1)[..0x1000]);
    // stage2's zeroed memory is launched, because stage2 cannot validate its own.
    assert_eq!(page_at(&plan, BASE + 0x3000).page_type, PageType::Normal);
    assert!(page_at(&plan, BASE + 0x3000).content.iter().all(|byte| *byte == 0));
}

#[test]
fn the_first_vcpu_enters_stage2_in_protected_mode_with_the_record_in_esi() {
    let image = image(false);
    let plan = LaunchPlan::of_bytes(&image).unwrap();
    let vmsa = &plan.vmsas[&0];
    assert_eq!((vmsa.rip, vmsa.cr0, vmsa.cr4, vmsa.efer), (BASE + 0x40, 0x31, 0x40, 0x1000));
    assert_eq!((vmsa.sev_features, vmsa.rsi), (1, BASE + 0x9000));
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    assert_eq!(plan.required_memory, [(BASE, 0x0100_0000)]);
}

#[test]
fn the_guests_launched_pages_are_in_the_record() {
    let image = image(true);
    let plan = LaunchPlan::of_bytes(&image).unwrap();
    let (page, _) = record(&plan);
    let Guest::Elf(guest) = Handoff::parse(&page.0).unwrap().guest.decode().unwrap() else { panic!() };
    assert_eq!(guest.entry, 0x10_0000);
    let text = PageRange { start: 0x10_0000, pages: 2 };
    let data = PageRange { start: 0x20_0000, pages: 1 };
    assert_eq!(guest.pages.ranges(), [text, data]);
    assert_eq!(page_at(&plan, 0x20_0000).content[..0x40], pattern(0x40, 7));
}

fn layout() -> Layout {
    let stage2 = LoadedElf::load(&stage2(BASE), Placement::Virtual(BASE)).unwrap();
    let kernel = LoadedElf::load(&kernel(), Placement::Virtual(0)).unwrap();
    Layout::new(&region(), &stage2, &kernel, igvm::guest::Payload::none().record).unwrap()
}

#[test]
fn the_kernel_is_mapped_with_its_own_permissions() {
    let layout = layout();
    let walk = |address| layout.page_tables.translate(address).unwrap();
    let (text, access) = walk(KERNEL_BASE + 0x10);
    assert_eq!(access, Access { write: false, execute: true });
    assert!(layout.handoff.launched.contains(text));
    assert_eq!(walk(KERNEL_BASE + 0x6000).1, Access::READ);
    let (data, access) = walk(KERNEL_BASE + 0x9008);
    assert_eq!(access, Access::READ_WRITE);
    let igvm::layout::RegionPage::Content(page) = &layout.pages[&(data & !0xFFF)] else { panic!() };
    assert_eq!(page[8..16], pattern(0x1100, 5)[8..16]);
    // The last pages of the data segment have no content: stage2 validates them.
    let (zeroed, access) = walk(KERNEL_BASE + 0xB000);
    assert_eq!(access, Access::READ_WRITE);
    assert!(layout.handoff.stage2_validates.contains(zeroed));
    assert!(layout.page_tables.translate(KERNEL_BASE + 0xF000).is_none());
}

#[test]
fn no_page_is_both_writable_and_executable_and_windows_never_execute() {
    let layout = layout();
    let handoff = &layout.handoff;
    for page in 0..handoff.region.pages {
        let physical = BASE + page * 0x1000;
        let (target, access) = layout.page_tables.translate(DIRECT_WINDOW + physical).unwrap();
        assert_eq!(target, physical);
        assert!(!access.execute);
        let constant = handoff
            .segments()
            .iter()
            .any(|run| run.permissions & permission::WRITE == 0 && run.physical.contains(physical));
        let read_only = constant || physical == layout.handoff_page || physical == handoff.cpuid_page;
        assert_eq!(access.write, !read_only, "{physical:#x}");
    }
    assert!(layout.page_tables.translate(DIRECT_WINDOW + BASE + handoff.region.pages * 0x1000).is_none());
    let (_, text) = layout.page_tables.translate(BASE).unwrap();
    assert_eq!(text, Access { write: false, execute: true });
    let (_, data) = layout.page_tables.translate(BASE + 0x2000).unwrap();
    assert_eq!(data, Access::READ_WRITE);
}

#[test]
fn the_page_below_the_boot_stack_is_not_mapped() {
    let layout = layout();
    let top = layout.handoff.kernel_stack_top;
    assert!(layout.page_tables.translate(top - 8).is_some());
    assert!(layout.page_tables.translate(BOOT_STACK).is_some());
    assert!(layout.page_tables.translate(BOOT_STACK - 1).is_none());
    assert!(layout.page_tables.translate(top).is_none());
}

#[test]
fn an_image_without_madt_has_no_madt_page() {
    let (stage2, kernel) = (stage2(BASE), kernel());
    let mut options = options(&stage2, &kernel, GuestSource::None);
    options.region.with_madt = false;
    let image = build(&options).unwrap();
    let file = ImageFile::parse(&image).unwrap();
    assert!(file.headers.iter().all(|header| header.place.kind != 0x309));
    let plan = LaunchPlan::of_bytes(&image).unwrap();
    assert_eq!(Handoff::parse(&record(&plan).0.0).unwrap().madt_page, 0);
}

#[test]
fn only_header_types_that_qemu_knows_are_written_and_the_vmsa_is_last() {
    let image = image(true);
    let file = ImageFile::parse(&image).unwrap();
    let first_page = file.headers.iter().position(|header| matches!(header.body, Body::PageData(..)));
    let last_insert = file.headers.iter().rposition(|header| matches!(header.body, Body::ParameterInsert(_)));
    assert!(last_insert < first_page);
    assert!(matches!(file.headers.last().unwrap().body, Body::VcpuContext(..)));
}

#[test]
fn a_position_independent_stage2_is_relocated_to_the_region() {
    let table = relocation(0x2008, 8, 0x1234);
    let file = program(
        POSITION_INDEPENDENT,
        0x80,
        &[
            Segment::load(TEXT, 0, pattern(0x100, 1)),
            Segment::load(CONSTANT, 0x1000, table.clone()),
            Segment::load(DATA, 0x2000, vec![0; 0x80]),
            Segment::dynamic(0x2010, 0x1000, table.len() as u64),
        ],
    );
    let loaded = LoadedElf::load(&file, Placement::Virtual(BASE)).unwrap();
    assert_eq!(loaded.entry, BASE + 0x80);
    let data = loaded.pages[&(BASE + 0x2000)].content.as_ref().unwrap();
    assert_eq!(data[8..16], (BASE + 0x1234).to_le_bytes());
    assert!(build(&options(&file, &kernel(), GuestSource::None)).is_ok());
}

#[test]
fn a_guest_is_placed_at_its_physical_addresses() {
    let text = Segment::load(TEXT, 0xFFFF_8000_0010_0000, pattern(0x10, 1)).at_physical(0x10_0000);
    let file = program(FIXED, 0xFFFF_8000_0010_0004, &[text]);
    let loaded = LoadedElf::load(&file, Placement::Physical).unwrap();
    assert_eq!((loaded.entry, loaded.pages.len()), (0x10_0004, 1));
    assert!(loaded.pages.contains_key(&0x10_0000));
}

#[test]
fn unusable_programs_are_refused_by_name() {
    let load = |file: &[u8]| LoadedElf::load(file, Placement::Virtual(BASE)).unwrap_err();
    let text = || Segment::load(TEXT, BASE, pattern(0x10, 1));
    assert!(matches!(load(b"\x7FELF"), ElfError::Malformed(_)));
    assert_eq!(load(&program(FIXED, BASE, &[])), ElfError::Empty);
    assert_eq!(load(&program(1, BASE, &[text()])), ElfError::NotExecutable);
    assert_eq!(load(&program(FIXED, BASE + 0x1000, &[text()])), ElfError::Entry(BASE + 0x1000));
    let writable_code = Segment::load(7, BASE, pattern(0x10, 1));
    assert_eq!(load(&program(FIXED, BASE, &[writable_code])), ElfError::WritableCode(0));
    let shared = [text(), Segment::load(DATA, BASE + 0x800, pattern(0x10, 1))];
    assert_eq!(load(&program(FIXED, BASE, &shared)), ElfError::SharedPage(BASE));
    let endless = [text().with_memory(u64::MAX)];
    assert_eq!(load(&program(FIXED, BASE, &endless)), ElfError::Segment(0));
    let mut other_machine = program(FIXED, BASE, &[text()]);
    other_machine[18] = 183;
    assert_eq!(load(&other_machine), ElfError::Machine);
    let mut thread_local = text();
    thread_local.kind = 7;
    assert_eq!(load(&program(FIXED, BASE, &[text(), thread_local])), ElfError::ThreadLocal);
    let table = relocation(0x1000, 1, 0);
    let symbolic = [
        Segment::load(TEXT, 0, pattern(0x10, 1)),
        Segment::load(DATA, 0x1000, table.clone()),
        Segment::dynamic(0x1010, 0x1000, table.len() as u64),
    ];
    let refused = ElfError::Relocation { kind: 1, address: BASE + 0x1000 };
    assert_eq!(load(&program(POSITION_INDEPENDENT, 0, &symbolic)), refused);
}

#[test]
fn programs_that_do_not_fit_the_region_are_refused() {
    let (good_stage2, good_kernel, good_guest) = (stage2(BASE), kernel(), guest());
    let fails = |change: &dyn Fn(&mut BuildOptions<'_>)| {
        let mut options = options(&good_stage2, &good_kernel, GuestSource::Elf(&good_guest));
        change(&mut options);
        build(&options).unwrap_err()
    };
    let elsewhere = fails(&|options| options.region.base = 0x0900_0000);
    let start = LayoutError::Stage2Start { actual: BASE, base: 0x0900_0000 };
    assert_eq!(elsewhere, BuildError::Layout(start));
    let unaligned = fails(&|options| options.region.size = 0x0110_0000);
    assert!(matches!(unaligned, BuildError::Layout(LayoutError::Region { .. })));
    let beyond = fails(&|options| options.region.base = !0x1F_FFFF);
    assert!(matches!(beyond, BuildError::Layout(LayoutError::Region { .. })));
    assert_eq!(fails(&|options| options.policy = GuestPolicy(0)), BuildError::Policy(0));
    let low = program(FIXED, 0x40_0000, &[Segment::load(TEXT, 0x40_0000, pattern(0x10, 1))]);
    assert!(matches!(
        build(&options(&good_stage2, &low, GuestSource::None)),
        Err(BuildError::Layout(LayoutError::KernelAddress(0x40_0000)))
    ));
    let inside = program(FIXED, BASE, &[Segment::load(TEXT, BASE, pattern(0x10, 1))]);
    assert_eq!(
        build(&options(&good_stage2, &good_kernel, GuestSource::Elf(&inside))),
        Err(BuildError::GuestInRegion(BASE))
    );
    let huge = Segment::load(DATA, KERNEL_BASE + 0x10_0000, pattern(8, 1)).with_memory(0x0100_0000);
    let huge = program(FIXED, KERNEL_BASE, &[Segment::load(TEXT, KERNEL_BASE, pattern(8, 1)), huge]);
    assert!(matches!(
        build(&options(&good_stage2, &huge, GuestSource::None)),
        Err(BuildError::Layout(LayoutError::TooSmall { .. }))
    ));
}

proptest! {
    #[test]
    fn hostile_programs_end_in_an_image_or_an_error(
        changes in prop::collection::vec((0..0x120_usize, any::<u8>()), 1..5),
        which in 0..3_usize,
    ) {
        let mut files = [stage2(BASE), kernel(), guest()];
        for (offset, value) in changes {
            files[which][offset] = value;
        }
        let [stage2, kernel, guest] = &files;
        if let Ok(image) = build(&options(stage2, kernel, GuestSource::Elf(guest))) {
            prop_assert!(LaunchPlan::of_bytes(&image).is_ok());
        }
    }
}
