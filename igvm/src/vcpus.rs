//! Makes an image for a number of vCPUs: registers of our choice for each of them.
//!
//! KVM launches a VMSA for every vCPU, at VMPL0, and a host can run any of them at any time, with any event injected before its first
//! instruction. Without registers in the file that is a processor's reset state: it executes what lies at 0xFFFFFFF0 and takes
//! its vectors from address 0, and both can be the guest's memory. So every vCPU but the first gets registers that lead to a HLT in
//! measured text, with an IDT in which no vector fits (kernel/doc/decisions/0023-registers-for-every-vcpu.md).

use boot_handoff::Handoff;
use igvm_file::snp_defs::SevVmsa;
use igvm_file::{Arch, IgvmDirectiveHeader, IgvmFile, IgvmRevision};
use snp_abi::launch::KVM_VMSA_ADDRESS;
use snp_abi::vmsa::{SevFeatures, Vmsa};
use zerocopy::{FromZeros, IntoBytes};

use crate::file::ImageFile;
use crate::launch::{LaunchError, LaunchPlan};

/// The first bytes of stage2, where vCPUs are parked: CLI, HLT, and a jump back to the HLT.
pub const PARKED: [u8; 4] = [0xFA, 0xF4, 0xEB, 0xFD];

/// Why an image cannot be made for a number of vCPUs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VcpusError {
    /// The file could not be launched.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// No record, or one of another version.
    #[error("the image is none of this program's version")]
    NotOurs,
    /// stage2 begins with something else.
    #[error("stage2 does not begin with the instructions at which vCPUs are parked")]
    NoParking,
    /// An ID block signs the digest, which changes.
    #[error("the image is signed for its vCPUs; sign it after this")]
    Signed,
    /// The `igvm` crate cannot rewrite the file.
    #[error("rewriting the file: {0}")]
    Rewrite(String),
}

/// The same image for `count` vCPUs; 0 makes one for any number, on a host that launches the VMSAs of the file and no others.
///
/// # Errors
/// If the image is none of ours, or signed.
pub fn for_vcpus(image: &[u8], count: u16) -> Result<Vec<u8>, VcpusError> {
    let file = ImageFile::parse(image).map_err(LaunchError::File)?;
    let plan = LaunchPlan::of_file(&file)?;
    if plan.id_block.is_some() {
        return Err(VcpusError::Signed);
    }
    let boot = plan.vmsas.get(&0).ok_or(VcpusError::NotOurs)?;
    let record = page(&plan, boot.rsi).ok_or(VcpusError::NotOurs)?;
    let mut handoff = Handoff::parse(record).map_err(|_| VcpusError::NotOurs)?.clone();
    handoff.launch_vcpus = u32::from(count);
    let place = handoff.stage2.start;
    if count > 1 && !page(&plan, place).is_some_and(|text| text.starts_with(&PARKED)) {
        return Err(VcpusError::NoParking);
    }
    let parked = u32::try_from(place).map_err(|_| VcpusError::NotOurs)?;
    let mut content = record.to_vec();
    content.iter_mut().zip(handoff.as_bytes()).for_each(|(byte, new)| *byte = *new);
    let features = SevFeatures::from_bits_retain(boot.sev_features);
    rewrite(&file, boot.rsi, &content, &Vmsa::parked(parked, features), count)
}

fn page(plan: &LaunchPlan, address: u64) -> Option<&[u8; 0x1000]> {
    plan.pages.iter().find(|page| page.address == address).map(|page| &*page.content)
}

fn rewrite(
    file: &ImageFile<'_>,
    record: u64,
    content: &[u8],
    parked: &Vmsa,
    count: u16,
) -> Result<Vec<u8>, VcpusError> {
    let refused = |error: igvm_file::Error| VcpusError::Rewrite(error.to_string());
    let mask = file.snp_mask().ok_or(VcpusError::NotOurs)?;
    let parsed = IgvmFile::new_from_binary(file.bytes, None).map_err(refused)?;
    let revision = match file.format_version {
        1 => IgvmRevision::V1,
        _ => IgvmRevision::V2 { arch: Arch::X64, page_size: 0x1000 },
    };
    let mut directives = Vec::new();
    for directive in parsed.directives() {
        match directive {
            IgvmDirectiveHeader::SnpVpContext { vp_index, .. } if *vp_index != 0 => {}
            IgvmDirectiveHeader::PageData { gpa, compatibility_mask, flags, data_type, .. }
                if *gpa == record =>
            {
                directives.push(IgvmDirectiveHeader::PageData {
                    gpa: *gpa,
                    compatibility_mask: *compatibility_mask,
                    flags: *flags,
                    data_type: *data_type,
                    data: content.to_vec(),
                });
            }
            other => directives.push(other.clone()),
        }
    }
    for index in 1..count {
        let mut vmsa = Box::new(SevVmsa::new_zeroed());
        vmsa.as_mut_bytes().copy_from_slice(parked.as_bytes());
        directives.push(IgvmDirectiveHeader::SnpVpContext {
            gpa: KVM_VMSA_ADDRESS,
            compatibility_mask: mask,
            vp_index: index,
            vmsa,
        });
    }
    let rewritten =
        IgvmFile::new(revision, parsed.platforms().to_vec(), parsed.initializations().to_vec(), directives);
    let mut bytes = Vec::new();
    rewritten.map_err(refused)?.serialize(&mut bytes).map_err(refused)?;
    Ok(bytes)
}
