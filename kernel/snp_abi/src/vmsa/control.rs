//! `SEV_FEATURES` and `VINTR_CTRL` of the VMSA (AMD 24593 volume 2, table B-4 and 15.36.21).

use bitflags::bitflags;

bitflags! {
    /// `SEV_FEATURES`, offset 0x3B0.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct SevFeatures: u64 {
        /// The guest is an SNP guest.
        const SNP_ACTIVE = 1 << 0;
        /// Virtual top of memory.
        const VIRTUAL_TOM = 1 << 1;
        /// Intercepts become automatic exits.
        const REFLECT_VC = 1 << 2;
        /// Only #HV may be injected.
        const RESTRICTED_INJECTION = 1 << 3;
        /// Injection through the VMSA.
        const ALTERNATE_INJECTION = 1 << 4;
        /// Debug registers are swapped.
        const DEBUG_SWAP = 1 << 5;
        /// No host instruction-based sampling.
        const PREVENT_HOST_IBS = 1 << 6;
        /// Branch target isolation.
        const BTB_ISOLATION = 1 << 7;
        /// Supervisor shadow stack permission.
        const VMPL_SSS = 1 << 8;
        /// Guest-owned TSC scale and offset.
        const SECURE_TSC = 1 << 9;
        /// VMGEXIT parameter.
        const VMGEXIT_PARAMETER = 1 << 10;
        /// Performance counters are virtualised.
        const PMC_VIRTUALIZATION = 1 << 11;
        /// Instruction-based sampling is virtualised.
        const IBS_VIRTUALIZATION = 1 << 12;
        /// The guest decides on its intercepts.
        const GUEST_INTERCEPT_CONTROL = 1 << 13;
        /// Register protection nonce.
        const VMSA_REGISTER_PROTECTION = 1 << 14;
        /// Idle siblings.
        const SMT_PROTECTION = 1 << 15;
        /// Secure AVIC.
        const SECURE_AVIC = 1 << 16;
        /// Indirect branch prediction barrier on entry.
        const IBPB_ON_ENTRY = 1 << 21;
        // A later processor's features must survive a copy from the caller's VMSA.
        const _ = !0;
    }

    /// Flag bits of `VINTR_CTRL`, offset 0x3B8; the numeric fields are read with [`VirtualInterrupt`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct VirtualInterruptFlags: u64 {
        /// An interrupt is pending.
        const INTERRUPT_PENDING = 1 << 8;
        /// Global interrupt flag.
        const GLOBAL_INTERRUPT_FLAG = 1 << 9;
        /// The next instruction is in an interrupt shadow.
        const INTERRUPT_SHADOW = 1 << 10;
        /// An NMI is pending.
        const NMI_PENDING = 1 << 11;
        /// NMIs are masked.
        const NMI_MASK = 1 << 12;
        /// The task priority is not compared.
        const IGNORE_TASK_PRIORITY = 1 << 20;
        /// NMI virtualisation.
        const NMI_ENABLE = 1 << 26;
        /// VMRUN fails with `VMEXIT_BUSY`: the VMSA may be edited.
        const BUSY = 1 << 63;
    }
}

/// `VINTR_CTRL` in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtualInterrupt {
    /// Task priority, bits 7:0.
    pub task_priority: u8,
    /// Priority of the pending interrupt, bits 19:16.
    pub priority: u8,
    /// Vector of the pending interrupt, bits 39:32.
    pub vector: u8,
    /// The flags.
    pub flags: VirtualInterruptFlags,
}

impl VirtualInterrupt {
    /// The register; of the priority only four bits are kept.
    #[must_use]
    pub const fn encode(self) -> u64 {
        self.flags.bits()
            | self.task_priority as u64
            | ((self.priority & 0xF) as u64) << 16
            | (self.vector as u64) << 32
    }

    /// Reads the register; undefined bits are dropped.
    #[must_use]
    pub const fn decode(value: u64) -> Self {
        Self {
            task_priority: value as u8,
            priority: (value >> 16) as u8 & 0xF,
            vector: (value >> 32) as u8,
            flags: VirtualInterruptFlags::from_bits_truncate(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_interrupt_fields_do_not_overlap() {
        let value = VirtualInterrupt {
            task_priority: 0xFF,
            priority: 0xF,
            vector: 0xFF,
            flags: VirtualInterruptFlags::all(),
        };
        assert_eq!(value.encode(), 0x8000_00FF_041F_1FFF);
        assert_eq!(VirtualInterrupt::decode(value.encode()), value);
    }

    #[test]
    fn a_busy_vmsa_is_bit_63() {
        assert_eq!(VirtualInterruptFlags::BUSY.bits(), 0x8000_0000_0000_0000);
    }
}
