//! What a relying party must refuse, and what no other guest may open: as a stage of `make test`.
//!
//! Two guests run, one after the other, each a VM of its own on the same chip. The first is the one that the relying party
//! accepts. The second was launched with another command line and lets the host debug it. Each row of [`CASES`] changes one
//! thing about the first one's evidence, or about the question, and names the check that must find it.

use crate::guest::{Guest, Image};
use crate::relying_party::{Answer, KEPT, Nonce, RelyingParty, random};
use crate::{Place, firmware, steps};
use end_to_end::verdict::{Outcome, RESULTS_VARIABLE, Verdict};
use std::path::{Path, PathBuf};

/// Guest policy with debugging allowed (AMD 56860, chapter 4.3): bit 19, beside SMT and the bit that is always one.
const DEBUGGING: u64 = 1 << 19 | 1 << 17 | 1 << 16;
/// Status of `svsm-verify` where evidence is refused.
const REFUSED: Option<i32> = Some(1);
/// How tpm2-tools name TPM_RC_POLICY_FAIL.
const POLICY: &str = "a policy check failed";
/// How they name TPM_RC_HANDLE of an index that is not there.
const NO_INDEX: &str = "the handle is not correct for the use";
const SECRET: &[u8] = b"the key of the guest's disk";
/// Where a secret that is sealed to PCRs lies.
const SEALED: &str = "sealed";

/// What was collected.
struct Collected {
    place: PathBuf,
    /// The accepted guest's evidence, and the nonce that it is about.
    genuine: PathBuf,
    nonce: Nonce,
    /// A later report by the same guest, about this nonce.
    later: PathBuf,
    later_nonce: Nonce,
    /// A report that the guest's kernel asked for.
    by_guest: PathBuf,
    /// A quote after the guest extended a PCR without logging it.
    extended: PathBuf,
    /// The other guest's evidence, about the same nonce.
    foreign: PathBuf,
    foreign_image: PathBuf,
}

/// A question with its evidence.
struct Question<'a> {
    collected: &'a Collected,
    evidence: PathBuf,
    party: RelyingParty,
    nonce: Nonce,
}

impl Question<'_> {
    /// Takes a file from other evidence.
    fn take(&self, from: &Path, files: &[&str]) -> Result<(), String> {
        for file in files {
            let copied = std::fs::copy(from.join(file), self.evidence.join(file));
            copied.map_err(|error| format!("{file}: {error}"))?;
        }
        Ok(())
    }

    /// Changes a file.
    fn alter(&self, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<(), String> {
        let path = self.evidence.join(file);
        let mut bytes = std::fs::read(&path).map_err(|error| error.to_string())?;
        change(&mut bytes);
        std::fs::write(path, bytes).map_err(|error| error.to_string())
    }
}

/// A change that must be noticed.
struct Case {
    name: &'static str,
    change: fn(&mut Question<'_>) -> Result<(), String>,
    /// The check that must fail.
    check: &'static str,
    /// What its reason must say.
    reason: &'static str,
}

const QUOTE: &[&str] = &["quote.msg", "quote.sig", "pcrs.bin"];
const EVERYTHING: &[&str] = &[
    "report.bin",
    "manifest.bin",
    "certs.bin",
    "ek.pub",
    "ak.pub",
    "quote.msg",
    "quote.sig",
    "pcrs.bin",
    "eventlog.bin",
    "activated.bin",
    "challenge.json",
];

const CASES: &[Case] = &[
    Case {
        name: "another_nonce_is_refused",
        change: |question| {
            question.nonce = random();
            Ok(())
        },
        check: "report_data",
        reason: "",
    },
    Case {
        name: "another_manifest_is_refused",
        change: |question| question.take(&question.collected.foreign, &["manifest.bin"]),
        check: "report_data",
        reason: "manifest",
    },
    Case {
        name: "swapped_endorsement_key_is_refused",
        change: |question| question.take(&question.collected.foreign, &["ek.pub"]),
        check: "endorsement_key",
        reason: "",
    },
    Case {
        name: "report_of_another_vm_is_refused",
        change: |question| question.take(&question.collected.foreign, &["report.bin"]),
        check: "report_data",
        reason: "",
    },
    Case {
        name: "report_from_vmpl2_is_refused",
        change: |question| question.take(&question.collected.by_guest, &["report.bin"]),
        check: "vmpl",
        reason: "2",
    },
    Case {
        name: "older_tcb_is_refused",
        change: |question| {
            question.party.policy = question.party.policy.replace("snp = 24", "snp = 25");
            Ok(())
        },
        check: "minimum_tcb",
        reason: "",
    },
    Case {
        name: "chain_to_a_root_that_was_not_named_is_refused",
        change: |question| {
            question.party.root = None;
            Ok(())
        },
        check: "certificate_chain",
        reason: "",
    },
    Case {
        name: "guest_that_the_host_may_debug_is_refused",
        change: |question| {
            question.party.image.clone_from(&question.collected.foreign_image);
            question.take(&question.collected.foreign, EVERYTHING)
        },
        check: "guest_policy",
        reason: "debug",
    },
    Case {
        name: "changed_image_is_refused",
        change: |question| {
            question.party.image.clone_from(&question.collected.foreign_image);
            Ok(())
        },
        check: "measurement",
        reason: "",
    },
    Case {
        name: "changed_command_line_is_refused",
        change: |question| {
            question.party.image.clone_from(&question.collected.foreign_image);
            question.take(&question.collected.foreign, EVERYTHING)
        },
        check: "pcr_policy",
        reason: "8",
    },
    Case {
        name: "changed_pcr_value_is_refused",
        change: |question| question.alter("pcrs.bin", |bytes| bytes[8 * 32] ^= 1),
        check: "pcr_digest",
        reason: "",
    },
    Case {
        name: "extension_that_is_not_in_the_log_is_refused",
        change: |question| question.take(&question.collected.extended, QUOTE),
        check: "event_log",
        reason: "9",
    },
    Case {
        name: "removed_log_entry_is_refused",
        change: |question| question.alter("eventlog.bin", remove_last_event),
        check: "event_log",
        reason: "",
    },
    Case {
        name: "quote_by_a_foreign_key_is_refused",
        change: |question| question.take(&question.collected.foreign, QUOTE),
        check: "quote_signature",
        reason: "",
    },
    Case {
        name: "foreign_attestation_key_is_refused",
        change: |question| {
            question.take(&question.collected.foreign, QUOTE)?;
            question.take(&question.collected.foreign, &["ak.pub"])
        },
        check: "key_activation",
        reason: "",
    },
    Case {
        name: "replayed_quote_is_refused",
        change: |question| {
            question.nonce = question.collected.later_nonce;
            question.take(&question.collected.later, &["report.bin", "manifest.bin"])
        },
        check: "quote_nonce",
        reason: "",
    },
];

/// The last event is the separator of PCR 7: PCR, type, number of digests, SHA-256, SHA-384, length, four bytes.
fn remove_last_event(log: &mut Vec<u8>) {
    const EVENT_BYTES: usize = 4 + 4 + 4 + (2 + 32) + (2 + 48) + 4 + 4;
    log.truncate(log.len() - EVENT_BYTES);
}

/// Says that nothing of it can be tried.
pub fn skip(reason: &str) -> Result<(), String> {
    write(&[Verdict::new(Outcome::Skipped, "workflow", reason)])
}

fn write(verdicts: &[Verdict]) -> Result<(), String> {
    let Some(path) = std::env::var_os(RESULTS_VARIABLE) else { return Ok(()) };
    let lines: String = verdicts.iter().map(Verdict::line).collect();
    std::fs::write(path, lines).map_err(|error| error.to_string())
}

/// Collects verdicts, and says each at once.
#[derive(Default)]
pub struct Judged(Vec<Verdict>);

impl Judged {
    /// Whether something held.
    pub fn record(&mut self, name: &str, held: Result<(), String>) {
        self.push(match held {
            Ok(()) => Verdict::new(Outcome::Passed, name, ""),
            Err(reason) => Verdict::new(Outcome::Failed, name, reason),
        });
    }

    /// Something that could not be tried.
    pub fn skip(&mut self, name: &str, reason: &str) {
        self.push(Verdict::new(Outcome::Skipped, name, reason));
    }

    fn push(&mut self, verdict: Verdict) {
        print!("{}", verdict.line());
        self.0.push(verdict);
    }
}

/// Runs everything; whether all held.
pub fn judge(place: &Place, command_line: &str) -> Result<bool, String> {
    let mut judged = Judged::default();
    let image = Image::build(place, "accepted", command_line, None)?.that_restarts();
    let party = RelyingParty::new(place, &image);
    let other = Image::build(place, "foreign", &format!("{command_line} more"), Some(DEBUGGING))?;
    let folder = |name: &str| place.folder.join(name);
    let collected = Collected {
        place: place.folder.clone(),
        genuine: folder("genuine"),
        nonce: random(),
        later: folder("later"),
        later_nonce: random(),
        by_guest: folder("by_guest"),
        extended: folder("extended"),
        foreign: folder("foreign"),
        foreign_image: other.path.clone(),
    };
    let wrapped = accepted_guest(place, &image, &party, &collected, &mut judged)?;
    foreign_guest(place, &other, &party, &collected, &wrapped, &mut judged)?;
    firmware::judge(place, command_line, &mut judged)?;
    for case in CASES {
        judged.record(case.name, refused(case, &party, &collected));
    }
    write(&judged.0)?;
    let failed = judged.0.iter().filter(|verdict| verdict.outcome == Outcome::Failed).count();
    println!("workflow: {} passed, {failed} failed", judged.0.len() - failed);
    Ok(failed == 0)
}

/// The session that verifies, secrets for it, and what it says later; returns a wrapped secret.
fn accepted_guest(
    place: &Place,
    image: &Image,
    party: &RelyingParty,
    collected: &Collected,
    judged: &mut Judged,
) -> Result<Vec<u8>, String> {
    let mut guest = image.start(place)?;
    steps::collect(&mut guest, &collected.genuine, &collected.nonce)?;
    steps::prove(&mut guest, &collected.genuine, party)?;
    let answer = party.judge(&collected.genuine, &collected.nonce)?;
    judged.record("evidence_of_the_accepted_guest_is_verified", verified(&answer));
    certificate(&mut guest, party, judged)?;
    let output = place.folder.join("wrapped.blob");
    let answer = party.release(&collected.genuine, &collected.nonce, SECRET, &output, &[])?;
    judged.record("secret_is_released_to_the_accepted_guest", verified(&answer));
    let wrapped = std::fs::read(&output).map_err(|error| format!("wrapped.blob: {error}"))?;
    let opened = steps::activate(&mut guest, &wrapped).and_then(|bytes| same(&bytes, SECRET));
    judged.record("accepted_guest_opens_the_secret", opened);
    let sealed = place.folder.join(SEALED);
    // A sealed object opens for whatever key the endorsement key serves, so that the challenge must have been answered.
    let challenge = collected.genuine.join(KEPT).display().to_string();
    let more = ["--seal-to", "sha256:4,8,9", "--challenge", &challenge];
    let answer = party.release(&collected.genuine, &collected.nonce, SECRET, &sealed, &more)?;
    let unsealed = verified(&answer)
        .and_then(|()| steps::import(&mut guest, &sealed))
        .and_then(|()| steps::unseal(&mut guest))
        .and_then(|text| same(text.as_bytes(), SECRET));
    judged.record("sealed_secret_opens_with_the_quoted_pcrs", unsealed);
    let own = steps::seal_own(&mut guest, SECRET).and_then(|text| same(text.as_bytes(), SECRET));
    judged.record("guest_seals_a_secret_to_its_pcrs_by_itself", own);
    steps::later_reports(&mut guest, collected_folders(collected), &collected.nonce, &collected.later_nonce)?;
    judged.record("sealed_secret_stays_shut_after_a_pcr_changed", shut(steps::unseal(&mut guest), POLICY));
    judged.record("own_secret_stays_shut_after_a_pcr_changed", shut(steps::open_own(&mut guest), POLICY));
    restarted(&mut guest, party, place, judged)?;
    guest.finish()?;
    Ok(wrapped)
}

/// The same VM after a restart of its guest: PCRs begin anew, keys and what is sealed stay, and it can prove itself again.
fn restarted(
    guest: &mut Guest,
    party: &RelyingParty,
    place: &Place,
    judged: &mut Judged,
) -> Result<(), String> {
    let before = steps::reset_count(guest)?;
    steps::restart(guest)?;
    let opened = steps::open_kept(guest).and_then(|text| same(text.as_bytes(), SECRET));
    judged.record("own_secret_opens_after_a_restart_of_the_guest", opened);
    // What the relying party wrapped is for the same endorsement key and the same PCRs.
    steps::endorsement_key(guest)?;
    let unsealed = steps::import(guest, &place.folder.join(SEALED))
        .and_then(|()| steps::unseal(guest))
        .and_then(|text| same(text.as_bytes(), SECRET));
    judged.record("sealed_secret_opens_after_a_restart_of_the_guest", unsealed);
    let count = steps::reset_count(guest)?;
    let counted = if count == before + 1 { Ok(()) } else { Err(format!("{before} resets, then {count}")) };
    judged.record("restart_of_the_guest_is_a_reset_of_the_tpm", counted);
    let [first, ..] = steps::CERTIFICATE_INDICES;
    let bytes = certificate_bytes(party)?;
    let kept = steps::read_certificate(guest, first).and_then(|read| same(&read, &bytes));
    judged.record("certificate_is_kept_over_a_restart_of_the_guest", kept);
    let (evidence, nonce) = (place.folder.join("restarted"), random());
    // The security processor counts on, and so must the guest's channel to it.
    let own = steps::own_report(guest, &nonce).map(|_| ());
    judged.record("restarted_guest_goes_on_with_its_own_messages", own);
    steps::collect(guest, &evidence, &nonce)?;
    steps::prove(guest, &evidence, party)?;
    let answer = party.judge(&evidence, &nonce)?;
    judged.record("evidence_of_the_restarted_guest_is_verified", verified(&answer));
    Ok(())
}

/// What stands for a certificate: any bytes serve, as only readers judge them.
fn certificate_bytes(party: &RelyingParty) -> Result<Vec<u8>, String> {
    let root = party.root.as_deref().ok_or("no test root")?;
    std::fs::read(root).map_err(|error| format!("{}: {error}", root.display()))
}

/// The TPM starts without certificates, and keeps those that its owner stores.
fn certificate(guest: &mut Guest, party: &RelyingParty, judged: &mut Judged) -> Result<(), String> {
    let [first, ..] = steps::CERTIFICATE_INDICES;
    judged.record(
        "new_tpm_has_no_certificate_of_its_endorsement_key",
        shut(steps::read_certificate(guest, first), NO_INDEX),
    );
    let bytes = certificate_bytes(party)?;
    let kept = steps::CERTIFICATE_INDICES.iter().try_for_each(|index| {
        steps::store_certificate(guest, index, &bytes)?;
        same(&steps::read_certificate(guest, index)?, &bytes)
    });
    judged.record("certificates_of_endorsement_keys_are_kept_in_their_indices", kept);
    Ok(())
}

fn collected_folders(collected: &Collected) -> steps::Folders<'_> {
    steps::Folders {
        genuine: &collected.genuine,
        later: &collected.later,
        by_guest: &collected.by_guest,
        extended: &collected.extended,
    }
}

/// A guest with another measurement gets nothing, and opens nothing.
fn foreign_guest(
    place: &Place,
    image: &Image,
    party: &RelyingParty,
    collected: &Collected,
    wrapped: &[u8],
    judged: &mut Judged,
) -> Result<(), String> {
    let mut guest: Guest = image.start(place)?;
    steps::collect(&mut guest, &collected.foreign, &collected.nonce)?;
    steps::prove(&mut guest, &collected.foreign, party)?;
    let opened = steps::activate(&mut guest, wrapped);
    judged.record(
        "guest_with_another_measurement_cannot_open_the_secret",
        shut(opened, "tpm2_activatecredential"),
    );
    guest.finish()?;
    let output = place.folder.join("must_not_be_written");
    let _ = std::fs::remove_file(&output);
    let answer = party.release(&collected.foreign, &collected.nonce, SECRET, &output, &[])?;
    let nothing = refusal(&answer, "measurement", "").and_then(|()| match output.exists() {
        true => Err("something was released".to_owned()),
        false => Ok(()),
    });
    judged.record("nothing_is_released_to_a_guest_with_another_measurement", nothing);
    Ok(())
}

fn shut<T>(opened: Result<T, String>, reason: &str) -> Result<(), String> {
    match opened {
        Err(why) if why.contains(reason) => Ok(()),
        Err(why) => Err(format!("it does not open for another reason: {why}")),
        Ok(_) => Err("it opened".to_owned()),
    }
}

fn same(bytes: &[u8], wanted: &[u8]) -> Result<(), String> {
    if bytes == wanted { Ok(()) } else { Err(format!("{} other bytes", bytes.len())) }
}

/// Everything passed.
pub fn verified(answer: &Answer) -> Result<(), String> {
    if answer.status == Some(0) { Ok(()) } else { Err(format!("{:?}: {}", answer.status, answer.claims)) }
}

/// A check failed, and says why.
pub fn refusal(answer: &Answer, check: &str, reason: &str) -> Result<(), String> {
    match answer.refusal(check) {
        Some(why) if answer.status == REFUSED && why.contains(reason) => Ok(()),
        found => Err(format!("status {:?}, {check}: {found:?}", answer.status)),
    }
}

fn refused(case: &Case, party: &RelyingParty, collected: &Collected) -> Result<(), String> {
    let evidence = collected.place.join("altered");
    let _ = std::fs::remove_dir_all(&evidence);
    std::fs::create_dir_all(&evidence).map_err(|error| error.to_string())?;
    let mut question = Question { collected, evidence, party: party.clone(), nonce: collected.nonce };
    question.take(&collected.genuine, EVERYTHING)?;
    (case.change)(&mut question)?;
    let answer = question.party.judge(&question.evidence, &question.nonce)?;
    refusal(&answer, case.check, case.reason)
}
