//! Reads an IGVM file: every header with its index and place, every reference into the data checked.
//!
//! The `igvm` crate reads files too, but its errors do not say where, and it trusts offsets that a hostile file
//! chooses. [`crate::launch`] still asks it afterwards, because it is what QEMU's loader is built on.

use igvm_defs::{
    IGVM_FIXED_HEADER, IGVM_FIXED_HEADER_V2, IGVM_FORMAT_VERSION_1, IGVM_FORMAT_VERSION_2, IGVM_MAGIC_VALUE,
    IGVM_VHS_GUEST_POLICY, IGVM_VHS_PAGE_DATA, IGVM_VHS_PARAMETER, IGVM_VHS_PARAMETER_AREA,
    IGVM_VHS_PARAMETER_INSERT, IGVM_VHS_REQUIRED_MEMORY, IGVM_VHS_SNP_ID_BLOCK, IGVM_VHS_SUPPORTED_PLATFORM,
    IGVM_VHS_VARIABLE_HEADER, IGVM_VHS_VP_CONTEXT, IgvmVariableHeaderType as Type,
};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Bytes of a page of data.
const PAGE: usize = 0x1000;

/// A file, in order. No `Debug`: it would print the file.
pub struct ImageFile<'a> {
    /// Bytes of the file.
    pub bytes: &'a [u8],
    /// Format version, 1 or 2.
    pub format_version: u32,
    /// All variable headers.
    pub headers: Vec<Header<'a>>,
}

/// One variable header.
pub struct Header<'a> {
    /// Which header it is and where it starts.
    pub place: Place,
    /// What it says.
    pub body: Body<'a>,
}

/// Where a header is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of the header, from 0.
    pub index: usize,
    /// Offset of the header in the file.
    pub offset: usize,
    /// Type number of the header.
    pub kind: u32,
}

/// Parameters that a loader fills in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// Number of vCPUs, u32.
    VcpuCount,
    /// Memory map.
    MemoryMap,
    /// Environment information, u32.
    Environment,
    /// ACPI MADT.
    Madt,
    /// ACPI SRAT.
    Srat,
    /// ACPI SLIT.
    Slit,
    /// ACPI PPTT.
    Pptt,
    /// Ranges for memory-mapped devices.
    MmioRanges,
    /// The command line, as a string that ends in a zero.
    CommandLine,
    /// A flattened device tree.
    DeviceTree,
}

/// What a header says.
pub enum Body<'a> {
    /// A platform that the file supports.
    Platform(IGVM_VHS_SUPPORTED_PLATFORM),
    /// The guest policy.
    GuestPolicy(IGVM_VHS_GUEST_POLICY),
    /// Memory for parameters.
    ParameterArea(IGVM_VHS_PARAMETER_AREA),
    /// A parameter that goes into an area.
    Parameter(ParameterKind, IGVM_VHS_PARAMETER),
    /// Where an area goes in guest memory.
    ParameterInsert(IGVM_VHS_PARAMETER_INSERT),
    /// A page, with its data if it has any.
    PageData(IGVM_VHS_PAGE_DATA, Option<&'a [u8; PAGE]>),
    /// A vCPU's registers.
    VcpuContext(IGVM_VHS_VP_CONTEXT, &'a [u8; PAGE]),
    /// Memory that the guest must have.
    RequiredMemory(IGVM_VHS_REQUIRED_MEMORY),
    /// ID block and signatures.
    IdBlock(Box<IGVM_VHS_SNP_ID_BLOCK>),
    /// A header type that this program does not look into.
    Other,
}

/// Names of header types, for messages.
const TYPE_NAMES: &[(Type, &str)] = &[
    (Type::IGVM_VHT_SUPPORTED_PLATFORM, "supported platform"),
    (Type::IGVM_VHT_GUEST_POLICY, "guest policy"),
    (Type::IGVM_VHT_RELOCATABLE_REGION, "relocatable region"),
    (Type::IGVM_VHT_PAGE_TABLE_RELOCATION_REGION, "page table relocation"),
    (Type::IGVM_VHT_CCA_POLICY, "CCA policy"),
    (Type::IGVM_VHT_VERSION_STRING, "version string"),
    (Type::IGVM_VHT_PARAMETER_AREA, "parameter area"),
    (Type::IGVM_VHT_PAGE_DATA, "page data"),
    (Type::IGVM_VHT_PARAMETER_INSERT, "parameter insert"),
    (Type::IGVM_VHT_VP_CONTEXT, "VP context"),
    (Type::IGVM_VHT_REQUIRED_MEMORY, "required memory"),
    (Type::IGVM_VHT_VP_COUNT_PARAMETER, "VP count"),
    (Type::IGVM_VHT_SRAT, "SRAT"),
    (Type::IGVM_VHT_MADT, "MADT"),
    (Type::IGVM_VHT_MMIO_RANGES, "MMIO ranges"),
    (Type::IGVM_VHT_SNP_ID_BLOCK, "SNP ID block"),
    (Type::IGVM_VHT_MEMORY_MAP, "memory map"),
    (Type::IGVM_VHT_ERROR_RANGE, "error range"),
    (Type::IGVM_VHT_COMMAND_LINE, "command line"),
    (Type::IGVM_VHT_SLIT, "SLIT"),
    (Type::IGVM_VHT_PPTT, "PPTT"),
    (Type::IGVM_VHT_VBS_MEASUREMENT, "VBS measurement"),
    (Type::IGVM_VHT_DEVICE_TREE, "device tree"),
    (Type::IGVM_VHT_ENVIRONMENT_INFO_PARAMETER, "environment information"),
];

impl Place {
    /// The name of the header's type.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        TYPE_NAMES.iter().find(|(kind, _)| kind.0 == self.kind).map_or("unknown type", |(_, name)| name)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { index, offset, kind } = self;
        write!(formatter, "header {index} at offset {offset:#x} ({}, type {kind:#x})", self.type_name())
    }
}

/// Why bytes are no IGVM file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The fixed header is wrong.
    #[error("fixed header: {0}")]
    FixedHeader(FixedHeaderError),
    /// A variable header is wrong.
    #[error("{0}: {1}")]
    Header(Place, HeaderError),
}

/// What is wrong with a fixed header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FixedHeaderError {
    /// Fewer bytes than the header.
    #[error("the file has only {0} bytes")]
    TooShort(usize),
    /// The first four bytes differ.
    #[error("the file does not start with \"IGVM\"")]
    Magic,
    /// A version that nobody defined.
    #[error("format version {0} is unknown")]
    Version(u32),
    /// An architecture or page size other than x64 with 4 KiB.
    #[error("architecture {0} with page size {1:#x} is not supported")]
    Architecture(u32, u32),
    /// The total size is not the file's.
    #[error("it announces {announced} bytes, the file has {actual}")]
    FileSize {
        /// In the header.
        announced: u32,
        /// In the file.
        actual: usize,
    },
    /// The variable headers do not lie in the file, or nothing follows them.
    #[error("the variable headers at {offset:#x}, {size:#x} bytes, leave no data section in the file")]
    VariableHeaders {
        /// Where they start.
        offset: u32,
        /// Their bytes.
        size: u32,
    },
    /// The checksum is wrong.
    #[error("the checksum is {announced:#010x}, the headers have {actual:#010x}")]
    Checksum {
        /// In the header.
        announced: u32,
        /// Computed.
        actual: u32,
    },
}

/// What is wrong with a variable header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The header reaches beyond the headers' section.
    #[error("it reaches beyond the variable headers")]
    Truncated,
    /// The length is not this type's.
    #[error("its length is {actual} bytes, this type has {expected}")]
    Length {
        /// This type's length.
        expected: usize,
        /// The header's.
        actual: u32,
    },
    /// The type belongs to no section of headers.
    #[error("the type is in none of the ranges of platform, initialization and directive headers")]
    UnknownRange,
    /// Platform, initialization and directive headers must come in this order.
    #[error("it comes after headers of a later section")]
    SectionOrder,
    /// Data lies outside the file's data section.
    #[error("its data at {0:#x} lies outside the data section")]
    DataOutOfBounds(u32),
    /// A vCPU context without data.
    #[error("it has no data")]
    NoData,
    /// An address is not a page's.
    #[error("address {0:#x} is not a multiple of 4096")]
    Unaligned(u64),
    /// A size is not a number of pages.
    #[error("size {0:#x} is not a multiple of 4096, or zero")]
    Size(u64),
    /// A reserved field is used.
    #[error("a reserved field is not zero")]
    Reserved,
}

impl<'a> ImageFile<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FileError> {
        let fixed = FixedHeader::parse(bytes).map_err(FileError::FixedHeader)?;
        let data = DataSection { bytes, start: fixed.headers_end };
        let mut headers = Vec::new();
        let (mut rest, mut section) = (fixed.headers, 0);
        while !rest.is_empty() {
            let offset = fixed.headers_end.saturating_sub(rest.len());
            let kind = u32::read_from_prefix(rest).map_or(0, |(kind, _)| kind);
            let place = Place { index: headers.len(), offset, kind };
            let error = |error| FileError::Header(place, error);
            section = next_section(section, kind).map_err(error)?;
            let (body, later) = parse_header(rest, data).map_err(error)?;
            headers.push(Header { place, body });
            rest = later;
        }
        Ok(Self { bytes, format_version: fixed.format_version, headers })
    }

    /// The compatibility mask of the file's SEV-SNP platform, the last one if there are several, as QEMU takes it.
    #[must_use]
    pub fn snp_mask(&self) -> Option<u32> {
        self.headers.iter().rev().find_map(|header| match header.body {
            Body::Platform(platform) if platform.platform_type == igvm_defs::IgvmPlatformType::SEV_SNP => {
                Some(platform.compatibility_mask)
            }
            _ => None,
        })
    }
}

struct FixedHeader<'a> {
    format_version: u32,
    /// The variable headers.
    headers: &'a [u8],
    /// Offset behind them, where the data section starts.
    headers_end: usize,
}

impl<'a> FixedHeader<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, FixedHeaderError> {
        let too_short = FixedHeaderError::TooShort(bytes.len());
        let (mut fixed, _) = IGVM_FIXED_HEADER::read_from_prefix(bytes).map_err(|_| too_short.clone())?;
        if fixed.magic != IGVM_MAGIC_VALUE {
            return Err(FixedHeaderError::Magic);
        }
        let mut rest_of_header = Vec::new();
        match fixed.format_version {
            IGVM_FORMAT_VERSION_1 => {}
            IGVM_FORMAT_VERSION_2 => {
                let (v2, _) = IGVM_FIXED_HEADER_V2::read_from_prefix(bytes).map_err(|_| too_short)?;
                if (v2.architecture.0, v2.page_size) != (0, PAGE as u32) {
                    return Err(FixedHeaderError::Architecture(v2.architecture.0, v2.page_size));
                }
                rest_of_header.extend_from_slice(v2.architecture.as_bytes());
                rest_of_header.extend_from_slice(v2.page_size.as_bytes());
            }
            version => return Err(FixedHeaderError::Version(version)),
        }
        if fixed.total_file_size as usize != bytes.len() {
            let (announced, actual) = (fixed.total_file_size, bytes.len());
            return Err(FixedHeaderError::FileSize { announced, actual });
        }
        let (offset, size) = (fixed.variable_header_offset, fixed.variable_header_size);
        let headers_start = offset as usize;
        let headers_end = headers_start.saturating_add(size as usize);
        let headers = bytes
            .get(headers_start..headers_end)
            .filter(|_| headers_start >= size_of::<IGVM_FIXED_HEADER>() && headers_end < bytes.len())
            .ok_or(FixedHeaderError::VariableHeaders { offset, size })?;
        let announced = std::mem::take(&mut fixed.checksum);
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(fixed.as_bytes());
        checksum.update(&rest_of_header);
        checksum.update(headers);
        let actual = checksum.finalize();
        if announced != actual {
            return Err(FixedHeaderError::Checksum { announced, actual });
        }
        Ok(Self { format_version: fixed.format_version, headers, headers_end })
    }
}

/// The section a header type belongs to, if it may follow `section`: 0 platform, 1 initialization, 2 directive.
fn next_section(section: u8, kind: u32) -> Result<u8, HeaderError> {
    let next = match kind {
        kind if igvm_defs::IGVM_VHT_RANGE_PLATFORM.contains(&kind) => 0,
        kind if igvm_defs::IGVM_VHT_RANGE_INIT.contains(&kind) => 1,
        kind if igvm_defs::IGVM_VHT_RANGE_DIRECTIVE.contains(&kind) => 2,
        _ => return Err(HeaderError::UnknownRange),
    };
    if next < section { Err(HeaderError::SectionOrder) } else { Ok(next) }
}

/// The file from the end of its headers on; offsets count from the start of the file.
#[derive(Clone, Copy)]
struct DataSection<'a> {
    bytes: &'a [u8],
    start: usize,
}

impl<'a> DataSection<'a> {
    /// The page at an offset, `None` for offset 0.
    fn page(self, offset: u32) -> Result<Option<&'a [u8; PAGE]>, HeaderError> {
        if offset == 0 {
            return Ok(None);
        }
        let start = offset as usize;
        let data = self.bytes.get(start..).filter(|_| start >= self.start);
        match data.and_then(|data| data.first_chunk::<PAGE>()) {
            Some(page) => Ok(Some(page)),
            None => Err(HeaderError::DataOutOfBounds(offset)),
        }
    }

    fn check(self, offset: u32, length: u64) -> Result<(), HeaderError> {
        let end = u64::from(offset).checked_add(length).filter(|end| *end <= self.bytes.len() as u64);
        if offset == 0 || (offset as usize >= self.start && end.is_some()) {
            Ok(())
        } else {
            Err(HeaderError::DataOutOfBounds(offset))
        }
    }
}

/// The first header, and the headers behind its padding.
fn parse_header<'a>(bytes: &'a [u8], data: DataSection<'a>) -> Result<(Body<'a>, &'a [u8]), HeaderError> {
    let (header, rest) =
        IGVM_VHS_VARIABLE_HEADER::read_from_prefix(bytes).map_err(|_| HeaderError::Truncated)?;
    let length = header.length as usize;
    let padded = length.checked_next_multiple_of(8).ok_or(HeaderError::Truncated)?;
    let (padded, later) = rest.split_at_checked(padded).ok_or(HeaderError::Truncated)?;
    let content = padded.get(..length).ok_or(HeaderError::Truncated)?;
    let body = match header.typ {
        Type::IGVM_VHT_SUPPORTED_PLATFORM => Body::Platform(exactly(content)?),
        Type::IGVM_VHT_GUEST_POLICY => Body::GuestPolicy(exactly(content)?),
        Type::IGVM_VHT_PARAMETER_AREA => parameter_area(exactly(content)?, data)?,
        Type::IGVM_VHT_VP_COUNT_PARAMETER => Body::Parameter(ParameterKind::VcpuCount, exactly(content)?),
        Type::IGVM_VHT_MEMORY_MAP => Body::Parameter(ParameterKind::MemoryMap, exactly(content)?),
        Type::IGVM_VHT_ENVIRONMENT_INFO_PARAMETER => {
            Body::Parameter(ParameterKind::Environment, exactly(content)?)
        }
        Type::IGVM_VHT_MADT => Body::Parameter(ParameterKind::Madt, exactly(content)?),
        Type::IGVM_VHT_SRAT => Body::Parameter(ParameterKind::Srat, exactly(content)?),
        Type::IGVM_VHT_SLIT => Body::Parameter(ParameterKind::Slit, exactly(content)?),
        Type::IGVM_VHT_PPTT => Body::Parameter(ParameterKind::Pptt, exactly(content)?),
        Type::IGVM_VHT_MMIO_RANGES => Body::Parameter(ParameterKind::MmioRanges, exactly(content)?),
        Type::IGVM_VHT_COMMAND_LINE => Body::Parameter(ParameterKind::CommandLine, exactly(content)?),
        Type::IGVM_VHT_DEVICE_TREE => Body::Parameter(ParameterKind::DeviceTree, exactly(content)?),
        Type::IGVM_VHT_PARAMETER_INSERT => {
            let insert: IGVM_VHS_PARAMETER_INSERT = exactly(content)?;
            aligned(insert.gpa)?;
            Body::ParameterInsert(insert)
        }
        Type::IGVM_VHT_PAGE_DATA => {
            let page: IGVM_VHS_PAGE_DATA = exactly(content)?;
            aligned(page.gpa)?;
            if page.reserved != 0 || page.flags.reserved() != 0 {
                return Err(HeaderError::Reserved);
            }
            Body::PageData(page, data.page(page.file_offset)?)
        }
        Type::IGVM_VHT_VP_CONTEXT => {
            let context: IGVM_VHS_VP_CONTEXT = exactly(content)?;
            aligned(context.gpa.get())?;
            let page = data.page(context.file_offset)?.ok_or(HeaderError::NoData)?;
            Body::VcpuContext(context, page)
        }
        Type::IGVM_VHT_REQUIRED_MEMORY => {
            let memory: IGVM_VHS_REQUIRED_MEMORY = exactly(content)?;
            aligned(memory.gpa)?;
            whole_pages(u64::from(memory.number_of_bytes))?;
            if memory.reserved != 0 {
                return Err(HeaderError::Reserved);
            }
            Body::RequiredMemory(memory)
        }
        Type::IGVM_VHT_SNP_ID_BLOCK => {
            let mut block = IGVM_VHS_SNP_ID_BLOCK::new_box_zeroed().map_err(|_| HeaderError::Truncated)?;
            *block = exactly(content)?;
            Body::IdBlock(block)
        }
        _ => Body::Other,
    };
    Ok((body, later))
}

fn parameter_area<'a>(area: IGVM_VHS_PARAMETER_AREA, data: DataSection<'a>) -> Result<Body<'a>, HeaderError> {
    whole_pages(area.number_of_bytes)?;
    data.check(area.file_offset, area.number_of_bytes)?;
    Ok(Body::ParameterArea(area))
}

fn exactly<T: FromBytes + KnownLayout + Immutable>(content: &[u8]) -> Result<T, HeaderError> {
    T::read_from_bytes(content)
        .map_err(|_| HeaderError::Length { expected: size_of::<T>(), actual: content.len() as u32 })
}

fn aligned(address: u64) -> Result<(), HeaderError> {
    if address.is_multiple_of(PAGE as u64) { Ok(()) } else { Err(HeaderError::Unaligned(address)) }
}

fn whole_pages(size: u64) -> Result<(), HeaderError> {
    if size != 0 && size.is_multiple_of(PAGE as u64) { Ok(()) } else { Err(HeaderError::Size(size)) }
}
