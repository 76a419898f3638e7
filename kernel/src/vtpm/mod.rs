//! The VM's TPM: the engine of crate `tpm` on this machine's entropy and clock, one for all vCPUs.
//!
//! Its seeds are born here and die with the VM: nothing is kept, so nothing can be rolled back or cloned. One vCPU at a time
//! runs a command; another one is told to call again. The endorsement key is made when somebody first asks for it
//! (kernel/doc/decisions/0014-endorsement-key-on-demand.md).

mod endorsement;
mod platform;

use alloc::boxed::Box;
use alloc::vec::Vec;
use hardware::entropy::EntropyFailure;
use hardware::termination::{Reason, terminate};
use platform::{BirthEntropy, TpmPlatform};
use spin::Mutex;
use svsm_protocol::{Vtpm, VtpmError};
use tpm::Tpm;

/// The TPM, and its endorsement key.
struct OwnTpm {
    tpm: Mutex<Tpm<TpmPlatform>>,
    endorsement: Mutex<Endorsement>,
}

/// The endorsement key that the TPM was made with.
enum Endorsement {
    /// What it follows from, and every other secret that the TPM was made with.
    Unmade(BirthEntropy),
    /// Its TPMT_PUBLIC; what it followed from is gone.
    Made(Vec<u8>),
}

/// TPM2_Shutdown(CLEAR).
const SHUTDOWN_CLEAR: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x45, 0, 0];
/// TPM2_ChangeEPS, TPM2_ChangePPS, TPM2_Clear: what they replace must be nowhere afterwards.
const ERASING: [[u8; 4]; 3] = [[0, 0, 0x01, 0x24], [0, 0, 0x01, 0x25], [0, 0, 0x01, 0x26]];

/// Makes the TPM. Without entropy there is none, and no VM either.
pub fn manufacture() -> Box<dyn Vtpm> {
    let made = TpmPlatform::recording().and_then(|platform| {
        let mut tpm = Tpm::manufacture(platform).map_err(|_| EntropyFailure)?;
        let birth = tpm.platform_mut().finish_recording();
        Ok(OwnTpm { tpm: Mutex::new(tpm), endorsement: Mutex::new(Endorsement::Unmade(birth)) })
    });
    match made {
        Ok(own) => Box::new(own),
        Err(EntropyFailure) => terminate(Reason::Entropy),
    }
}

impl Vtpm for OwnTpm {
    fn execute(&self, locality: u8, command: &[u8], response: &mut [u8]) -> Result<usize, VtpmError> {
        if command.get(6..10).is_some_and(|code| ERASING.iter().any(|erasing| code == erasing)) {
            // The old secrets could be made again from what the TPM was born with; so the key is made first, and that is forgotten.
            self.endorsement_key()?;
        }
        let mut tpm = self.tpm.try_lock().ok_or(VtpmError::Busy)?;
        Ok(tpm.execute(locality, command, response))
    }

    fn reset(&self) -> Result<(), VtpmError> {
        let mut tpm = self.tpm.try_lock().ok_or(VtpmError::Busy)?;
        // What the last guest saved by TPM2_Shutdown(STATE) must not decide what the next one finds: this shutdown supersedes it.
        // A TPM that refuses it, because it is in failure mode or was not started, has nothing saved that a start would use.
        let _ = tpm.execute(0, &SHUTDOWN_CLEAR, &mut [0; 64]);
        tpm.power_on();
        Ok(())
    }

    /// A second TPM is made from the same entropy and asked for the key, so that the guest's own TPM goes on meanwhile, and
    /// nothing that its owner changed there (authorizations, seeds) changes what the manifest says.
    fn endorsement_key(&self) -> Result<Vec<u8>, VtpmError> {
        let mut known = self.endorsement.try_lock().ok_or(VtpmError::Busy)?;
        let public = match &*known {
            Endorsement::Made(public) => return copy(public),
            Endorsement::Unmade(birth) => {
                let platform = TpmPlatform::replaying(birth).map_err(|_| VtpmError::Unavailable)?;
                let tpm = Tpm::manufacture(platform).map_err(|_| VtpmError::Unavailable)?;
                endorsement::public_area(tpm).ok_or(VtpmError::Unavailable)?
            }
        };
        let result = copy(&public);
        // Dropping it wipes what the TPM was born with.
        *known = Endorsement::Made(public);
        result
    }
}

/// A copy of a public area. That there is no room for it now ends by itself.
fn copy(public: &[u8]) -> Result<Vec<u8>, VtpmError> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(public.len()).map_err(|_| VtpmError::Busy)?;
    bytes.extend_from_slice(public);
    Ok(bytes)
}
