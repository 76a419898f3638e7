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

/// The digests of an image, one for each number of vCPUs that the policy allows.
///
/// # Errors
/// If the image would not be launched.
pub fn of_image(
    name: &str,
    image: &[u8],
    policy: &MeasurementPolicy,
) -> Result<Vec<ExpectedMeasurement>, LaunchError> {
    let plan = LaunchPlan::of_bytes(image)?;
    let expected = policy.vcpus.iter().map(|vcpus| ExpectedMeasurement {
        digest: plan.digest(*vcpus, policy.cpu_signature),
        policy: Some(plan.policy.0),
        source: format!("{name} with {vcpus} vCPUs"),
    });
    Ok(expected.collect())
}
