//! The launch digest as each loader produces it: they differ in the order of pages, in what they launch pages without data as, and
//! in whose VMSAs they launch.
//!
//! QEMU's rules are [`crate::launch`]'s; the others follow from the file alone. Sources: for `direct` and `gce` the digests that
//! COCONUT's `igvmmeasure` and its users report, for `cloud-hypervisor` and `mshv` cloud-hypervisor's `vmm/src/igvm`.

use std::collections::BTreeMap;

use igvm_defs::{IGVM_VHS_PAGE_DATA, IgvmPageDataType};
use snp_abi::launch::{KVM_VMSA_ADDRESS, LaunchDigest, PageType};

use crate::file::{Body, ImageFile, Place};
use crate::launch::{LaunchError, LaunchPlan, MAXIMUM_AREA_BYTES, Warning};

/// Bytes of a page.
const PAGE: u64 = 0x1000;
/// KVM's own limit (`KVM_MAX_VCPUS`), and more than any of the others has.
pub const MAXIMUM_VCPUS: u16 = 4096;

/// Who loads the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Loader {
    /// QEMU on KVM: its queue's order, and the VMSA of every vCPU at KVM's address behind everything.
    Qemu,
    /// The QEMU of `svsm-v7.2` with a VMSA in guest memory: the order of the file, and the file's VMSAs only.
    Direct,
    /// cloud-hypervisor on KVM: the order of the file, pages without data as the PSP's zero pages, and KVM's VMSAs behind everything.
    CloudHypervisor,
    /// cloud-hypervisor on the Microsoft hypervisor: ascending addresses, the file's VMSAs among them.
    Mshv,
    /// Google's: the order of the file, pages without data as the PSP's zero pages, and the file's VMSAs.
    Gce,
}

/// A loader's rules, for all but QEMU.
struct Rules {
    /// Pages are launched by ascending address, not in the file's order.
    is_ascending: bool,
    /// What a page without data is launched as.
    without_data: PageType,
    /// KVM makes the VMSAs, for every vCPU.
    has_vmsas_of_kvm: bool,
    /// cloud-hypervisor launches the first page of a parameter area only, and the first vCPU's registers only.
    is_cloud_hypervisor: bool,
}

impl Loader {
    const fn rules(self) -> Rules {
        let file = Rules {
            is_ascending: false,
            without_data: PageType::Normal,
            has_vmsas_of_kvm: false,
            is_cloud_hypervisor: false,
        };
        match self {
            Self::Qemu | Self::Direct => file,
            Self::CloudHypervisor => Rules {
                without_data: PageType::Zero,
                has_vmsas_of_kvm: true,
                is_cloud_hypervisor: true,
                ..file
            },
            Self::Mshv => Rules { is_ascending: true, is_cloud_hypervisor: true, ..file },
            Self::Gce => Rules { without_data: PageType::Zero, ..file },
        }
    }

    /// The loader that an image is for as far as its VMSA says: one in guest memory is for the direct path.
    #[must_use]
    pub fn of_file(file: &ImageFile<'_>) -> Self {
        let is_in_memory = file.headers.iter().any(
            |header| matches!(&header.body, Body::VcpuContext(context, _) if context.gpa.get() != KVM_VMSA_ADDRESS),
        );
        if is_in_memory { Self::Direct } else { Self::Qemu }
    }
}

/// What a loader launches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    /// The launch digest.
    pub digest: [u8; 48],
    /// Pages that the PSP is given, VMSAs apart.
    pub pages: usize,
    /// Those among them whose content is measured.
    pub content_measured: usize,
    /// VMSAs.
    pub vmsas: usize,
    /// What is odd.
    pub warnings: Vec<Warning>,
}

/// Why there is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// The file, or QEMU's refusal.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// KVM's VMSAs of the other vCPUs depend on registers that this loader does not document.
    #[error(
        "the registers that cloud-hypervisor gives to other vCPUs are not documented: it can be measured with 1 vCPU"
    )]
    UndocumentedVcpus,
    /// A page that this loader does not launch.
    #[error("{0}: this loader launches 4 KiB pages of the types normal, secrets and CPUID only")]
    Page(Place),
    /// A context that this loader ignores.
    #[error("{0}: this loader launches the first vCPU's registers only")]
    SecondVcpu(Place),
}

/// The digest that a loader produces for an image on a machine with that many vCPUs; `cpu_signature` is CPUID leaf 1 EAX, which
/// KVM puts into VMSAs that the file does not give.
///
/// # Errors
/// If the loader would not launch the image, or nobody knows as what.
pub fn measure(
    file: &ImageFile<'_>,
    loader: Loader,
    vcpus: u16,
    cpu_signature: u32,
) -> Result<Measurement, MeasureError> {
    if loader == Loader::Qemu {
        return Ok(of_plan(&LaunchPlan::on_any_host(file)?, vcpus, cpu_signature));
    }
    let rules = loader.rules();
    if rules.has_vmsas_of_kvm && vcpus != 1 {
        return Err(MeasureError::UndocumentedVcpus);
    }
    of_rules(file, &rules)
}

fn of_plan(plan: &LaunchPlan, vcpus: u16, cpu_signature: u32) -> Measurement {
    Measurement {
        digest: plan.digest(vcpus, cpu_signature),
        pages: plan.pages.len(),
        content_measured: plan.pages.iter().filter(|page| page.page_type.is_content_measured()).count(),
        vmsas: usize::from(vcpus),
        warnings: plan.warnings.clone(),
    }
}

/// A page on its way to the PSP.
struct Launched<'a> {
    address: u64,
    page_type: PageType,
    content: Option<&'a [u8; PAGE as usize]>,
}

fn of_rules(file: &ImageFile<'_>, rules: &Rules) -> Result<Measurement, MeasureError> {
    let mask = file.snp_mask().ok_or(LaunchError::NoSnpPlatform)?;
    let mut launched = launched(file, mask, rules)?;
    if rules.is_ascending {
        launched.sort_by_key(|page| page.address);
    } else if rules.has_vmsas_of_kvm {
        launched.sort_by_key(|page| page.page_type == PageType::Vmsa);
    }
    let mut digest = LaunchDigest::new();
    let zeros = [0; PAGE as usize];
    for page in &launched {
        digest.add_page(page.page_type, page.address, page.content.unwrap_or(&zeros));
    }
    let count = |wanted: fn(PageType) -> bool| launched.iter().filter(|page| wanted(page.page_type)).count();
    let vmsas = count(|page_type| page_type == PageType::Vmsa);
    if vmsas == 0 {
        return Err(LaunchError::NoBootVmsa.into());
    }
    Ok(Measurement {
        digest: digest.bytes(),
        pages: launched.len().saturating_sub(vmsas),
        content_measured: count(PageType::is_content_measured).saturating_sub(vmsas),
        vmsas,
        warnings: Vec::new(),
    })
}

/// The pages in the order of the file.
fn launched<'a>(
    file: &'a ImageFile<'_>,
    mask: u32,
    rules: &Rules,
) -> Result<Vec<Launched<'a>>, MeasureError> {
    let mut pages = Vec::new();
    let mut areas = BTreeMap::new();
    for header in &file.headers {
        let place = header.place;
        match &header.body {
            Body::ParameterArea(area) => {
                areas.insert(area.parameter_area_index, area.number_of_bytes);
            }
            Body::ParameterInsert(insert) if insert.compatibility_mask & mask != 0 => {
                let index = insert.parameter_area_index;
                let bytes = areas.get(&index).copied().filter(|bytes| *bytes <= MAXIMUM_AREA_BYTES);
                let bytes = bytes.ok_or(LaunchError::ParameterArea(place, index))?;
                pages.extend(area_pages(insert.gpa, if rules.is_cloud_hypervisor { PAGE } else { bytes }));
            }
            Body::PageData(page, content) if page.compatibility_mask & mask != 0 => {
                let page_type = page_type(page, content.is_some(), rules).ok_or(MeasureError::Page(place))?;
                pages.push(Launched { address: page.gpa, page_type, content: *content });
            }
            Body::VcpuContext(context, content) if context.compatibility_mask & mask != 0 => {
                if rules.is_cloud_hypervisor && context.vp_index != 0 {
                    return Err(MeasureError::SecondVcpu(place));
                }
                let address = if rules.has_vmsas_of_kvm { KVM_VMSA_ADDRESS } else { context.gpa.get() };
                pages.push(Launched { address, page_type: PageType::Vmsa, content: Some(content) });
            }
            _ => {}
        }
    }
    Ok(pages)
}

fn area_pages<'a>(start: u64, bytes: u64) -> impl Iterator<Item = Launched<'a>> {
    (0..bytes).step_by(PAGE as usize).map(move |offset| Launched {
        address: start.wrapping_add(offset),
        page_type: PageType::Unmeasured,
        content: None,
    })
}

/// What a page is launched as, if any loader here launches it.
fn page_type(page: &IGVM_VHS_PAGE_DATA, has_data: bool, rules: &Rules) -> Option<PageType> {
    if page.flags.is_2mb_page() || page.flags.shared() {
        return None;
    }
    match page.data_type {
        IgvmPageDataType::NORMAL if page.flags.unmeasured() => Some(PageType::Unmeasured),
        IgvmPageDataType::NORMAL if has_data => Some(PageType::Normal),
        IgvmPageDataType::NORMAL => Some(rules.without_data),
        IgvmPageDataType::SECRETS => Some(PageType::Secrets),
        IgvmPageDataType::CPUID_DATA | IgvmPageDataType::CPUID_XF => Some(PageType::Cpuid),
        _ => None,
    }
}
