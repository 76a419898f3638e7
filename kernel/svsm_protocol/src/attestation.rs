//! The attestation protocol: a report of the security processor over the manifests of the services. Source: AMD 58019,
//! chapter 7.
//!
//! REPORT_DATA is SHA-512 over nonce and manifest, the report is about VMPL0: who trusts the measurement knows that this
//! firmware vouches for what the manifest says. Nothing marks the border between nonce and manifest in the hash, so that a nonce
//! has exactly 64 bytes: with a shorter one, a guest could move the border and have a report about a manifest of its own
//! (`kernel/doc/decisions/0022-nonces-of-64-bytes.md`).

use crate::failure::{Failure, Refusal};
use crate::guest_call::{GuestCall, Operands, Registers, Results, ServedCall};
use crate::guest_memory::{GuestRange, zeroed};
use crate::psp_channel::CERTIFICATE_BYTES;
use crate::svsm::Svsm;
use alloc::vec::Vec;
use sha2::{Digest, Sha512};
use snp_abi::address::{PageSize, is_aligned};
use snp_abi::certificates::{CertificateTable, ENTRY_BYTES};
use snp_abi::guid::Guid;
use snp_abi::report::REPORT_BYTES;
use snp_abi::svsm::attestation::{
    AttestServices, AttestSingleService, BufferLocation, ManifestEntry, ManifestHeader, NonceLocation,
    SERVICES_MANIFEST, VTPM_SERVICE,
};
use zerocopy::{FromZeros, IntoBytes};

/// Bytes of a nonce.
const NONCE_BYTES: usize = 64;
/// The version of a service's manifest that is published.
const MANIFEST_VERSION: u32 = 0;

/// A service that can be attested.
struct Service {
    guid: Guid,
    /// Its manifest, none if this firmware runs without the service.
    manifest: fn(&Svsm) -> Result<Option<Vec<u8>>, Refusal>,
}

/// All services, in the order of the manifest.
const SERVICES: &[Service] = &[Service { guid: VTPM_SERVICE, manifest: vtpm_manifest }];

/// The TPMT_PUBLIC of the RSA-2048 endorsement key.
fn vtpm_manifest(svsm: &Svsm) -> Result<Option<Vec<u8>>, Refusal> {
    svsm.vtpm.as_ref().map(|vtpm| vtpm.endorsement_key().map_err(|error| error.refusal())).transpose()
}

/// RCX: the address of the operation, which lies in one page.
pub(crate) struct OperationPlace {
    address: u64,
}

impl Operands for OperationPlace {
    fn decode(registers: &Registers) -> Result<Self, Refusal> {
        Ok(Self { address: registers.rcx })
    }
}

impl OperationPlace {
    fn read(&self, call: &mut GuestCall<'_>, operation: &mut [u8]) -> Result<(), Refusal> {
        call.read_guest(GuestRange::in_one_page(self.address, operation.len())?, operation)
    }
}

/// RCX, RDX, R8: bytes of manifest, certificates and report, whether the buffers hold them or not. Certificates that nobody has
/// asked for yet have no size.
#[derive(Default)]
pub(crate) struct Sizes {
    manifest: Option<usize>,
    certificates: Option<usize>,
}

impl Results for Sizes {
    fn encode(self, registers: &mut Registers) {
        let register = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        if let Some(bytes) = self.manifest {
            registers.rcx = register(bytes);
            registers.r8 = register(REPORT_BYTES);
        }
        if let Some(bytes) = self.certificates {
            registers.rdx = register(bytes);
        }
    }
}

/// ATTEST_SERVICES: a report over the manifests of all services.
pub(crate) struct AllServices;

impl ServedCall for AllServices {
    type Operands = OperationPlace;
    type Results = Sizes;

    fn serve(call: &mut GuestCall<'_>, place: OperationPlace, sizes: &mut Sizes) -> Result<(), Failure> {
        let mut operation = AttestServices::new_zeroed();
        place.read(call, operation.as_mut_bytes())?;
        let places = Places::check(&operation)?;
        let nonce = read_nonce(call, places.nonce)?;
        let manifest = services_manifest(call.svsm)?;
        attest(call, &places, &nonce, &manifest, sizes)
    }
}

/// ATTEST_SINGLE_SERVICE: a report over the manifest of one service.
pub(crate) struct SingleService;

impl ServedCall for SingleService {
    type Operands = OperationPlace;
    type Results = Sizes;

    fn serve(call: &mut GuestCall<'_>, place: OperationPlace, sizes: &mut Sizes) -> Result<(), Failure> {
        let mut operation = AttestSingleService::new_zeroed();
        place.read(call, operation.as_mut_bytes())?;
        let places = Places::check(&operation.buffers)?;
        if operation.reserved != 0 {
            return Err(Refusal::InvalidParameter.into());
        }
        let nonce = read_nonce(call, places.nonce)?;
        let manifest = single_manifest(call.svsm, &operation)?;
        attest(call, &places, &nonce, &manifest, sizes)
    }
}

/// The manifest of one service. What no firmware knows gets the answer that guests know from others for it.
fn single_manifest(svsm: &Svsm, operation: &AttestSingleService) -> Result<Vec<u8>, Refusal> {
    let service = SERVICES.iter().find(|service| service.guid == operation.service);
    let service = service.ok_or(Refusal::UnsupportedProtocol)?;
    if operation.manifest_version != MANIFEST_VERSION {
        return Err(Refusal::InvalidParameter);
    }
    (service.manifest)(svsm)?.ok_or(Refusal::UnsupportedProtocol)
}

/// The table of all services, with their manifests behind it (AMD 58019, table 12).
fn services_manifest(svsm: &Svsm) -> Result<Vec<u8>, Refusal> {
    let mut manifests = Vec::new();
    manifests.try_reserve_exact(SERVICES.len()).map_err(|_| Refusal::Busy)?;
    for service in SERVICES {
        if let Some(manifest) = (service.manifest)(svsm)? {
            manifests.push((service.guid, manifest));
        }
    }
    let too_large = |_| Refusal::InvalidRequest;
    let rows = size_of::<ManifestEntry>().saturating_mul(manifests.len());
    let mut offset = size_of::<ManifestHeader>().saturating_add(rows);
    let length = manifests.iter().fold(offset, |sum, (_, manifest)| sum.saturating_add(manifest.len()));
    let header = ManifestHeader {
        guid: SERVICES_MANIFEST,
        length: u32::try_from(length).map_err(too_large)?.into(),
        entries: u32::try_from(manifests.len()).map_err(too_large)?.into(),
    };
    let mut table = Vec::new();
    table.try_reserve_exact(length).map_err(|_| Refusal::Busy)?;
    table.extend_from_slice(header.as_bytes());
    for (guid, manifest) in &manifests {
        let entry = ManifestEntry {
            guid: *guid,
            offset: u32::try_from(offset).map_err(too_large)?.into(),
            length: u32::try_from(manifest.len()).map_err(too_large)?.into(),
        };
        table.extend_from_slice(entry.as_bytes());
        offset = offset.saturating_add(manifest.len());
    }
    manifests.iter().for_each(|(_, manifest)| table.extend_from_slice(manifest));
    Ok(table)
}

/// A buffer of the caller's, as it claims.
#[derive(Clone, Copy)]
struct Buffer {
    address: u64,
    length: usize,
}

/// Where things are, checked as far as that goes without looking at the ledger.
struct Places {
    nonce: GuestRange,
    report: Buffer,
    manifest: Buffer,
    certificates: Buffer,
}

impl Places {
    fn check(operation: &AttestServices) -> Result<Self, Refusal> {
        let AttestServices { report, nonce, manifest, certificates } = operation;
        let NonceLocation { address, length, reserved } = *nonce;
        let length = usize::from(length);
        if reserved != [0; 6] || length != NONCE_BYTES {
            return Err(Refusal::InvalidParameter);
        }
        Ok(Self {
            nonce: GuestRange::in_one_page(address, length)?,
            report: Buffer::check(report)?,
            manifest: Buffer::check(manifest)?,
            certificates: Buffer::check(certificates)?,
        })
    }
}

impl Buffer {
    /// An empty buffer may have any address.
    fn check(location: &BufferLocation) -> Result<Self, Refusal> {
        let BufferLocation { address, length, reserved } = *location;
        let placed = length == 0 || (address != 0 && is_aligned(address, PageSize::Small));
        if reserved != 0 || !placed {
            return Err(Refusal::InvalidParameter);
        }
        Ok(Self { address, length: usize::try_from(length).map_err(|_| Refusal::InvalidParameter)? })
    }

    /// The start of the buffer, `bytes` long.
    fn start(self, bytes: usize) -> Result<GuestRange, Refusal> {
        GuestRange::new(self.address, bytes)
    }
}

fn read_nonce(call: &mut GuestCall<'_>, place: GuestRange) -> Result<Vec<u8>, Refusal> {
    let mut nonce = zeroed(place.bytes())?;
    call.read_guest(place, &mut nonce)?;
    Ok(nonce)
}

/// The part that both calls have in common.
fn attest(
    call: &mut GuestCall<'_>,
    places: &Places,
    nonce: &[u8],
    manifest: &[u8],
    sizes: &mut Sizes,
) -> Result<(), Failure> {
    let report_place = places.report.start(REPORT_BYTES)?;
    let manifest_place = places.manifest.start(manifest.len())?;
    if places.report.length < REPORT_BYTES || places.manifest.length < manifest.len() {
        sizes.manifest = Some(manifest.len());
        return Err(Refusal::InvalidParameter.into());
    }
    call.check_guest(report_place)?;
    call.check_guest(manifest_place)?;
    let report_data = Sha512::new().chain_update(nonce).chain_update(manifest).finalize().into();
    let wanted = places.certificates.length != 0;
    let mut certificates = zeroed(if wanted { CERTIFICATE_BYTES } else { 0 })?;
    let offered = wanted.then_some(certificates.as_mut_slice());
    let report = call.svsm.channel.report(call.machine, report_data, offered)?;
    let certificates = certificates.get(..table_bytes(&certificates)).unwrap_or_default();
    (sizes.manifest, sizes.certificates) = (Some(manifest.len()), Some(certificates.len()));
    if places.certificates.length < certificates.len() {
        return Err(Refusal::InvalidParameter.into());
    }
    let certificates_place = places.certificates.start(certificates.len())?;
    call.check_guest(certificates_place)?;
    call.write_guest(certificates_place, certificates)?;
    call.write_guest(manifest_place, manifest)?;
    call.write_guest(report_place, report.as_bytes())?;
    Ok(())
}

/// How much of the host's data pages is a certificate table; 0 for a table without rows, or for anything else.
fn table_bytes(pages: &[u8]) -> usize {
    let Ok(table) = CertificateTable::parse(pages) else { return 0 };
    let rows = table.iter().count();
    if rows == 0 {
        return 0;
    }
    let header = rows.saturating_add(1).saturating_mul(ENTRY_BYTES);
    table.ends().fold(header, usize::max)
}
