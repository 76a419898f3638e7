//! From an IGVM file to the monitor's launch plan, by the loader rules of QEMU and KVM (crate `igvm`).

use host_profiles::Profile;
use host_profiles::loader::{DEFAULT_POLICY, LaunchedVmsas};
use igvm::file::ParameterKind;
use igvm::launch::{LaunchError, LaunchPage, LaunchPlan};
use model::plan::{Command, Parameter, PlanWriter};
use snp_abi::launch::{KVM_VMSA_ADDRESS, PageType};
use zerocopy::IntoBytes;

const PAGE: u64 = 4096;

/// The launch of an image.
pub struct Launch {
    /// The commands for the monitor.
    pub commands: Vec<u8>,
    /// Memory that the image claims for the firmware itself (IGVM required memory), as (start, end).
    pub firmware: Vec<(u64, u64)>,
}

/// The machine that an image is launched on.
pub struct Machine {
    /// The host.
    pub host: &'static Profile,
    /// CPUID leaf 1 EAX of its processors, which is in RDX after a reset.
    pub cpu_signature: u32,
    /// vCPUs.
    pub vcpus: u32,
    /// The policy that the command line asks for.
    pub policy: Option<u64>,
}

/// Encodes the launch of an image. Like KVM it launches and measures the registers of each vCPU: those of the file, and the reset state of
/// a processor for the others.
pub fn encode(image: &[u8], machine: &Machine) -> Result<Launch, LaunchError> {
    let plan = LaunchPlan::of_bytes(image)?;
    let (given, wanted) = (plan.vcpus(), u16::try_from(machine.vcpus).unwrap_or(u16::MAX));
    // QEMU refuses registers of a vCPU that is not there.
    if given > wanted {
        return Err(LaunchError::VcpuCount { given, wanted });
    }
    Ok(encode_plan(&plan, machine))
}

fn encode_plan(plan: &LaunchPlan, machine: &Machine) -> Launch {
    let mut writer = PlanWriter::default();
    let of_host = machine.host.loader.policy_by_command_line.then_some(DEFAULT_POLICY);
    writer.push(&Command::Policy(machine.policy.or(of_host).unwrap_or(plan.policy.0)));
    for parameter in &plan.parameters {
        let Some(kind) = kind(parameter.kind) else { continue };
        writer.push(&Command::Parameter {
            parameter: kind,
            address: parameter.area + parameter.offset,
            length: parameter.area_bytes.saturating_sub(parameter.offset),
        });
    }
    for run in runs(&plan.pages) {
        push_run(&mut writer, run);
    }
    let launched = match machine.host.loader.vmsas {
        LaunchedVmsas::OfTheFirstVcpu => 1,
        LaunchedVmsas::OfEveryVcpu | LaunchedVmsas::ByAddress => machine.vcpus,
    };
    for (index, vcpu) in (0..launched).zip(0..=u16::MAX) {
        let vmsa = plan.vmsa(vcpu, machine.cpu_signature);
        writer.push(&Command::Vmsa { index, address: KVM_VMSA_ADDRESS, data: vmsa.as_bytes() });
    }
    if let Some((block, authentication)) = &plan.id_block {
        let mut data = block.as_bytes().to_vec();
        data.extend_from_slice(authentication.as_bytes());
        let author_key = authentication.author_key_algorithm != 0;
        writer.push(&Command::IdBlock { data: &data, author_key });
    }
    let firmware = plan.required_memory.iter().map(|(start, bytes)| (*start, start.saturating_add(*bytes)));
    Launch { commands: writer.finish(), firmware: firmware.collect() }
}

/// What the monitor writes; it has no value for the others, so their areas stay zeros.
fn kind(kind: ParameterKind) -> Option<Parameter> {
    match kind {
        ParameterKind::VcpuCount => Some(Parameter::VpCount),
        ParameterKind::Madt => Some(Parameter::Madt),
        ParameterKind::MemoryMap => Some(Parameter::MemoryMap),
        ParameterKind::Environment => Some(Parameter::EnvironmentInfo),
        ParameterKind::Srat
        | ParameterKind::Slit
        | ParameterKind::Pptt
        | ParameterKind::MmioRanges
        | ParameterKind::CommandLine
        | ParameterKind::DeviceTree => None,
    }
}

/// Splits the pages into runs of one type at consecutive addresses.
fn runs(pages: &[LaunchPage]) -> impl Iterator<Item = &[LaunchPage]> {
    pages.chunk_by(|a, b| a.page_type == b.page_type && a.address.checked_add(PAGE) == Some(b.address))
}

fn push_run(writer: &mut PlanWriter, run: &[LaunchPage]) {
    let Some(first) = run.first() else { return };
    // Only what is measured by content travels; the rest is the loader's and the security processor's to fill.
    let carries_data = first.page_type == PageType::Normal;
    let data: Vec<u8> = if carries_data {
        run.iter().flat_map(|page| page.content.iter().copied()).collect()
    } else {
        Vec::new()
    };
    let used = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    writer.push(&Command::Pages {
        page_type: u32::from(first.page_type.to_wire()),
        address: first.address,
        length: run.len() as u64 * PAGE,
        data: &data[..used],
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use host_profiles::Host;
    use host_profiles::cpuid::Model;
    use snp_abi::launch::LaunchDigest;
    use snp_abi::policy::GuestPolicy;
    use snp_abi::vmsa::Vmsa;
    use std::collections::BTreeMap;
    use zerocopy::FromZeros;

    /// The digest of the VMSAs that the monitor is told to launch, and how many they are.
    fn launched(commands: &[u8]) -> ([u8; 48], usize) {
        let mut digest = LaunchDigest::new();
        let mut count = 0;
        for command in model::plan::read(commands).unwrap() {
            if let Command::Vmsa { index, address, data } = command {
                assert_eq!(index as usize, count);
                digest.add_page(PageType::Vmsa, address, data.first_chunk().unwrap());
                count += 1;
            }
        }
        (digest.bytes(), count)
    }

    #[test]
    fn the_registers_of_every_vcpu_are_launched_and_no_others() {
        let mut boot = Vmsa::new_zeroed();
        (boot.rip, boot.sev_features) = (0x1000, 1);
        let mut second = boot.clone();
        second.rip = 0x2000;
        let plan = LaunchPlan {
            policy: GuestPolicy::DEFAULT,
            id_block: None,
            required_memory: Vec::new(),
            parameters: Vec::new(),
            pages: Vec::new(),
            vmsas: BTreeMap::from([(0, Box::new(boot)), (1, Box::new(second))]),
            warnings: Vec::new(),
        };
        let cpu_signature = Model::Milan.signature();
        for vcpus in [1, 2, 4] {
            let machine = |host: Host| Machine {
                host: host.profile(),
                cpu_signature,
                vcpus: u32::from(vcpus),
                policy: None,
            };
            let (digest, count) = launched(&encode_plan(&plan, &machine(Host::KvmPlanes)).commands);
            assert_eq!((digest, count), (plan.digest(vcpus, cpu_signature), usize::from(vcpus)));
            let (digest, count) = launched(&encode_plan(&plan, &machine(Host::KvmCoconut)).commands);
            assert_eq!((digest, count), (plan.digest(1, cpu_signature), 1), "the first one's only");
        }
    }
}
