//! The looks: one function for each thing that hosts differ in.

use igvm_defs::IgvmPlatformType;
use snp_abi::launch::KVM_VMSA_ADDRESS;
use snp_abi::policy::GuestPolicy;
use snp_abi::vmsa::SevFeatures;

use super::{Finding, Shown, Verdict, fits, refused, warns};
use crate::file::Body;
use crate::hosts::VmsaRule;
use crate::launch::{LaunchPlan, Warning, has_only_settable_registers};

/// A virtual CPU has 40 physical address bits unless the command line says more (QEMU target/i386/cpu.c).
const DEFAULT_ADDRESS_END: u64 = 1 << 40;
/// QEMU's `sev-snp-guest` asks for this policy where its command line names none (target/i386/sev.c:191).
const DEFAULT_POLICY: u64 = 0x30000;

/// In the order of the table.
pub(super) const ALL: [fn(&Shown<'_>) -> Finding; 10] = [
    platform,
    headers,
    vmsa_place,
    vmsa_features,
    vmsa_registers,
    page_order,
    policy,
    id_block,
    addresses,
    lower_levels,
];

fn platform(shown: &Shown<'_>) -> Finding {
    let subject = "platform";
    let snp = shown.headers().filter_map(|header| match &header.body {
        Body::Platform(platform) if platform.platform_type == IgvmPlatformType::SEV_SNP => Some(*platform),
        _ => None,
    });
    let Some(snp) = snp.last() else { return fits(subject, "SEV-SNP") };
    let (wanted, boundary) = (shown.host.shared_boundary, snp.shared_gpa_boundary);
    if wanted != boundary {
        let marks = |boundary: u64| match boundary {
            0 => "the C-bit".to_owned(),
            boundary => format!("addresses below {boundary:#x}"),
        };
        let reason = format!("private memory is marked by {}, here by {}", marks(boundary), marks(wanted));
        let remedy = "No option of ours builds such an image yet: run it on a host that knows the C-bit.";
        return refused(subject, reason, remedy);
    }
    if snp.highest_vtl != 0 && shown.host.vmsa == VmsaRule::OfKvmFirstOnly {
        let reason = format!("the file wants VTL {}, and this host has VTL 0 only", snp.highest_vtl);
        return refused(subject, reason, "Build it with highest VTL 0.");
    }
    fits(subject, "SEV-SNP, private memory by the C-bit")
}

fn headers(shown: &Shown<'_>) -> Finding {
    let subject = "headers";
    let mut unknown: Vec<&'static str> = Vec::new();
    for header in shown.headers() {
        match shown.host.headers.knows(header.place.kind) {
            None => {
                let reason = "which header types this loader knows is not documented".to_owned();
                return Finding { subject, verdict: Verdict::Unknown, reason, remedy: "" };
            }
            Some(false) if !unknown.contains(&header.place.type_name()) => {
                unknown.push(header.place.type_name())
            }
            Some(_) => {}
        }
    }
    if unknown.is_empty() {
        return fits(subject, "all types are known");
    }
    let remedy = match unknown[..] {
        ["MADT"] => "Build it with --no-madt.",
        _ => "Leave these headers out; `igvm-image build` itself can leave out only the MADT (--no-madt).",
    };
    refused(subject, format!("this loader does not know: {}", unknown.join(", ")), remedy)
}

fn vmsa_place(shown: &Shown<'_>) -> Finding {
    let subject = "VMSA address";
    let vmsas = shown.vmsas();
    if !vmsas.iter().any(|(_, vcpu, ..)| *vcpu == 0) {
        let reason = "there are no registers for vCPU 0".to_owned();
        return refused(subject, reason, "Give the file a VP context for vCPU 0.");
    }
    let rule = shown.host.vmsa;
    for (place, vcpu, address, _) in &vmsas {
        let is_of_kvm = *address == KVM_VMSA_ADDRESS;
        match rule {
            VmsaRule::OfKvm | VmsaRule::OfKvmFirstOnly if !is_of_kvm => {
                let reason =
                    format!("{place}: it lies at {address:#x}, here every VMSA is at {KVM_VMSA_ADDRESS:#x}");
                return refused(subject, reason, "Give the VP context that address.");
            }
            VmsaRule::OfKvmFirstOnly if *vcpu != 0 => {
                let reason = format!("{place}: this host takes the first vCPU's only");
                return refused(subject, reason, "Leave out the contexts of other vCPUs.");
            }
            VmsaRule::InMemory if is_of_kvm => {
                let reason = format!("{place}: it lies at {address:#x}, here it has to be in guest memory");
                return refused(
                    subject,
                    reason,
                    "Give the VP context a free page of guest memory; `igvm-image build` has no option for it yet.",
                );
            }
            _ => {}
        }
    }
    let is_direct = rule == VmsaRule::OfKvmOrInMemory
        && vmsas.iter().all(|(.., address, _)| *address != KVM_VMSA_ADDRESS);
    fits(
        subject,
        if is_direct {
            "in guest memory: only the file's VMSAs are launched"
        } else {
            "where this host has it"
        },
    )
}

fn vmsa_features(shown: &Shown<'_>) -> Finding {
    let subject = "SEV_FEATURES";
    let (offered, needed) = (shown.host.sev_features, shown.host.needed_features);
    for (place, .., vmsa) in shown.vmsas() {
        let features = SevFeatures::from_bits_retain(vmsa.sev_features);
        if !features.contains(needed) {
            let reason =
                format!("{place}: {:#x} lacks {}", features.bits(), names(needed.difference(features)));
            return refused(subject, reason, "Build the image with these features, if it can do with them.");
        }
        if !offered.contains(features) {
            let reason = format!(
                "{place}: {:#x} wants {}; this host offers {:#x}",
                features.bits(),
                names(features.difference(offered)),
                offered.bits()
            );
            return refused(subject, reason, "Build the image without these features.");
        }
    }
    fits(subject, "all are offered")
}

fn names(features: SevFeatures) -> String {
    let known: Vec<String> =
        features.iter_names().map(|(name, _)| name.to_lowercase().replace('_', " ")).collect();
    if known.is_empty() { format!("{:#x}", features.bits()) } else { known.join(", ") }
}

fn vmsa_registers(shown: &Shown<'_>) -> Finding {
    let subject = "registers";
    if shown.host.has_kvm_registers {
        for (place, .., vmsa) in shown.vmsas() {
            if !has_only_settable_registers(&vmsa) {
                let reason = format!("{place}: a register is set that this host does not hand to KVM");
                return refused(subject, reason, "Leave it zero, and set it in the firmware.");
            }
        }
    }
    fits(subject, "all reach the vCPU")
}

fn page_order(shown: &Shown<'_>) -> Finding {
    let subject = "order of pages";
    if !shown.host.has_qemu_queue {
        return fits(subject, "the file's");
    }
    let plan = match LaunchPlan::on_any_host(shown.file) {
        Ok(plan) => plan,
        Err(error) => return refused(subject, error.to_string(), "Mend the file at this place."),
    };
    for warning in &plan.warnings {
        match warning {
            Warning::MemoryAfterPages(_) => {
                return refused(subject, warning.to_string(), "Put REQUIRED_MEMORY before all pages.");
            }
            Warning::InsertAfterPages(_) => {
                return warns(subject, warning.to_string(), "Put the inserts before all pages.");
            }
            Warning::VmsaNotLast(_) => {
                return warns(subject, warning.to_string(), "Put the VP contexts behind all pages.");
            }
            _ => {}
        }
    }
    fits(subject, "the same for all loaders")
}

fn policy(shown: &Shown<'_>) -> Finding {
    let subject = "policy";
    let mask = shown.mask;
    let policy = shown.headers().filter_map(|header| match &header.body {
        Body::GuestPolicy(policy) if policy.compatibility_mask & mask != 0 => Some(policy.policy),
        _ => None,
    });
    let Some(policy) = policy.last() else {
        return refused(subject, "the file has none".to_owned(), "Build it with --policy.");
    };
    if !GuestPolicy(policy).is_well_formed() {
        let reason = format!("the PSP refuses {policy:#x}: bit 17 must be one and undefined bits zero");
        return refused(subject, reason, "Build it with another --policy.");
    }
    if shown.host.takes_policy_from_command_line && policy != DEFAULT_POLICY {
        let reason = format!(
            "the launch takes QEMU's own policy, {DEFAULT_POLICY:#x} by default, and not the file's {policy:#x}"
        );
        return warns(subject, reason, "Give it to QEMU: -object sev-snp-guest,policy=...");
    }
    fits(subject, format!("{policy:#x}"))
}

fn id_block(shown: &Shown<'_>) -> Finding {
    let subject = "ID block";
    let mask = shown.mask;
    let count = shown
        .headers()
        .filter(|header| matches!(&header.body, Body::IdBlock(block) if block.compatibility_mask & mask != 0))
        .count();
    match (count, shown.host.needs_id_block) {
        (0, true) => refused(
            subject,
            "this host launches no image without one".to_owned(),
            "Add one: igvm-image sign --id-key FILE.",
        ),
        (0, false) => fits(subject, "none, and none is needed"),
        (1, _) => fits(subject, "one"),
        (count, _) => refused(subject, format!("the file has {count}"), "Leave one."),
    }
}

fn addresses(shown: &Shown<'_>) -> Finding {
    let subject = "addresses";
    let Some((start, end)) = shown.span() else { return fits(subject, "nothing is launched") };
    if let Some((first, last)) = shown.host.region {
        if start < first || end > last {
            let reason = format!(
                "the image lies at {start:#x} to {end:#x}, here firmware lies in {first:#x} to {last:#x}"
            );
            return refused(subject, reason, "Build it with --region-base 0x7ff80000000.");
        }
    } else if end > DEFAULT_ADDRESS_END {
        let reason =
            format!("the image reaches {end:#x}, beyond the 40 bits that a virtual CPU has by default");
        return warns(
            subject,
            reason,
            "Start the VM with -cpu ...,host-phys-bits=on, or build it with a lower --region-base.",
        );
    }
    fits(subject, format!("{start:#x} to {end:#x}"))
}

fn lower_levels(shown: &Shown<'_>) -> Finding {
    let subject = "levels below VMPL0";
    if shown.host.has_lower_levels {
        return fits(subject, "the host runs them");
    }
    let reason = "the host has none: our firmware starts and ends with termination 8:7".to_owned();
    warns(subject, reason, "Use a kernel with planes (svsm-v7.2) to run a guest.")
}
