//! The platform that a machine pretends to be: its chip, the key that signs its reports, and the certificates that
//! lead from there to a root.
//!
//! The chain has the shape of AMD's, and every certificate says that it is a test's. The two authorities (root and
//! signer) are slow to make: RSA-4096. They are kept in the folder of `--psp-keys`, or in the user's cache, one
//! pair for each processor. The chip with its own key is new for each run, unless `--psp-keys` keeps it too.

mod certificates;
mod store;

use crate::arguments::{EndorsementKind, RunArguments};
use certificates::{Authority, Chip};
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use model::psp::CpuModel;
use p384::SecretKey;
use snp_abi::certificates::{ARK, ASK, VCEK, VLEK, write_table};
use std::path::PathBuf;
use store::Store;

/// A key on P-384.
type P384Key = SecretKey;

/// Why the platform's keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// A file of the keys' folder.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// A file of the keys' folder holds something else.
    #[error("{0}: {1}; remove the file to have a new one made")]
    Content(String, String),
    /// No folder to keep the keys in.
    #[error("no home folder to keep the test authorities in; name one with --psp-keys")]
    NoFolder,
    /// A key or certificate cannot be made.
    #[error("making a certificate: {0}")]
    Making(String),
    /// No random numbers.
    #[error("no random numbers from the system: {0}")]
    Random(String),
}

/// What the monitor is told.
pub struct Platform {
    /// Secret from which the guest's keys are derived.
    pub seed: [u8; 32],
    /// Which processor.
    pub model: CpuModel,
    /// Its unique id.
    pub chip_id: [u8; 64],
    /// Whether a VCEK or a VLEK signs.
    pub endorsement: EndorsementKind,
    /// The key that signs, 48 bytes.
    pub key: Vec<u8>,
    /// The host's certificate table.
    pub certificates: Vec<u8>,
}

/// Makes or reads the platform for a run.
pub fn platform(arguments: &RunArguments) -> Result<Platform, PlatformError> {
    let mut random = random(arguments.icount)?;
    let mut seed = [0; 32];
    random.fill_bytes(&mut seed);
    let model = arguments.cpu_model.model();
    let identity = model.identity();
    let folder = match &arguments.psp_keys {
        Some(folder) => folder.clone(),
        None => cache_folder().ok_or(PlatformError::NoFolder)?,
    };
    let store = Store::new(folder.join(identity.name))?;
    let kind = arguments.endorsement;
    let (root, signer) = authorities(&store, identity.product, kind)?;
    let keep = arguments.psp_keys.is_some();
    let chip_id =
        if keep { store.chip_id(|| new_chip(model, &mut random))? } else { new_chip(model, &mut random) };
    let key_name = kind.name();
    let mut make_key = || certificates::p384_key(&mut random);
    let key = if keep { store.p384_key(key_name, make_key)? } else { make_key() };
    let chip = Chip { identity, kind, chip_id: &chip_id, key: &key };
    let mut make = || certificates::endorsement(&signer, &chip, &mut random);
    let certificate = if keep { store.certificate(key_name, make)? } else { make()? };
    let guid = match kind {
        EndorsementKind::Vcek => VCEK,
        EndorsementKind::Vlek => VLEK,
    };
    let table = table(&[(guid, &certificate), (ASK, &signer.certificate), (ARK, &root.certificate)]);
    Ok(Platform {
        seed,
        model,
        chip_id,
        endorsement: kind,
        key: key.to_bytes().to_vec(),
        certificates: if arguments.no_certificates { Vec::new() } else { table },
    })
}

fn new_chip(model: CpuModel, random: &mut ChaCha20Rng) -> [u8; 64] {
    let mut bytes = [0; 64];
    random.fill_bytes(&mut bytes);
    model.chip_id(bytes)
}

fn table(blobs: &[(snp_abi::guid::NetworkGuid, &Vec<u8>)]) -> Vec<u8> {
    let blobs: Vec<_> = blobs.iter().map(|(guid, blob)| (*guid, blob.as_slice())).collect();
    let rows = (blobs.len() + 1) * snp_abi::certificates::ENTRY_BYTES;
    let mut table = vec![0; rows + blobs.iter().map(|(_, blob)| blob.len()).sum::<usize>()];
    // The buffer is made to measure.
    let _ = write_table(&blobs, &mut table);
    table
}

/// Root and signer; both are made at once where both are missing.
fn authorities(
    store: &Store,
    product: &str,
    kind: EndorsementKind,
) -> Result<(Authority, Authority), PlatformError> {
    let signer_name = match kind {
        EndorsementKind::Vcek => "ask",
        EndorsementKind::Vlek => "asvk",
    };
    let (root_key, signer_key) = std::thread::scope(|scope| {
        let root = scope.spawn(|| store.rsa_key("ark", certificates::rsa_key));
        let signer = store.rsa_key(signer_name, certificates::rsa_key);
        let root = root.join().unwrap_or_else(|_| Err(PlatformError::Making("thread".into())));
        Ok::<_, PlatformError>((root?, signer?))
    })?;
    let root = store.certificate("ark", || certificates::root(&root_key, product))?;
    let root = Authority { key: root_key, certificate: root };
    let signer =
        store.certificate(signer_name, || certificates::signer(&root, &signer_key, product, kind))?;
    Ok((root, Authority { key: signer_key, certificate: signer }))
}

/// Random for every run, except where runs must be equal.
fn random(deterministic: bool) -> Result<ChaCha20Rng, PlatformError> {
    let mut seed = [0; 32];
    if !deterministic {
        getrandom::fill(&mut seed).map_err(|error| PlatformError::Random(error.to_string()))?;
    }
    Ok(ChaCha20Rng::from_seed(seed))
}

/// Random numbers of the system's, for what is made once.
fn fresh_random() -> Result<ChaCha20Rng, PlatformError> {
    random(false)
}

fn cache_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(cache.join("snp-emulator/test-authorities"))
}

#[cfg(test)]
mod tests;
