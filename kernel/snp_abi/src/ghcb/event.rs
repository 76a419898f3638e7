//! Non-automatic exits: exit codes, what their information words mean, and the host's answer (AMD 56421, "NAE
//! events"; exit code numbers of the architecture from AMD 24593 appendix C).

use crate::wire_enum::wire_enum;

wire_enum! {
    /// `SW_EXITCODE`. The architectural codes are also the error codes of #VC.
    pub enum ExitCode: u32 {
        /// Read of DR7.
        ReadDr7 = 0x27,
        /// Write of DR7.
        WriteDr7 = 0x37,
        /// RDTSC.
        Rdtsc = 0x6E,
        /// RDPMC.
        Rdpmc = 0x6F,
        /// CPUID.
        Cpuid = 0x72,
        /// INVD.
        Invd = 0x76,
        /// IN, OUT and their string forms; `SW_EXITINFO1` is an [`IoInformation`].
        Ioio = 0x7B,
        /// RDMSR (information word 0) and WRMSR (1).
        Msr = 0x7C,
        /// VMMCALL.
        Vmmcall = 0x81,
        /// RDTSCP.
        Rdtscp = 0x87,
        /// WBINVD.
        Wbinvd = 0x89,
        /// MONITOR.
        Monitor = 0x8A,
        /// MWAIT.
        Mwait = 0x8B,
        /// Nested page fault, as #VC error code: access to emulated memory.
        NestedPageFault = 0x400,
        /// #VC error code only: access to a private page that is not validated.
        PageNotValidated = 0x404,
        /// #VC error code only: an exit after which the instruction cannot be repeated.
        NotRestartable = 0x406,
        /// Read of emulated memory: address, byte count, buffer in `SW_SCRATCH`.
        MmioRead = 0x8000_0001,
        /// Write of emulated memory: address, byte count, data in `SW_SCRATCH`.
        MmioWrite = 0x8000_0002,
        /// The NMI handler is done.
        NmiComplete = 0x8000_0003,
        /// Sleep until the start-up IPI.
        ApResetHold = 0x8000_0004,
        /// Set (0) or get (1) the SEV-ES jump table.
        ApJumpTable = 0x8000_0005,
        /// Page state change list in `SW_SCRATCH`.
        PageStateChange = 0x8000_0010,
        /// Message to the PSP: request page, response page.
        GuestRequest = 0x8000_0011,
        /// Message to the PSP with certificates: data pages in RAX and RBX.
        ExtendedGuestRequest = 0x8000_0012,
        /// vCPU from a VMSA: see [`super::ap_creation`].
        ApCreation = 0x8000_0013,
        /// #HV doorbell page.
        DoorbellPage = 0x8000_0014,
        /// IPI by way of the #HV doorbell page.
        DoorbellIpi = 0x8000_0015,
        /// Timer of the #HV doorbell page.
        DoorbellTimer = 0x8000_0016,
        /// List of APIC ids: buffer address; RAX is the buffer's pages.
        ApicIdList = 0x8000_0017,
        /// Continue this vCPU at the VMPL in `SW_EXITINFO1`.
        RunVmpl = 0x8000_0018,
        /// Backing page of secure AVIC.
        SecureAvic = 0x8000_001A,
        /// What can the host do; the answer is in `SW_EXITINFO2`.
        HypervisorFeatures = 0x8000_FFFD,
        /// End the guest: reason set in bits 3:0, code in bits 11:4.
        Terminate = 0x8000_FFFE,
        /// A #VC that the guest does not handle; `SW_EXITINFO1` is its error code.
        Unsupported = 0x8000_FFFF,
    }
}

/// `SW_EXITINFO1` of [`ExitCode::Msr`]: the guest reads.
pub const MSR_READ: u64 = 0;
/// `SW_EXITINFO1` of [`ExitCode::Msr`]: the guest writes.
pub const MSR_WRITE: u64 = 1;

/// The exception vector of #VC.
pub const VC_VECTOR: u8 = 29;
/// The exception vector of #HV.
pub const HV_VECTOR: u8 = 28;

wire_enum! {
    /// Operand size of an IO instruction, as one-hot bits 6:4.
    pub enum IoSize: u8 {
        /// 8 bits.
        Byte = 1,
        /// 16 bits.
        Word = 2,
        /// 32 bits.
        Dword = 4,
    }
}

impl IoSize {
    /// Bytes moved by one access; equal to the encoding.
    #[must_use]
    pub const fn bytes(self) -> u8 {
        self.to_wire()
    }
}

wire_enum! {
    /// Address size of a string IO instruction, as one-hot bits 9:7.
    pub enum IoAddressSize: u8 {
        /// 16-bit addressing.
        Bits16 = 1,
        /// 32-bit addressing.
        Bits32 = 2,
        /// 64-bit addressing.
        Bits64 = 4,
    }
}

/// `SW_EXITINFO1` of [`ExitCode::Ioio`] (AMD 24593 volume 2, 15.10.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoInformation {
    /// IN rather than OUT.
    pub is_input: bool,
    /// INS or OUTS.
    pub is_string: bool,
    /// A REP prefix.
    pub is_repeated: bool,
    /// Operand size.
    pub size: IoSize,
    /// Address size; not read by hosts for the non-string forms, `None` if no bit is set.
    pub address_size: Option<IoAddressSize>,
    /// Segment of the string operand (0 is ES, 3 is DS), three bits.
    pub segment: u8,
    /// The port.
    pub port: u16,
}

/// An information word with an impossible size field or with reserved bits set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidIoInformation;

impl IoInformation {
    const RESERVED: u64 = 0xFFFF_FFFF_0000_E002 | 0b10;

    /// A plain IN or OUT with 64-bit address size, as 64-bit firmware issues it.
    #[must_use]
    pub const fn plain(port: u16, size: IoSize, is_input: bool) -> Self {
        Self {
            is_input,
            is_string: false,
            is_repeated: false,
            size,
            address_size: Some(IoAddressSize::Bits64),
            segment: 0,
            port,
        }
    }

    /// The information word.
    #[must_use]
    pub const fn encode(self) -> u64 {
        let address_size = match self.address_size {
            Some(size) => size.to_wire() as u64,
            None => 0,
        };
        self.is_input as u64
            | (self.is_string as u64) << 2
            | (self.is_repeated as u64) << 3
            | (self.size.to_wire() as u64) << 4
            | address_size << 7
            | ((self.segment & 0b111) as u64) << 10
            | (self.port as u64) << 16
    }

    /// Reads an information word.
    ///
    /// # Errors
    /// If a size field is not one-hot or a reserved bit is set.
    pub const fn decode(value: u64) -> Result<Self, InvalidIoInformation> {
        if value & Self::RESERVED != 0 {
            return Err(InvalidIoInformation);
        }
        let Some(size) = IoSize::from_wire((value >> 4) as u8 & 0b111) else {
            return Err(InvalidIoInformation);
        };
        let address_size = match (value >> 7) as u8 & 0b111 {
            0 => None,
            bits => match IoAddressSize::from_wire(bits) {
                Some(size) => Some(size),
                None => return Err(InvalidIoInformation),
            },
        };
        Ok(Self {
            is_input: value & 1 != 0,
            is_string: value & 1 << 2 != 0,
            is_repeated: value & 1 << 3 != 0,
            size,
            address_size,
            segment: (value >> 10) as u8 & 0b111,
            port: (value >> 16) as u16,
        })
    }
}

wire_enum! {
    /// Kind of an injected event.
    pub enum EventKind: u8 {
        /// External interrupt.
        Interrupt = 0,
        /// NMI.
        Nmi = 2,
        /// Exception.
        Exception = 3,
        /// Software interrupt.
        SoftwareInterrupt = 4,
    }
}

/// An event in EVENTINJ form, used by the VMCB, the VMSA and the host's answer (AMD 24593 volume 2, 15.20).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventInjection {
    /// Vector of the event.
    pub vector: u8,
    /// Kind of the event.
    pub kind: EventKind,
    /// Error code to push, if the event has one.
    pub error_code: Option<u32>,
}

/// A valid event whose kind does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidEvent;

impl EventInjection {
    const ERROR_CODE_VALID: u64 = 1 << 11;
    const VALID: u64 = 1 << 31;

    /// #GP with error code 0.
    pub const GENERAL_PROTECTION: Self = Self { vector: 13, kind: EventKind::Exception, error_code: Some(0) };
    /// #UD.
    pub const INVALID_OPCODE: Self = Self { vector: 6, kind: EventKind::Exception, error_code: None };

    /// The event as EVENTINJ.
    #[must_use]
    pub const fn encode(self) -> u64 {
        let error_code = match self.error_code {
            Some(code) => (code as u64) << 32 | Self::ERROR_CODE_VALID,
            None => 0,
        };
        self.vector as u64 | (self.kind.to_wire() as u64) << 8 | error_code | Self::VALID
    }

    /// Reads EVENTINJ; `Ok(None)` if it holds no event. Reserved bits are ignored, as the processor does.
    ///
    /// # Errors
    /// If an event is there but its kind does not exist.
    pub const fn decode(value: u64) -> Result<Option<Self>, InvalidEvent> {
        if value & Self::VALID == 0 {
            return Ok(None);
        }
        let Some(kind) = EventKind::from_wire((value >> 8) as u8 & 0b111) else {
            return Err(InvalidEvent);
        };
        let error_code = if value & Self::ERROR_CODE_VALID != 0 { Some((value >> 32) as u32) } else { None };
        Ok(Some(Self { vector: value as u8, kind, error_code }))
    }
}

wire_enum! {
    /// Why a host refused a request as malformed (`SW_EXITINFO2`).
    pub enum MalformedRequest: u32 {
        /// The GHCB page was not registered.
        NotRegistered = 1,
        /// The usage field names no known layout.
        InvalidUsage = 2,
        /// `SW_SCRATCH` names no usable buffer.
        InvalidScratchArea = 3,
        /// A field that the event needs is not marked valid.
        MissingInput = 4,
        /// A field holds a value that the event does not allow.
        InvalidInput = 5,
        /// The exit code is unknown to the host.
        InvalidEvent = 6,
    }
}

/// What the host says in `SW_EXITINFO1` and `SW_EXITINFO2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostAnswer {
    /// The event was handled; the second word belongs to the event.
    Done {
        /// `SW_EXITINFO2`.
        information: u64,
    },
    /// The guest shall raise this exception.
    Exception(EventInjection),
    /// The request was malformed.
    Malformed(MalformedRequest),
}

/// An answer that no well-behaved host gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidAnswer;

impl HostAnswer {
    /// The two information words.
    #[must_use]
    pub const fn encode(self) -> (u64, u64) {
        match self {
            Self::Done { information } => (0, information),
            Self::Exception(event) => (1, event.encode()),
            Self::Malformed(reason) => (2, reason.to_wire() as u64),
        }
    }

    /// Reads the two information words. Only #GP and #UD are accepted as exceptions: anything else would let the
    /// host raise events that the guest's code did not cause.
    ///
    /// # Errors
    /// For an unknown answer code, reason or exception.
    pub const fn decode(exit_info_1: u64, exit_info_2: u64) -> Result<Self, InvalidAnswer> {
        match exit_info_1 as u32 {
            0 => Ok(Self::Done { information: exit_info_2 }),
            1 => match EventInjection::decode(exit_info_2) {
                Ok(Some(event @ EventInjection { vector: 6 | 13, kind: EventKind::Exception, .. })) => {
                    Ok(Self::Exception(event))
                }
                _ => Err(InvalidAnswer),
            },
            2 => match MalformedRequest::from_wire(exit_info_2 as u32) {
                Some(reason) => Ok(Self::Malformed(reason)),
                None => Err(InvalidAnswer),
            },
            _ => Err(InvalidAnswer),
        }
    }
}
