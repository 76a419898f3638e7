//! Puts an image together: region, guest, parameters, the first vCPU, in the order that QEMU and KVM measure.

use std::collections::BTreeMap;

use boot_handoff::Parameters;
use igvm_defs::{
    IGVM_SEV_SNP_PLATFORM_VERSION, IGVM_VHS_PARAMETER, IGVM_VHS_PARAMETER_INSERT,
    IGVM_VHS_SUPPORTED_PLATFORM, IgvmPageDataFlags, IgvmPageDataType, IgvmPlatformType,
};
use igvm_file::snp_defs::SevVmsa;
use igvm_file::{IgvmDirectiveHeader, IgvmFile, IgvmInitializationHeader, IgvmPlatformHeader, IgvmRevision};
use snp_abi::launch::KVM_VMSA_ADDRESS;
use snp_abi::policy::GuestPolicy;
use snp_abi::vmsa::{SevFeatures, Vmsa};
use zerocopy::{FromZeros, IntoBytes};

use crate::elf::{ElfError, LoadedElf, Placement};
use crate::guest::{LinuxSource, Payload, PayloadError};
use crate::layout::{Layout, LayoutError, RegionOptions, RegionPage};

/// The only platform of our images.
const MASK: u32 = 1;
/// Bytes of each parameter area: one page, on whose measurement all tools agree.
const AREA_BYTES: u64 = 0x1000;

/// What goes into an image.
#[derive(Debug, Clone)]
pub struct BuildOptions<'a> {
    /// stage2's ELF file.
    pub stage2: &'a [u8],
    /// The kernel's ELF file.
    pub kernel: &'a [u8],
    /// The guest.
    pub guest: GuestSource<'a>,
    /// The region.
    pub region: RegionOptions,
    /// The guest policy.
    pub policy: GuestPolicy,
}

/// Where the guest comes from.
#[derive(Debug, Clone, Copy)]
pub enum GuestSource<'a> {
    /// No guest.
    None,
    /// A bare-metal ELF file.
    Elf(&'a [u8]),
    /// A Linux kernel.
    Linux(LinuxSource<'a>),
    /// UEFI firmware, and the blobs that it shall boot.
    Firmware(&'a [u8], Option<LinuxSource<'a>>),
}

/// Why no image could be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// stage2 is no usable program.
    #[error("stage2: {0}")]
    Stage2(ElfError),
    /// The kernel is no usable program.
    #[error("kernel: {0}")]
    Kernel(ElfError),
    /// The guest is no usable program.
    #[error("guest: {0}")]
    Guest(PayloadError),
    /// The region does not work out.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The guest lies in the region.
    #[error("guest page {0:#x} lies in the paravisor's region")]
    GuestInRegion(u64),
    /// The PSP would refuse the policy.
    #[error("policy {0:#x}: bit 17 must be one and bits above 25 zero")]
    Policy(u64),
    /// The `igvm` crate could not write the file.
    #[error("writing the file: {0}")]
    Serialize(String),
}

/// Builds an image; equal inputs give equal bytes.
///
/// # Errors
/// If a program is unusable or does not fit.
pub fn build(options: &BuildOptions<'_>) -> Result<Vec<u8>, BuildError> {
    if !options.policy.is_well_formed() {
        return Err(BuildError::Policy(options.policy.0));
    }
    let region = &options.region;
    let stage2 =
        LoadedElf::load(options.stage2, Placement::Virtual(region.base)).map_err(BuildError::Stage2)?;
    let kernel = LoadedElf::load(options.kernel, Placement::Virtual(DEFAULT_KERNEL_ADDRESS))
        .map_err(BuildError::Kernel)?;
    let guest = match options.guest {
        GuestSource::None => Payload::none(),
        GuestSource::Elf(file) => Payload::from_elf(file).map_err(BuildError::Guest)?,
        GuestSource::Firmware(file, linux) => {
            Payload::from_firmware(file, linux.as_ref()).map_err(BuildError::Guest)?
        }
        GuestSource::Linux(source) => {
            Payload::from_linux(&source, region.base + region.size).map_err(BuildError::Guest)?
        }
    };
    let layout = Layout::new(region, &stage2, &kernel, guest.record)?;
    if let Some(page) = guest.pages.keys().find(|page| layout.handoff.region.contains(**page)) {
        return Err(BuildError::GuestInRegion(*page));
    }
    serialize(options, &layout, &guest.pages)
}

/// Where a position-independent kernel is put.
pub const DEFAULT_KERNEL_ADDRESS: u64 = 0xFFFF_FFFF_8000_0000;

fn serialize(
    options: &BuildOptions<'_>,
    layout: &Layout,
    guest: &BTreeMap<u64, RegionPage>,
) -> Result<Vec<u8>, BuildError> {
    let platform = IgvmPlatformHeader::SupportedPlatform(IGVM_VHS_SUPPORTED_PLATFORM {
        compatibility_mask: MASK,
        highest_vtl: 0,
        platform_type: IgvmPlatformType::SEV_SNP,
        platform_version: IGVM_SEV_SNP_PLATFORM_VERSION,
        shared_gpa_boundary: 0,
    });
    let policy = IgvmInitializationHeader::GuestPolicy { policy: options.policy.0, compatibility_mask: MASK };
    let mut directives = vec![IgvmDirectiveHeader::RequiredMemory {
        gpa: options.region.base,
        compatibility_mask: MASK,
        // Fits: the layout checked that the region starts above 0 and ends below 4 GiB.
        number_of_bytes: options.region.size as u32,
        vtl2_protectable: false,
    }];
    add_parameters(&mut directives, layout);
    let pages = layout.pages.iter().chain(guest);
    directives.extend(pages.map(|(address, page)| page_data(*address, page)));
    directives.push(boot_vcpu(layout));
    let write = |error: igvm_file::Error| BuildError::Serialize(error.to_string());
    let file = IgvmFile::new(IgvmRevision::V1, vec![platform], vec![policy], directives).map_err(write)?;
    let mut bytes = Vec::new();
    file.serialize(&mut bytes).map_err(write)?;
    Ok(bytes)
}

/// Parameter areas come before all pages: QEMU launches an insert at once but keeps a run of pages back, so that an
/// insert behind pages would be measured before them.
fn add_parameters(directives: &mut Vec<IgvmDirectiveHeader>, layout: &Layout) {
    let handoff = &layout.handoff;
    let parameter = |area, offset| IGVM_VHS_PARAMETER { parameter_area_index: area, byte_offset: offset };
    let vcpu_count = std::mem::offset_of!(Parameters, vcpu_count) as u32;
    let environment = std::mem::offset_of!(Parameters, environment) as u32;
    let mut areas = vec![
        (
            handoff.parameters_page,
            vec![
                IgvmDirectiveHeader::VpCount(parameter(0, vcpu_count)),
                IgvmDirectiveHeader::EnvironmentInfo(parameter(0, environment)),
            ],
        ),
        (handoff.memory_map_page, vec![IgvmDirectiveHeader::MemoryMap(parameter(1, 0))]),
    ];
    if handoff.madt_page != 0 {
        areas.push((handoff.madt_page, vec![IgvmDirectiveHeader::Madt(parameter(2, 0))]));
    }
    for (index, (gpa, uses)) in (0..).zip(areas) {
        directives.push(IgvmDirectiveHeader::ParameterArea {
            number_of_bytes: AREA_BYTES,
            parameter_area_index: index,
            initial_data: Vec::new(),
        });
        directives.extend(uses);
        directives.push(IgvmDirectiveHeader::ParameterInsert(IGVM_VHS_PARAMETER_INSERT {
            gpa,
            compatibility_mask: MASK,
            parameter_area_index: index,
        }));
    }
}

/// A page of zeros carries no data: loaders fill it, and it is measured as a page of zeros either way.
fn page_data(gpa: u64, page: &RegionPage) -> IgvmDirectiveHeader {
    let (data_type, data) = match page {
        RegionPage::Content(content) if content.iter().any(|byte| *byte != 0) => {
            (IgvmPageDataType::NORMAL, content.to_vec())
        }
        RegionPage::Content(_) | RegionPage::Zeros => (IgvmPageDataType::NORMAL, Vec::new()),
        RegionPage::Cpuid => (IgvmPageDataType::CPUID_DATA, Vec::new()),
        RegionPage::Secrets => (IgvmPageDataType::SECRETS, Vec::new()),
    };
    let flags = IgvmPageDataFlags::new();
    IgvmDirectiveHeader::PageData { gpa, compatibility_mask: MASK, flags, data_type, data }
}

/// The only VMSA, last in the file: KVM measures VMSAs when the launch finishes.
fn boot_vcpu(layout: &Layout) -> IgvmDirectiveHeader {
    let mut vmsa = Vmsa::protected_mode_start(layout.entry, SevFeatures::SNP_ACTIVE);
    vmsa.rsi = layout.handoff_page;
    let mut context = Box::new(SevVmsa::new_zeroed());
    context.as_mut_bytes().copy_from_slice(vmsa.as_bytes());
    IgvmDirectiveHeader::SnpVpContext {
        gpa: KVM_VMSA_ADDRESS,
        compatibility_mask: MASK,
        vp_index: 0,
        vmsa: context,
    }
}
