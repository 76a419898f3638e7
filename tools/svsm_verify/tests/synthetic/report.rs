//! Attestation reports, written field by field after AMD 56860.

use p384::ecdsa::signature::Signer;
use p384::ecdsa::{Signature, SigningKey};

use super::LAUNCH_DIGEST;
use super::certificates::Product;

/// Bytes of a report.
const REPORT_BYTES: usize = 0x4A0;
/// Bytes before the signature.
const SIGNED_BYTES: usize = 0x2A0;

/// What a report says.
#[derive(Clone)]
pub struct ReportFields {
    pub product: Product,
    pub version: u32,
    pub guest_svn: u32,
    pub policy: u64,
    pub vmpl: u32,
    /// 0 VCEK, 1 VLEK, 7 none.
    pub signing_key: u32,
    pub is_chip_key_masked: bool,
    pub data: [u8; 64],
    pub measurement: [u8; 48],
    pub host_data: [u8; 32],
    pub id_key_digest: [u8; 48],
    pub author_key_digest: [u8; 48],
    pub report_id: [u8; 32],
    /// FMC, boot loader, TEE, SNP, microcode.
    pub tcb: [u8; 5],
    pub launch_tcb: [u8; 5],
    pub chip: Vec<u8>,
    pub current_tcb: [u8; 5],
    pub committed_tcb: [u8; 5],
    /// Build, minor, major; of what runs and of what is committed.
    pub current_version: [u8; 3],
    pub committed_version: [u8; 3],
    pub platform: u64,
    pub launch_mitigations: u64,
    pub current_mitigations: u64,
    /// Bytes that overwrite others before the report is signed.
    pub overwritten: Vec<(usize, Vec<u8>)>,
}

impl ReportFields {
    pub fn new(product: Product) -> Self {
        let tcb = [2, 7, 0, 22, 209];
        Self {
            product,
            version: match product {
                Product::Milan => 2,
                Product::Genoa => 3,
                Product::Turin => 5,
            },
            guest_svn: 3,
            policy: 0x30000,
            vmpl: 0,
            signing_key: 0,
            is_chip_key_masked: false,
            data: [0; 64],
            measurement: LAUNCH_DIGEST,
            host_data: [0x4D; 32],
            id_key_digest: [0x1D; 48],
            author_key_digest: [0xA0; 48],
            report_id: [0x4E; 32],
            tcb,
            launch_tcb: tcb,
            chip: vec![0xC1; product.chip_bytes()],
            current_tcb: tcb,
            committed_tcb: tcb,
            current_version: [29, 55, 1],
            committed_version: [29, 55, 1],
            platform: 0x25,
            launch_mitigations: 0,
            current_mitigations: 0,
            overwritten: Vec::new(),
        }
    }

    fn packed_tcb(&self, [fmc, boot_loader, tee, snp, microcode]: [u8; 5]) -> [u8; 8] {
        match self.product {
            Product::Turin => [fmc, boot_loader, tee, snp, 0, 0, 0, microcode],
            Product::Milan | Product::Genoa => [boot_loader, tee, 0, 0, 0, 0, snp, microcode],
        }
    }

    /// The report with its signature.
    pub fn signed(&self, key: &SigningKey) -> Vec<u8> {
        let mut report = vec![0; REPORT_BYTES];
        let mut put =
            |offset: usize, bytes: &[u8]| report[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(0x000, &self.version.to_le_bytes());
        put(0x004, &self.guest_svn.to_le_bytes());
        put(0x008, &self.policy.to_le_bytes());
        put(0x010, b"family of a test");
        put(0x020, b"image of a test.");
        put(0x030, &self.vmpl.to_le_bytes());
        put(0x034, &1_u32.to_le_bytes());
        put(0x038, &self.packed_tcb(self.current_tcb));
        put(0x040, &self.platform.to_le_bytes());
        put(0x048, &(self.signing_key << 2 | u32::from(self.is_chip_key_masked) << 1).to_le_bytes());
        put(0x050, &self.data);
        put(0x090, &self.measurement);
        put(0x0C0, &self.host_data);
        put(0x0E0, &self.id_key_digest);
        put(0x110, &self.author_key_digest);
        put(0x140, &self.report_id);
        put(0x160, &[0xFF; 32]);
        put(0x180, &self.packed_tcb(self.tcb));
        if self.version >= 3 {
            let processor = match self.product {
                Product::Milan => [0x19, 0x01, 0x01],
                Product::Genoa => [0x19, 0x11, 0x01],
                Product::Turin => [0x1A, 0x02, 0x01],
            };
            put(0x188, &processor);
        }
        put(0x1A0, &self.chip);
        put(0x1E0, &self.packed_tcb(self.committed_tcb));
        put(0x1E8, &self.current_version);
        put(0x1EC, &self.committed_version);
        put(0x1F0, &self.packed_tcb(self.launch_tcb));
        put(0x1F8, &self.launch_mitigations.to_le_bytes());
        put(0x200, &self.current_mitigations.to_le_bytes());
        for (offset, bytes) in &self.overwritten {
            put(*offset, bytes);
        }
        let signature: Signature = key.sign(&report[..SIGNED_BYTES]);
        let (r, s) = signature.split_bytes();
        for (offset, number) in [(SIGNED_BYTES, r), (SIGNED_BYTES + 72, s)] {
            let little: Vec<u8> = number.iter().rev().copied().collect();
            report[offset..offset + little.len()].copy_from_slice(&little);
        }
        report
    }
}
