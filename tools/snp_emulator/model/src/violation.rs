//! What a program relied on although hardware forbids it, or a claim of this project's threat model that does not hold.

use core::fmt;
use snp_abi::rmp::{Permissions, Vmpl};

/// One reliance on what hardware forbids, or on what it leaves undefined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A VMPL touched a page that its permissions do not allow.
    VmplPermission {
        /// Guest-physical address.
        address: u64,
        /// What it needed, as a permission mask.
        needed: u8,
        /// What it had.
        had: u8,
    },
    /// A translation was used after the page changed and before its TLB entry was flushed.
    StaleTranslation {
        /// Guest-physical address.
        address: u64,
    },
    /// A page was given to the host before the translations of it were flushed.
    SharedBeforeFlush {
        /// Guest-physical address.
        address: u64,
    },
    /// A page became a VMSA before the guest's translations of it were flushed.
    VmsaBeforeFlush {
        /// Guest-physical address.
        address: u64,
    },
    /// A page was granted to a lower VMPL with the contents that its assignment left.
    GrantedUnwritten {
        /// Guest-physical address.
        address: u64,
        /// The VMPL it was granted to.
        target: Vmpl,
    },
    /// Memory of the firmware is within reach of a lower VMPL when the run ends.
    FirmwareExposed {
        /// Guest-physical address.
        address: u64,
        /// The VMPL that can access it.
        target: Vmpl,
    },
    /// The firmware's ledger has another state for a page than the RMP when the run ends.
    LedgerDiffers {
        /// Guest-physical address.
        address: u64,
        /// The state in the ledger, as a number.
        recorded: u8,
    },
    /// A shared mapping was written although the page is private and validated.
    SharedWriteToPrivate {
        /// Guest-physical address.
        address: u64,
    },
    /// A private mapping of an address that has no memory.
    PrivateDevice {
        /// Guest-physical address.
        address: u64,
    },
    /// PVALIDATE, RMPADJUST or RMPQUERY through a shared mapping.
    InstructionOnSharedMapping {
        /// Guest-physical address.
        address: u64,
    },
    /// PVALIDATE, RMPADJUST or RMPQUERY on an address without memory.
    InstructionWithoutMemory {
        /// Guest-physical address.
        address: u64,
    },
    /// RMPADJUST or RMPQUERY on a page that is not validated.
    AdjustUnvalidated {
        /// Guest-physical address.
        address: u64,
    },
    /// PVALIDATE rescinded a page that a vCPU runs as its VMSA.
    RescindedVmsa {
        /// Guest-physical address.
        address: u64,
    },
    /// The host was asked to run a page that is not a VMSA of that level, or not runnable.
    BadVmsa {
        /// Guest-physical address.
        address: u64,
        /// Which check failed.
        why: &'static str,
    },
    /// The GHCB is used without registration, or from a private page.
    Ghcb {
        /// Guest-physical address.
        address: u64,
        /// Which rule it broke.
        why: &'static str,
    },
    /// A #VC could not be delivered.
    NoHandler {
        /// #VC error code.
        code: u64,
        /// What is missing.
        why: &'static str,
    },
    /// A device was told to access private memory.
    DeviceAccess {
        /// Guest-physical address.
        address: u64,
    },
    /// A PCI device accessed memory that is not shared.
    DeviceReach {
        /// Guest-physical address of the page.
        address: u64,
        /// Bus (15:8), device (7:3) and function (2:0).
        device: u16,
    },
    /// VMPL0 fetched code that is not the firmware's measured text: it is lost.
    ForeignCode {
        /// Guest-physical address.
        address: u64,
    },
    /// VMPL0 asked the host for a register that its security rests on.
    AskedTheHost {
        /// Number of the register.
        register: u32,
    },
    /// A request that breaks the GHCB protocol.
    Protocol {
        /// The offending value.
        value: u64,
        /// Which rule it broke.
        why: &'static str,
    },
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Hardware forbids it. It ends a strict run.
    Fault,
    /// A claim of this project's threat model is broken, though hardware allows what was done. It ends a run that is judged by the claims, and
    /// is nothing in any other.
    Breach,
    /// Nothing forbids it, and nobody who does it means it.
    Advice,
}

impl Fault {
    /// How bad it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::SharedBeforeFlush { .. }
            | Self::VmsaBeforeFlush { .. }
            | Self::GrantedUnwritten { .. }
            | Self::FirmwareExposed { .. }
            | Self::LedgerDiffers { .. } => Kind::Breach,
            Self::DeviceAccess { .. } | Self::Ghcb { .. } | Self::Protocol { .. } => Kind::Advice,
            Self::VmplPermission { .. }
            | Self::StaleTranslation { .. }
            | Self::SharedWriteToPrivate { .. }
            | Self::PrivateDevice { .. }
            | Self::InstructionOnSharedMapping { .. }
            | Self::InstructionWithoutMemory { .. }
            | Self::AdjustUnvalidated { .. }
            | Self::RescindedVmsa { .. }
            | Self::BadVmsa { .. }
            | Self::NoHandler { .. }
            | Self::DeviceReach { .. }
            // Asked of firmware only while a host attacks it (`attack`), so that nobody else meets them.
            | Self::ForeignCode { .. }
            | Self::AskedTheHost { .. } => Kind::Fault,
        }
    }
}

/// A fault, and who committed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// vCPU number.
    pub vcpu: usize,
    /// Level that was running.
    pub vmpl: Vmpl,
    /// What happened.
    pub fault: Fault,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::VmplPermission { address, needed, had } => write!(
                out,
                "access to {address:#x} needs the permissions {} and has {}; hardware leaves the guest with a nested page fault (APM 2, 15.36.8)",
                Words(needed),
                Words(had)
            ),
            Self::StaleTranslation { address } => write!(
                out,
                "{address:#x} used through a translation that was not flushed since the page changed; hardware may honour the old one (APM 2, 15.36.8)"
            ),
            Self::SharedBeforeFlush { address } => write!(
                out,
                "page {address:#x} given to the host without a TLB flush since it was rescinded; another vCPU may still write the old page"
            ),
            Self::VmsaBeforeFlush { address } => write!(
                out,
                "page {address:#x} made a VMSA without a TLB flush since the guest's rights to it were revoked; the guest may still write it"
            ),
            Self::GrantedUnwritten { address, target } => write!(
                out,
                "page {address:#x} granted to VMPL{} with the contents that its assignment left: it was not zeroed, so the host may have mapped any old page of the guest there",
                target.to_wire()
            ),
            Self::FirmwareExposed { address, target } => write!(
                out,
                "page {address:#x} of the firmware's own memory is accessible to VMPL{} at the end of the run; its contents are VMPL0's secrets and code",
                target.to_wire()
            ),
            Self::LedgerDiffers { address, recorded } => write!(
                out,
                "the firmware's ledger has page {address:#x} in state {recorded}, the RMP does not; the next decision about the page rests on an error"
            ),
            Self::SharedWriteToPrivate { address } => write!(
                out,
                "write through a shared mapping to the private page {address:#x}; hardware raises a nested page fault (APM 2, 15.36.10)"
            ),
            Self::PrivateDevice { address } => {
                write!(
                    out,
                    "private access to {address:#x}, where there is no memory; hardware finds no RMP entry of the guest's and leaves it with a nested page fault (APM 2, 15.36.10)"
                )
            }
            Self::InstructionOnSharedMapping { address } => write!(
                out,
                "RMP instruction on {address:#x} through a shared mapping; hardware refuses a mapping without the C-bit (APM 3, PVALIDATE)"
            ),
            Self::InstructionWithoutMemory { address } => {
                write!(
                    out,
                    "RMP instruction on {address:#x}, where there is no memory; hardware leaves the guest with a nested page fault (APM 2, 15.36.10)"
                )
            }
            Self::AdjustUnvalidated { address } => write!(
                out,
                "RMPADJUST or RMPQUERY on the page {address:#x}, which is not validated; hardware raises #VC with code 0x404 (APM 3)"
            ),
            Self::RescindedVmsa { address } => {
                write!(
                    out,
                    "PVALIDATE rescinds {address:#x}, which is a vCPU's VMSA; the next VMRUN of it fails and its level never runs again (APM 2, 15.36.12)"
                )
            }
            Self::BadVmsa { address, why } => {
                write!(out, "VMSA {address:#x} cannot be run: {why} (APM 2, 15.36.12)")
            }
            Self::Ghcb { address, why } => write!(
                out,
                "GHCB {address:#x}: {why}; the host cannot read the request (GHCB specification, 2.3)"
            ),
            Self::NoHandler { code, why } => write!(
                out,
                "#VC({code:#x}) cannot be delivered: {why}; the processor goes on to a triple fault (APM 2, 15.35.5)"
            ),
            Self::DeviceAccess { address } => {
                write!(out, "a device accesses private memory at {address:#x}; it would see ciphertext")
            }
            Self::DeviceReach { address, device } => write!(
                out,
                "the PCI device {:02x}:{:02x}.{} accesses the page {address:#x}, which the guest does not share; the IOMMU finds in the RMP that it is not the host's (APM 2, 15.36.10)",
                device >> 8,
                device >> 3 & 0x1f,
                device & 7
            ),
            Self::ForeignCode { address } => foreign_code(out, address),
            Self::AskedTheHost { register } => asked_the_host(out, register),
            Self::Protocol { value, why } => write!(
                out,
                "GHCB protocol: {why} ({value:#x}); a host ends such a guest (GHCB specification, 2.3)"
            ),
        }
    }
}

fn foreign_code(out: &mut fmt::Formatter<'_>, address: u64) -> fmt::Result {
    write!(
        out,
        "VMPL0 lost: it executes {address:#x}, which is not measured text of the firmware; whoever writes that page owns the VM"
    )
}

fn asked_the_host(out: &mut fmt::Formatter<'_>, register: u32) -> fmt::Result {
    write!(
        out,
        "VMPL0 lost: it asked the host for the register {register:#x}, and goes on with what the host makes up"
    )
}

/// A permission mask in words.
struct Words(u8);

impl fmt::Display for Words {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Permissions::READ, "read"),
            (Permissions::WRITE, "write"),
            (Permissions::USER_EXECUTE, "user-execute"),
            (Permissions::SUPERVISOR_EXECUTE, "supervisor-execute"),
        ];
        let mut separator = "";
        for (_, name) in names.iter().filter(|(permission, _)| self.0 & permission.bits() != 0) {
            write!(out, "{separator}{name}")?;
            separator = "+";
        }
        if self.0 == 0 { out.write_str("none") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_violation_names_address_and_permissions() {
        let fault = Fault::VmplPermission { address: 0x3000, needed: 3, had: 0 };
        let text = fault.to_string();
        assert!(
            text.starts_with("access to 0x3000 needs the permissions read+write and has none;"),
            "{text}"
        );
    }
}
