//! What a host answers while the guest runs: the GHCB protocol, AP creation, switches of VMPL, reset and ends.

use snp_abi::ghcb::HypervisorFeatures;

/// A request over the GHCB MSR that the host does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownRequest {
    /// The value stays as it is and the vCPU goes on (sev.c:4489).
    Unchanged,
    /// It is reported and ends the guest.
    EndsGuest,
}

/// How RUN_VMPL and the levels of a vCPU work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Levels {
    /// None below VMPL0: the request is unknown.
    One,
    /// Planes (planes 35, 57, 58): the lowest runnable one runs; AP creation never switches; RUN_VMPL is never refused for levels 1 to 3,
    /// and ends the VM where the level cannot run.
    Planes,
    /// A kernel vCPU for each level: RUN_VMPL is refused where there is no VMSA (fork, `sev_snp_run_vmpl`).
    Vcpus,
    /// As [`Self::Vcpus`], and a VMSA with EFER.SVME clear is refused too, which no host can see.
    Kind,
}

/// What AP creation compares and refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApCreationRules {
    /// RAX equals the VM's SEV_FEATURES; a VMPL in the request is unknown (sev.c:4157).
    Mainline,
    /// RAX equals what the first creation at that level had; the caller's level counts for VMPL0 only (planes 57).
    Planes,
    /// As planes, and RAX is forced to have SNP (fork).
    Fork,
    /// RAX equals the VMSA's own field, and levels above the caller's are refused.
    Kind,
}

/// What a reset of the guest comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The process ends (QEMU 10: "cpus are not resettable").
    EndsRun,
    /// The VM is launched anew: new keys, zero memory, the same digest (QEMU 11).
    LaunchesAnew,
    /// VMPL0 may start its guest again; no host does this.
    LeftToVmpl0,
}

/// A host's answers.
#[derive(Clone, Copy, Debug)]
pub struct Contract {
    /// MSR 0x080, event 0x8000FFFD.
    pub features: HypervisorFeatures,
    /// MSR protocol.
    pub unknown_request: UnknownRequest,
    /// RUN_VMPL and what runs.
    pub levels: Levels,
    /// Event 0x80000013.
    pub ap_creation: ApCreationRules,
    /// The rest of the GHCB protocol follows KVM to the letter (sev.c:3399-3731, 3784-4030, 4364-4600): registration is never refused,
    /// the valid bitmap is cleared on entry and RAX to RDX and both information words are valid on return, scratch areas lie in the
    /// GHCB page, refusals have KVM's numbers. Otherwise it is as forgiving as the GHCB specification lets a host be.
    pub follows_kvm: bool,
    /// A reset of the guest.
    pub reset: Reset,
}

const SVSM_FEATURES: HypervisorFeatures = HypervisorFeatures::SNP
    .union(HypervisorFeatures::AP_CREATION)
    .union(HypervisorFeatures::RESTRICTED_INJECTION)
    .union(HypervisorFeatures::APIC_ID_LIST)
    .union(HypervisorFeatures::MULTI_VMPL);

/// KVM with planes (planes 56, 57, 58, 60).
pub(crate) const PLANES: Contract = Contract {
    features: SVSM_FEATURES,
    unknown_request: UnknownRequest::Unchanged,
    levels: Levels::Planes,
    ap_creation: ApCreationRules::Planes,
    follows_kvm: true,
    reset: Reset::LaunchesAnew,
};

/// Mainline KVM (sev.c:43).
pub(crate) const MAINLINE: Contract = Contract {
    features: HypervisorFeatures::SNP.union(HypervisorFeatures::AP_CREATION),
    levels: Levels::One,
    ap_creation: ApCreationRules::Mainline,
    ..PLANES
};

/// The older fork; its QEMU ends at a reset.
pub(crate) const FORK: Contract =
    Contract { levels: Levels::Vcpus, ap_creation: ApCreationRules::Fork, reset: Reset::EndsRun, ..PLANES };

/// No host.
pub(crate) const PLAIN: Contract = Contract {
    features: HypervisorFeatures::SNP
        .union(HypervisorFeatures::AP_CREATION)
        .union(HypervisorFeatures::APIC_ID_LIST)
        .union(HypervisorFeatures::MULTI_VMPL),
    unknown_request: UnknownRequest::EndsGuest,
    levels: Levels::Kind,
    ap_creation: ApCreationRules::Kind,
    follows_kvm: false,
    reset: Reset::LeftToVmpl0,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_features_are_the_words_that_hosts_send() {
        let words = [PLANES, MAINLINE, FORK, PLAIN].map(|contract| contract.features.bits());
        assert_eq!(words, [0x37, 0x03, 0x37, 0x33]);
    }
}
