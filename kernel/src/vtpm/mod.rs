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

/// The TPM, and what its endorsement key follows from.
struct OwnTpm {
    tpm: Mutex<Tpm<TpmPlatform>>,
    birth: BirthEntropy,
    /// TPMT_PUBLIC of the endorsement key, once it was made.
    endorsement: Mutex<Option<Vec<u8>>>,
}

/// Makes the TPM. Without entropy there is none, and no VM either.
pub fn manufacture() -> Box<dyn Vtpm> {
    let made = TpmPlatform::recording().and_then(|platform| {
        let mut tpm = Tpm::manufacture(platform).map_err(|_| EntropyFailure)?;
        let birth = tpm.platform_mut().finish_recording();
        Ok(OwnTpm { tpm: Mutex::new(tpm), birth, endorsement: Mutex::new(None) })
    });
    match made {
        Ok(own) => Box::new(own),
        Err(EntropyFailure) => terminate(Reason::Entropy),
    }
}

impl Vtpm for OwnTpm {
    fn execute(&self, locality: u8, command: &[u8], response: &mut [u8]) -> Result<usize, VtpmError> {
        let mut tpm = self.tpm.try_lock().ok_or(VtpmError::Busy)?;
        Ok(tpm.execute(locality, command, response))
    }

    fn reset(&self) -> Result<(), VtpmError> {
        self.tpm.try_lock().ok_or(VtpmError::Busy)?.power_on();
        Ok(())
    }

    /// A second TPM is made from the same entropy and asked for the key, so that the guest's own TPM goes on meanwhile, and
    /// nothing that its owner changed there (authorizations, seeds) changes what the manifest says.
    fn endorsement_key(&self) -> Result<Vec<u8>, VtpmError> {
        let mut known = self.endorsement.try_lock().ok_or(VtpmError::Busy)?;
        if known.is_none() {
            let platform = TpmPlatform::replaying(&self.birth).map_err(|_| VtpmError::Unavailable)?;
            let tpm = Tpm::manufacture(platform).map_err(|_| VtpmError::Unavailable)?;
            *known = Some(endorsement::public_area(tpm).ok_or(VtpmError::Unavailable)?);
        }
        known.clone().ok_or(VtpmError::Unavailable)
    }
}
