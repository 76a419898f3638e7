//! What the person at the guest's terminal does: `tools/svsm_verify/GUIDE.md`, steps 3, 5 and 7.

use crate::guest::Guest;
use crate::relying_party::{Nonce, RelyingParty, hex};
use sha2::{Digest, Sha256, Sha512};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Instant;

/// A report in configfs (Linux Documentation/ABI/testing/configfs-tsm-report).
const REPORT: &str = "/sys/kernel/config/tsm/report/vtpm";
/// One without service provider, which comes from Linux' own level.
const OWN_REPORT: &str = "/sys/kernel/config/tsm/report/own";
/// The vTPM's service.
const VTPM: &[u8] = b"c476f1eb-0123-45a5-9641-b4e7dde5bfe3";
const CREATE_EK: &str = "tpm2_createek -c ek.ctx -G rsa -u ek.pub";
const CREATE_AK: &str = "tpm2_createak -C ek.ctx -c ak.ctx -G rsa -g sha256 -s rsassa -u ak.pub";
const QUOTE: &str = "tpm2_quote -c ak.ctx -l sha256:0,1,2,3,4,5,6,7,8,9,14 -m quote.msg -s quote.sig -o pcrs.bin -F values -q";
/// A session that may use the endorsement key.
const SESSION: &[&str] =
    &["tpm2_startauthsession --policy-session -S session.ctx", "tpm2_policysecret -S session.ctx -c e"];
const ACTIVATE: &str =
    "tpm2_activatecredential -c ak.ctx -C ek.ctx -i credential.blob -o activated.bin -P session:session.ctx";
/// Where software looks for the certificates of endorsement keys: RSA-2048, P-256, P-384 (TCG EK Credential Profile, 2.2.1.4 and
/// 2.2.1.5), and the attributes that the profile gives them.
pub const CERTIFICATE_INDICES: [&str; 3] = ["0x01c00002", "0x01c0000a", "0x01c00016"];
const CERTIFICATE_ATTRIBUTES: &str = "ppwrite|writedefine|ppread|ownerread|authread|no_da|platformcreate";
const FLUSH: &str = "tpm2_flushcontext session.ctx";
/// Takes a sealed secret into the TPM, in a session of its own.
const IMPORT: &[&str] = &[
    "tpm2_import -C ek.ctx -P session:session.ctx -u sealed.pub -i sealed.dup -s sealed.seed -r sealed.priv",
    "tpm2_policyrestart -S session.ctx",
    "tpm2_policysecret -S session.ctx -c e",
    "tpm2_load -C ek.ctx -P session:session.ctx -u sealed.pub -r sealed.priv -c sealed.ctx",
    FLUSH,
];

/// Seals a secret of the guest's own to PCRs, without anybody outside.
const SEAL: &[&str] = &[
    "tpm2_createprimary -C o -G ecc -c primary.ctx -Q",
    "tpm2_createpolicy --policy-pcr -l sha256:4,8,9 -L own.policy -Q",
    "tpm2_create -C primary.ctx -L own.policy -i own.secret -u own.pub -r own.priv -Q",
    "tpm2_load -C primary.ctx -u own.pub -r own.priv -c own.ctx -Q",
];
const OPEN: &str = "tpm2_unseal -c own.ctx -p pcr:sha256:4,8,9";
/// Keeps it in the TPM, where it outlives a restart of the guest.
const KEEP: &str = "tpm2_evictcontrol -C o -c own.ctx 0x81000100 -Q";
const OPEN_KEPT: &str = "tpm2_unseal -c 0x81000100 -p pcr:sha256:4,8,9";

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Says how far it is.
pub fn tell(text: &str) {
    println!("[{:5.1} s] {text}", START.elapsed().as_secs_f64());
}

fn run(guest: &mut Guest, command: &str) -> Result<String, String> {
    tell(&format!("guest# {command}"));
    guest.run(command)
}

fn keep(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), String> {
    let path = folder.join(name);
    std::fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

/// All evidence but the answer to a challenge, which needs some of it.
pub fn collect(guest: &mut Guest, folder: &Path, nonce: &Nonce) -> Result<(), String> {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let values = run(guest, "tpm2_pcrread sha256:0,4,8,9")?;
    print!("{values}");
    report(guest, folder, nonce)?;
    keys(guest, folder)?;
    quote(guest, folder, nonce)?;
    keep(folder, "eventlog.bin", &guest.event_log()?)
}

/// The report of VMPL0 about the vTPM.
pub fn report(guest: &mut Guest, folder: &Path, nonce: &Nonce) -> Result<(), String> {
    tell(&format!(
        "guest# mkdir {REPORT}; service_provider=svsm, service_guid, inblob -> outblob, manifestblob, auxblob"
    ));
    guest.folder(REPORT)?;
    for (name, value) in [("service_provider", &b"svsm"[..]), ("service_guid", VTPM), ("inblob", nonce)] {
        guest.put(&format!("{REPORT}/{name}"), value)?;
    }
    for (name, file) in
        [("outblob", "report.bin"), ("manifestblob", "manifest.bin"), ("auxblob", "certs.bin")]
    {
        keep(folder, file, &guest.get(&format!("{REPORT}/{name}"))?)?;
    }
    Ok(())
}

/// Makes the endorsement key, which is the same each time.
pub fn endorsement_key(guest: &mut Guest) -> Result<(), String> {
    run(guest, CREATE_EK).map(|_| ())
}

fn keys(guest: &mut Guest, folder: &Path) -> Result<(), String> {
    endorsement_key(guest)?;
    run(guest, CREATE_AK)?;
    for name in ["ek.pub", "ak.pub"] {
        keep(folder, name, &guest.get(name)?)?;
    }
    Ok(())
}

/// A quote; the nonce stands in it as its SHA-256, because a TPM takes no more bytes than its longest digest has.
pub fn quote(guest: &mut Guest, folder: &Path, nonce: &Nonce) -> Result<(), String> {
    run(guest, &format!("{QUOTE} {}", hex(&Sha256::digest(nonce))))?;
    for name in ["quote.msg", "quote.sig", "pcrs.bin"] {
        keep(folder, name, &guest.get(name)?)?;
    }
    Ok(())
}

/// Answers the relying party's challenge.
pub fn prove(guest: &mut Guest, folder: &Path, party: &RelyingParty) -> Result<(), String> {
    tell("relying party: svsm-verify challenge");
    let credential = party.challenge(folder)?;
    keep(folder, "activated.bin", &activate(guest, &credential)?)
}

/// Opens a credential: the answer to a challenge, or a secret.
pub fn activate(guest: &mut Guest, credential: &[u8]) -> Result<Vec<u8>, String> {
    guest.put("credential.blob", credential)?;
    for command in SESSION {
        run(guest, command)?;
    }
    let opened = run(guest, ACTIVATE);
    run(guest, FLUSH)?;
    opened?;
    guest.get("activated.bin")
}

/// Where later evidence goes.
pub struct Folders<'a> {
    /// The evidence that there is.
    pub genuine: &'a Path,
    /// A report about another nonce.
    pub later: &'a Path,
    /// A report that Linux itself asks for.
    pub by_guest: &'a Path,
    /// A quote after a PCR was extended.
    pub extended: &'a Path,
}

/// What the guest can say later, and by itself.
pub fn later_reports(
    guest: &mut Guest,
    folders: Folders<'_>,
    nonce: &Nonce,
    later_nonce: &Nonce,
) -> Result<(), String> {
    for folder in [folders.later, folders.by_guest, folders.extended] {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    report(guest, folders.later, later_nonce)?;
    let manifest = std::fs::read(folders.genuine.join("manifest.bin")).map_err(|error| error.to_string())?;
    // The same data as in the report of VMPL0, so that nothing but the level differs.
    let data = Sha512::new().chain_update(nonce).chain_update(manifest).finalize();
    keep(folders.by_guest, "report.bin", &own_report(guest, &data)?)?;
    run(guest, &format!("tpm2_pcrextend 9:sha256={}", hex(&data[..32])))?;
    quote(guest, folders.extended, nonce)
}

/// A report that Linux itself asks the security processor for, over its own channel.
pub fn own_report(guest: &mut Guest, data: &[u8]) -> Result<Vec<u8>, String> {
    guest.folder(OWN_REPORT)?;
    guest.put(&format!("{OWN_REPORT}/privlevel"), b"2")?;
    guest.put(&format!("{OWN_REPORT}/inblob"), data)?;
    guest.get(&format!("{OWN_REPORT}/outblob"))
}

/// Takes a sealed secret into the TPM.
pub fn import(guest: &mut Guest, sealed: &Path) -> Result<(), String> {
    for name in ["sealed.pub", "sealed.dup", "sealed.seed"] {
        let bytes = std::fs::read(sealed.join(name)).map_err(|error| format!("{name}: {error}"))?;
        guest.put(name, &bytes)?;
    }
    for command in SESSION.iter().chain(IMPORT) {
        run(guest, command)?;
    }
    Ok(())
}

/// Opens it with the PCRs as they are.
pub fn unseal(guest: &mut Guest) -> Result<String, String> {
    run(guest, SESSION[0])?;
    let opened = run(guest, "tpm2_policypcr -S session.ctx -l sha256:4,8,9")
        .and_then(|_| run(guest, "tpm2_unseal -c sealed.ctx -p session:session.ctx"));
    run(guest, FLUSH)?;
    opened
}

/// How reading the certificate of the endorsement key ends.
pub fn read_certificate(guest: &mut Guest, index: &str) -> Result<Vec<u8>, String> {
    run(guest, &format!("tpm2_nvread {index} -C o -o ek.read"))?;
    guest.get("ek.read")
}

/// Stores a certificate of the endorsement key, as the guest's administrator does with what an authority sent.
pub fn store_certificate(guest: &mut Guest, index: &str, certificate: &[u8]) -> Result<(), String> {
    guest.put("ek.crt", certificate)?;
    let size = certificate.len();
    run(guest, &format!("tpm2_nvdefine {index} -C p -s {size} -a {CERTIFICATE_ATTRIBUTES}"))?;
    run(guest, &format!("tpm2_nvwrite {index} -C p -i ek.crt")).map(|_| ())
}

/// Seals a secret of the guest's own to its PCRs, and opens it.
pub fn seal_own(guest: &mut Guest, secret: &[u8]) -> Result<String, String> {
    guest.put("own.secret", secret)?;
    for command in SEAL {
        run(guest, command)?;
    }
    run(guest, OPEN)
}

/// Opens it again.
pub fn open_own(guest: &mut Guest) -> Result<String, String> {
    run(guest, OPEN)
}

/// Restarts the guest with the secret of its own in the TPM.
pub fn restart(guest: &mut Guest) -> Result<(), String> {
    run(guest, KEEP)?;
    tell("guest# reboot");
    guest.restart()
}

/// Opens the secret that the TPM kept.
pub fn open_kept(guest: &mut Guest) -> Result<String, String> {
    run(guest, OPEN_KEPT)
}

/// How often the TPM was reset, as it says itself.
pub fn reset_count(guest: &mut Guest) -> Result<u32, String> {
    let clock = run(guest, "tpm2_readclock")?;
    let count = clock.lines().find_map(|line| line.trim().strip_prefix("reset_count:")?.trim().parse().ok());
    count.ok_or_else(|| format!("'{clock}' names no reset count"))
}
