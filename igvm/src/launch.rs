//! What QEMU and KVM do with an image: which pages are launched as what, in which order, and what is refused.
//!
//! The order follows QEMU's `backends/igvm.c` (read at commit 03025db6): a run of neighbouring pages with equal
//! attributes is kept back until something breaks it; a parameter insert is launched at once; VMSAs are KVM's business
//! when the launch finishes. KVM launches 4 KiB pages only. The digest follows from the plan, and the emulated
//! machine loads from it.

mod parameters;
mod planner;
mod vcpu;

use std::collections::BTreeMap;
use std::fmt;

use igvm_defs::IgvmPlatformType;
use snp_abi::id_block::{IdAuthentication, IdBlock};
use snp_abi::launch::{KVM_VMSA_ADDRESS, LaunchDigest, PageType};
use snp_abi::policy::GuestPolicy;
use snp_abi::vmsa::Vmsa;
use zerocopy::IntoBytes;

use crate::file::{Body, FileError, Header, ImageFile, ParameterKind, Place};
use crate::hosts::{ANY, Host, QEMU_MAINLINE};
use planner::Planner;

pub use parameters::{HostParameters, ParameterError};
pub(crate) use vcpu::has_only_settable_registers;
pub use vcpu::{DEFAULT_CPU_SIGNATURE, VmsaError, reset_vmsa};

/// Bytes of a page.
const PAGE: usize = 0x1000;
/// Largest parameter area that is accepted: far beyond any table, far below what would exhaust a host.
pub(crate) const MAXIMUM_AREA_BYTES: u64 = 0x10_0000;

/// A page that is given to the PSP.
#[derive(Clone, PartialEq, Eq)]
pub struct LaunchPage {
    /// Guest-physical address.
    pub address: u64,
    /// What it is launched as.
    pub page_type: PageType,
    /// Its bytes before the PSP sees it; the secrets page is the PSP's, the CPUID page the loader's to fill.
    pub content: Box<[u8; PAGE]>,
}

impl fmt::Debug for LaunchPage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} page at {:#x}", self.page_type, self.address)
    }
}

/// A parameter that the loader writes before the launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterUse {
    /// Which one.
    pub kind: ParameterKind,
    /// Guest-physical address of the area.
    pub area: u64,
    /// Bytes of the area.
    pub area_bytes: u64,
    /// Offset of the parameter in the area.
    pub offset: u64,
}

/// Things that no loader refuses but that make digests or guests surprising.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// KVM measures VMSAs last; other loaders follow the file.
    #[error("{0}: a VMSA is not the last page; loaders other than QEMU measure it earlier")]
    VmsaNotLast(Place),
    /// QEMU measures the insert before pages that precede it in the file.
    #[error("{0}: the insert follows pages; QEMU measures it before them, other loaders after")]
    InsertAfterPages(Place),
    /// QEMU makes the memory private after it wrote the pages.
    #[error("{0}: the memory holds pages that precede it in the file; QEMU launches them as zeros")]
    MemoryAfterPages(Place),
    /// KVM decides on CR0.
    #[error("{0}: CR0 is {1:#x}; KVM starts measured firmware with 0x31 or 0x30")]
    Cr0(Place, u64),
    /// KVM sets EFER.SVME and CR4.MCE.
    #[error("{0}: EFER.SVME or CR4.MCE is clear; KVM sets both")]
    ForcedBits(Place),
    /// The file's policy is not well formed.
    #[error("policy {0:#x} is malformed; the PSP refuses it")]
    Policy(u64),
}

/// Why QEMU and KVM would not launch an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileError),
    /// No SEV-SNP platform.
    #[error("the file supports no SEV-SNP platform")]
    NoSnpPlatform,
    /// No policy for the platform.
    #[error("the file has no guest policy for SEV-SNP")]
    NoPolicy,
    /// A header that the host's loader does not know.
    #[error("{0}: {1} does not know this type")]
    HeaderType(Place, &'static str),
    /// Two ID blocks.
    #[error("{0}: a second ID block")]
    SecondIdBlock(Place),
    /// Two pages at one address.
    #[error("{0}: page {1:#x} is launched a second time")]
    SecondPage(Place, u64),
    /// A page type that does not exist.
    #[error("{0}: page data type {1} does not exist")]
    PageDataType(Place, u16),
    /// Shared or 2 MiB pages.
    #[error("{0}: shared and 2 MiB pages are not supported")]
    PageFlags(Place),
    /// A parameter area that is declared twice, used before or after its life, or too large.
    #[error("{0}: parameter area {1} is not open for this, or too large")]
    ParameterArea(Place, u32),
    /// A parameter does not fit in its area.
    #[error("{0}: the parameter lies outside its area")]
    ParameterOffset(Place),
    /// A VMSA that QEMU cannot load.
    #[error("{0}: {1}")]
    Vmsa(Place, VmsaError),
    /// The machine has another number of vCPUs.
    #[error(
        "the image has registers for {given} vCPUs, the machine has {wanted}: QEMU refuses registers of a vCPU that is not there, and \
         without registers a vCPU starts in the reset state at VMPL0, in memory that may be the guest's. `igvm-image vcpus` makes an image for {wanted}"
    )]
    VcpuCount {
        /// vCPUs with registers.
        given: u16,
        /// vCPUs of the machine.
        wanted: u16,
    },
    /// No registers for the first vCPU.
    #[error("the file has no VP context for vCPU 0")]
    NoBootVmsa,
    /// The `igvm` crate, on which QEMU's loader is built, refuses the file.
    #[error("the igvm library refuses the file: {0}")]
    Library(String),
}

/// The launch, in order.
#[derive(Clone)]
pub struct LaunchPlan {
    /// For LAUNCH_START.
    pub policy: GuestPolicy,
    /// For LAUNCH_FINISH.
    pub id_block: Option<(IdBlock, Box<IdAuthentication>)>,
    /// Memory that must exist and be private, as (address, bytes).
    pub required_memory: Vec<(u64, u64)>,
    /// What the loader writes into `pages` first; see [`LaunchPlan::fill`].
    pub parameters: Vec<ParameterUse>,
    /// Pages in the order of their launch; VMSAs follow them.
    pub pages: Vec<LaunchPage>,
    /// Registers that the file gives, by vCPU; the others have KVM's reset state.
    pub vmsas: BTreeMap<u16, Box<Vmsa>>,
    /// What is odd.
    pub warnings: Vec<Warning>,
}

impl LaunchPlan {
    /// Makes a plan from a file's bytes.
    ///
    /// # Errors
    /// If the file is malformed or QEMU or KVM would refuse it.
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, LaunchError> {
        Self::of_file(&ImageFile::parse(bytes)?)
    }

    /// Makes a plan from a file.
    ///
    /// # Errors
    /// If QEMU 11 or mainline KVM would refuse it.
    pub fn of_file(file: &ImageFile<'_>) -> Result<Self, LaunchError> {
        Self::on_host(file, &QEMU_MAINLINE)
    }

    /// Reads a file that some loader takes, and says what QEMU's order makes of it.
    ///
    /// # Errors
    /// If no loader takes it.
    pub fn on_any_host(file: &ImageFile<'_>) -> Result<Self, LaunchError> {
        Self::on_host(file, &ANY)
    }

    /// Makes a plan for a host; the order of the pages is QEMU's.
    ///
    /// # Errors
    /// If the host would refuse the file.
    pub fn on_host(file: &ImageFile<'_>, host: &'static Host) -> Result<Self, LaunchError> {
        let mask = file.snp_mask().ok_or(LaunchError::NoSnpPlatform)?;
        let is_refused = |header: &&Header<'_>| host.headers.knows(header.place.kind) == Some(false);
        if let Some(header) = file.headers.iter().find(is_refused) {
            return Err(LaunchError::HeaderType(header.place, host.title));
        }
        let mut planner = Planner::new(mask, host);
        for header in &file.headers {
            planner.add(header)?;
        }
        let plan = planner.finish()?;
        ask_library(file)?;
        Ok(plan)
    }

    /// The VMSA that a vCPU is launched with.
    #[must_use]
    pub fn vmsa(&self, vcpu: u16, cpu_signature: u32) -> Box<Vmsa> {
        let features = self.vmsas.get(&0).map_or(1, |boot| boot.sev_features);
        match self.vmsas.get(&vcpu) {
            Some(vmsa) => vmsa.clone(),
            None => Box::new(reset_vmsa(cpu_signature, features)),
        }
    }

    /// The launch digest on a machine with that many vCPUs, or with as many as the file has registers for.
    ///
    /// # Errors
    /// With fewer, QEMU refuses the file. With more, some start in the reset state, which a guest can use to run at VMPL0.
    pub fn digest_for(&self, vcpus: Option<u16>, cpu_signature: u32) -> Result<[u8; 48], LaunchError> {
        let given = self.vcpus();
        match vcpus {
            Some(wanted) if wanted != given => Err(LaunchError::VcpuCount { given, wanted }),
            _ => Ok(self.digest(given, cpu_signature)),
        }
    }

    /// How many vCPUs the file has registers for.
    #[must_use]
    pub fn vcpus(&self) -> u16 {
        u16::try_from(self.vmsas.len()).unwrap_or(u16::MAX)
    }

    /// The launch digest on a machine with that many vCPUs, whatever the file has registers for.
    ///
    /// `cpu_signature` is CPUID leaf 1 EAX of the guest's processors, which KVM puts into the VMSAs that the file
    /// does not give; it does not matter for one vCPU.
    #[must_use]
    pub fn digest(&self, vcpus: u16, cpu_signature: u32) -> [u8; 48] {
        let mut digest = LaunchDigest::new();
        for page in &self.pages {
            digest.add_page(page.page_type, page.address, &page.content);
        }
        for vcpu in 0..vcpus {
            let vmsa = self.vmsa(vcpu, cpu_signature);
            let mut content = [0; PAGE];
            content.copy_from_slice(vmsa.as_bytes());
            digest.add_page(PageType::Vmsa, KVM_VMSA_ADDRESS, &content);
        }
        digest.bytes()
    }
}

/// What the `igvm` crate refuses, QEMU refuses. Files for VSM isolation are not shown to it: it asserts on their
/// register lists instead of refusing them.
fn ask_library(file: &ImageFile<'_>) -> Result<(), LaunchError> {
    let has_vsm = file.headers.iter().any(|header| {
        matches!(&header.body, Body::Platform(platform)
            if platform.platform_type == IgvmPlatformType::VSM_ISOLATION)
    });
    if has_vsm {
        return Ok(());
    }
    match igvm_file::IgvmFile::new_from_binary(file.bytes, None) {
        Ok(_) => Ok(()),
        Err(error) => Err(LaunchError::Library(with_sources(&error))),
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
