//! Launch digests that the relying party expects, computed from images.

use igvm::launch::{LaunchError, LaunchPlan};

use crate::policy::MeasurementPolicy;

/// A launch digest that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedMeasurement {
    /// The digest.
    pub digest: [u8; 48],
    /// The guest policy that the image asks for, if an image stands behind the digest. The digest does not cover it.
    pub policy: Option<u64>,
    /// Where it comes from, for the result.
    pub source: String,
}

/// The digest of an image, if it is for a number of vCPUs that the policy allows.
///
/// # Errors
/// If the image would not be launched, or is for another number of vCPUs.
pub fn of_image(
    name: &str,
    image: &[u8],
    policy: &MeasurementPolicy,
) -> Result<Vec<ExpectedMeasurement>, LaunchError> {
    let plan = LaunchPlan::of_bytes(image)?;
    // An image is for one number of vCPUs; the policy says which numbers will do.
    let vcpus = plan.vcpus();
    if !policy.vcpus.contains(&vcpus) {
        let wanted = policy.vcpus.first().copied().unwrap_or(vcpus);
        return Err(LaunchError::VcpuCount { given: vcpus, wanted });
    }
    let digest = plan.digest_for(Some(vcpus), policy.cpu_signature)?;
    let source = format!("{name} with {vcpus} vCPUs");
    Ok(vec![ExpectedMeasurement { digest, policy: Some(plan.policy.0), source }])
}
