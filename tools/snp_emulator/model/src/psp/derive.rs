//! MSG_KEY: keys for the guest, derived from the platform's or the guest's root key and from what the guest chooses of
//! its own identity (AMD 56860, "key derivation").

use super::Psp;
use sha2::{Digest, Sha256};
use snp_abi::guest_message::{KeyRequest, KeyResponse, MessageStatus};
use snp_abi::report::SigningKey;
use snp_abi::rmp::Vmpl;
use snp_abi::tcb::TcbVersion;
use zerocopy::FromZeros;

const ROOT_IS_GUESTS: u32 = 1;
/// Bits 2:1 of the root selection: 0 for whichever endorsement key there is, 1 VCEK, 2 VLEK.
const ENDORSEMENT_SHIFT: u32 = 1;
const ENDORSEMENT_MASK: u32 = 0b11;
const KNOWN_ROOT_BITS: u32 = ROOT_IS_GUESTS | ENDORSEMENT_MASK << ENDORSEMENT_SHIFT;

/// Bits of the field selection, in order.
const POLICY: u64 = 1 << 0;
const IMAGE_ID: u64 = 1 << 1;
const FAMILY_ID: u64 = 1 << 2;
const MEASUREMENT: u64 = 1 << 3;
const GUEST_SVN: u64 = 1 << 4;
const TCB_VERSION: u64 = 1 << 5;
const KNOWN_FIELDS: u64 = POLICY | IMAGE_ID | FAMILY_ID | MEASUREMENT | GUEST_SVN | TCB_VERSION;

impl Psp {
    /// The response to a request that was sealed with `key`.
    pub(super) fn derive(&self, key: Vmpl, request: &KeyRequest) -> KeyResponse {
        let mut response = KeyResponse::new_zeroed();
        match self.check_key_request(key, request) {
            Ok(()) => response.derived_key = self.derived_key(request),
            Err(status) => response.status = status.to_wire(),
        }
        response
    }

    fn check_key_request(&self, key: Vmpl, request: &KeyRequest) -> Result<(), MessageStatus> {
        let level = u8::try_from(request.vmpl).ok().and_then(Vmpl::from_wire);
        let generation_floor = self.setup.model.identity().tcb;
        let allowed = level.is_some_and(|level| level >= key)
            && request.reserved == 0
            && request.root_key_select & !KNOWN_ROOT_BITS == 0
            && request.guest_field_select & !KNOWN_FIELDS == 0
            && request.guest_svn <= self.guest.guest_svn
            && generation_floor.is_at_least(&self.parts(TcbVersion(request.tcb_version)));
        if !allowed {
            return Err(MessageStatus::InvalidParameters);
        }
        let selection = request.root_key_select >> ENDORSEMENT_SHIFT & ENDORSEMENT_MASK;
        match (selection, self.setup.endorsement.kind) {
            (0, _) | (1, SigningKey::Vcek) | (2, SigningKey::Vlek) => Ok(()),
            _ => Err(MessageStatus::InvalidKeySelection),
        }
    }

    fn parts(&self, version: TcbVersion) -> snp_abi::tcb::TcbParts {
        let generation = match self.setup.model.identity().tcb.fmc {
            Some(_) => snp_abi::tcb::Generation::Turin,
            None => snp_abi::tcb::Generation::Milan,
        };
        version.parts(generation)
    }

    /// Every field that is not selected counts as zero.
    fn derived_key(&self, request: &KeyRequest) -> [u8; 32] {
        let root = match request.root_key_select & ROOT_IS_GUESTS {
            0 => self.secret(b"ENDORSEMENT_ROOT", &self.setup.chip_id),
            _ => self.secret(b"VMRK", &[]),
        };
        let guest = &self.guest;
        let fields: [(u64, &[u8]); 6] = [
            (POLICY, &guest.policy.to_le_bytes()),
            (IMAGE_ID, &guest.image_id),
            (FAMILY_ID, &guest.family_id),
            (MEASUREMENT, &guest.measurement.0),
            (GUEST_SVN, &request.guest_svn.to_le_bytes()),
            (TCB_VERSION, &request.tcb_version.to_le_bytes()),
        ];
        let mut hash = Sha256::new().chain_update(root).chain_update(b"MSG_KEY");
        hash.update(request.vmpl.to_le_bytes());
        hash.update(request.guest_field_select.to_le_bytes());
        for (bit, bytes) in fields {
            if request.guest_field_select & bit != 0 {
                hash.update(bytes);
            }
        }
        hash.finalize().into()
    }
}
