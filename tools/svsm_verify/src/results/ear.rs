//! EAT Attestation Results: a trustworthiness vector with the claims, signed by the verifier (RFC 9711; draft-fv-rats-ear;
//! draft-ietf-rats-ar4si), as JWT (RFC 7519) or CWT (RFC 8392), both with ES256.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value as Cbor;
use coset::iana::Algorithm;
use coset::{CborSerializable, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::DecodePrivateKey;
use serde_json::{Map, Value, json};

use crate::claims::{Check, ClaimsSet, Outcome};
use crate::nonce::Nonce;

/// The profile of the results.
pub const PROFILE: &str = "tag:github.com,2023:veraison/ear";
/// Who made them.
const DEVELOPER: &str = "Vouchsafe";
/// The one submodule: a guest with its vTPM.
const SUBMODULE: &str = "svsm-vtpm";

/// Checks whose failure means that a signature or a digest was wrong.
const CRYPTOGRAPHIC: i8 = 99;
/// Tiers begin at these values (AR4SI, 2.3.2).
const WARNING: i8 = 32;
const CONTRAINDICATED: i8 = 96;

/// Why no result can be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotSign {
    /// No key.
    #[error(
        "this is no P-256 key in PKCS#8 (PEM); `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one"
    )]
    Key,
    /// The token cannot be encoded.
    #[error("the result cannot be encoded")]
    Encoding,
}

/// What a result says besides the answer.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The session's nonce.
    pub nonce: Nonce,
    /// Seconds since 1970.
    pub issued_at: u64,
    /// A name for the policy.
    pub policy: &'a str,
}

/// The trustworthiness vector: number, name and value of each claim that is made.
#[must_use]
pub fn vector(answer: &ClaimsSet) -> Vec<(u8, &'static str, i8)> {
    vec![
        (0, "instance-identity", instance_identity(answer)),
        (1, "configuration", if failed(answer, CONFIGURATION) { CONTRAINDICATED } else { 2 }),
        (2, "executables", executables(answer)),
        (4, "hardware", hardware(answer)),
        (5, "runtime-opaque", if failed(answer, OPAQUE) { CONTRAINDICATED } else { 2 }),
    ]
}

const CONFIGURATION: &[Check] =
    &[Check::GuestPolicy, Check::Vmpl, Check::Identity, Check::HostData, Check::Platform];
const OPAQUE: &[Check] = &[Check::ReportSignature, Check::GuestPolicy, Check::CertificateChain];

fn failed(answer: &ClaimsSet, checks: &[Check]) -> bool {
    checks
        .iter()
        .any(|check| !answer.outcome(*check).is_some_and(|outcome| !matches!(outcome, Outcome::Failed(_))))
}

fn instance_identity(answer: &ClaimsSet) -> i8 {
    let passed = |check: Check| answer.outcome(check).is_some_and(Outcome::is_passed);
    if failed(answer, &[Check::QuoteSignature, Check::ReportData, Check::PcrDigest]) {
        return CRYPTOGRAPHIC;
    }
    let keys = [Check::EndorsementKey, Check::AttestationKey, Check::KeyActivation, Check::QuoteNonce];
    match (failed(answer, &keys), keys.into_iter().all(passed)) {
        (true, _) => 97,
        (false, true) => 2,
        // The policy did not ask, so that nothing is said.
        (false, false) => 0,
    }
}

fn executables(answer: &ClaimsSet) -> i8 {
    match answer.outcome(Check::Measurement) {
        _ if failed(answer, &[Check::Measurement, Check::EventLog, Check::PcrPolicy]) => CONTRAINDICATED,
        Some(Outcome::Passed(_)) => 3,
        _ => 33,
    }
}

/// A test root is hardware that nobody recognises, whatever else is good.
fn hardware(answer: &ClaimsSet) -> i8 {
    if failed(answer, &[Check::ReportSignature, Check::CertificateChain]) {
        return CRYPTOGRAPHIC;
    }
    let genuine = [
        Check::ReportLayout,
        Check::CertificateValidity,
        Check::CertificateRevocation,
        Check::SigningKey,
        Check::Product,
        Check::CertifiedTcb,
        Check::ChipId,
    ];
    if answer.is_under_test_root() || failed(answer, &genuine) {
        return 97;
    }
    if failed(answer, &[Check::MinimumTcb]) { WARNING } else { 2 }
}

/// The status: the worst tier of the vector, and contraindicated wherever the evidence is refused.
#[must_use]
pub fn status(answer: &ClaimsSet) -> (i8, &'static str) {
    let worst = vector(answer).into_iter().map(|(_, _, value)| value).max().unwrap_or(CONTRAINDICATED);
    match worst {
        _ if !answer.is_verified() => (CONTRAINDICATED, "contraindicated"),
        CONTRAINDICATED.. => (CONTRAINDICATED, "contraindicated"),
        WARNING.. => (WARNING, "warning"),
        2.. => (2, "affirming"),
        _ => (0, "none"),
    }
}

fn build() -> String {
    format!("svsm-verify {}", env!("CARGO_PKG_VERSION"))
}

/// The claims of the JWT.
#[must_use]
pub fn claims(answer: &ClaimsSet, context: &Context<'_>) -> Value {
    let vector: Map<String, Value> =
        vector(answer).into_iter().map(|(_, name, value)| (name.to_owned(), value.into())).collect();
    json!({
        "eat_profile": PROFILE,
        "iat": context.issued_at,
        "eat_nonce": URL_SAFE_NO_PAD.encode(context.nonce.as_bytes()),
        "ear.verifier-id": { "developer": DEVELOPER, "build": build() },
        "submods": { SUBMODULE: {
            "ear.status": status(answer).1,
            "ear.trustworthiness-vector": vector,
            "ear.appraisal-policy-id": context.policy,
            "ear.veraison.annotated-evidence": answer.claims(),
        } },
    })
}

/// A key of the verifier's.
pub struct ResultKey(SigningKey);

impl ResultKey {
    /// Reads PKCS#8 in PEM.
    ///
    /// # Errors
    /// If it is no P-256 key.
    pub fn from_pem(text: &str) -> Result<Self, CannotSign> {
        SigningKey::from_pkcs8_pem(text).map(Self).map_err(|_| CannotSign::Key)
    }

    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let signature: Signature = self.0.sign(bytes);
        signature.to_bytes().to_vec()
    }

    /// The result as a JWT.
    #[must_use]
    pub fn jwt(&self, answer: &ClaimsSet, context: &Context<'_>) -> String {
        let header = json!({ "alg": "ES256", "typ": "JWT" }).to_string();
        let payload = claims(answer, context).to_string();
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(text.as_bytes()));
        format!("{text}.{signature}")
    }

    /// The result as a CWT: a tagged COSE_Sign1.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn cwt(&self, answer: &ClaimsSet, context: &Context<'_>) -> Result<Vec<u8>, CannotSign> {
        let payload = cbor(answer, context)?.to_vec().map_err(|_| CannotSign::Encoding)?;
        let protected = HeaderBuilder::new().algorithm(Algorithm::ES256).build();
        let token = CoseSign1Builder::new()
            .protected(protected)
            .payload(payload)
            .create_signature(&[], |bytes| self.sign(bytes))
            .build();
        token.to_tagged_vec().map_err(|_| CannotSign::Encoding)
    }
}

/// The claims by their numbers (draft-fv-rats-ear, "CBOR").
fn cbor(answer: &ClaimsSet, context: &Context<'_>) -> Result<Cbor, CannotSign> {
    let number = |number: i64| Cbor::Integer(number.into());
    let text = |text: &str| Cbor::Text(text.to_owned());
    let vector = vector(answer)
        .into_iter()
        .map(|(key, _, value)| (number(i64::from(key)), number(i64::from(value))))
        .collect();
    let evidence = Cbor::serialized(answer.claims()).map_err(|_| CannotSign::Encoding)?;
    let appraisal = Cbor::Map(vec![
        (number(1000), number(i64::from(status(answer).0))),
        (number(1001), Cbor::Map(vector)),
        (number(1003), text(context.policy)),
        (number(-70000), evidence),
    ]);
    let issued_at = i64::try_from(context.issued_at).map_err(|_| CannotSign::Encoding)?;
    Ok(Cbor::Map(vec![
        (number(6), number(issued_at)),
        (number(10), Cbor::Bytes(context.nonce.as_bytes().to_vec())),
        (number(265), text(PROFILE)),
        (number(266), Cbor::Map(vec![(text(SUBMODULE), appraisal)])),
        (number(1004), Cbor::Map(vec![(number(0), text(DEVELOPER)), (number(1), text(&build()))])),
    ]))
}
