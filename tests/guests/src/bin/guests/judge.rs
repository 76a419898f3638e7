//! Reads what a boot left, and gives a verdict on each thing that was promised.

use crate::rows::{Ending, Row, WayName};
use end_to_end::emulator::Ended;
use end_to_end::verdict::{Outcome, Verdict};

/// Exit status of `snp-emulator` after a power-off, and after a termination.
const FINISHED: i32 = 0;
const TERMINATED: i32 = 3;
/// Our reason set, and the code for a blob that is not the measured one (`kernel/hardware/src/termination.rs`).
const BLOB_REFUSED: &str = "reason set 8 code 21";
/// The code for a guest that cannot be started again.
const NOT_RESTARTED: &str = "reason set 8 code 24";
const MIB: u64 = 1 << 20;
/// What VMPL0 may keep of a VM.
const MOST_KEPT: u64 = 16 * MIB;
/// What else a guest may not see of its memory as usable: the PC's hole below 1 MiB, pages for boot data and ACPI tables.
const MOST_RESERVED: u64 = 2 * MIB;

/// The verdicts on a boot, each with the row's name in front.
pub fn judge(row: &Row, ended: &Ended) -> Vec<Verdict> {
    let named = |name: &str, result: Result<(), String>| {
        let name = format!("{}::{name}", row.name);
        match result {
            Ok(()) => Verdict::new(Outcome::Passed, name, ""),
            Err(reason) => Verdict::new(Outcome::Failed, name, reason),
        }
    };
    match row.ending {
        Ending::Refused(_) => vec![named("before_the_guest_runs", refused(ended))],
        Ending::NotRestarted(checks) => {
            let mut verdicts: Vec<_> =
                checks.iter().map(|name| named(name, said(ended, name).map(|_| ()))).collect();
            verdicts.push(named("ends_with_the_reason", not_restarted(ended)));
            verdicts
        }
        Ending::Checks(checks) => {
            let mut verdicts: Vec<_> =
                checks.iter().map(|name| named(name, said_each_time(row, ended, name))).collect();
            let end = if row.restarts == 0 { "power_off" } else { "restart" };
            verdicts.push(named(end, end_of_run(row, ended)));
            verdicts.push(named("machine_found_no_violation", no_violation(ended)));
            verdicts.push(named("ledger_equals_rmp", ended.ledger_agrees()));
            verdicts.push(named("memory_is_all_but_what_the_firmware_keeps", memory(row, ended)));
            verdicts
        }
    }
}

/// What the guest said about a check that passed.
pub fn said(ended: &Ended, name: &str) -> Result<String, String> {
    let lines = ended.serial.lines().filter_map(|line| line.split_once("vouchsafe: "));
    let line = lines.map(|(_, text)| text).find(|text| text.split(' ').next() == Some(name));
    match line.and_then(|text| text.split_once(' ')) {
        Some((_, rest)) if rest.starts_with("passed") => {
            Ok(rest.trim_start_matches("passed").trim().to_owned())
        }
        Some((_, rest)) => Err(rest.to_owned()),
        None => Err(format!("the guest did not say; the machine ended with {:?}", ended.status)),
    }
}

/// The check passed in each life of the guest.
fn said_each_time(row: &Row, ended: &Ended, name: &str) -> Result<(), String> {
    said(ended, name)?;
    let wanted = row.restarts as usize + 1;
    match ended.serial.matches(&format!("vouchsafe: {name} passed")).count() {
        times if times == wanted => Ok(()),
        times => Err(format!("passed {times} times of {wanted}")),
    }
}

/// How often the guest came to its end.
fn lives(ended: &Ended) -> usize {
    ended.serial.matches("vouchsafe: done").count()
}

fn end_of_run(row: &Row, ended: &Ended) -> Result<(), String> {
    let lives = lives(ended);
    match ended.status {
        Some(FINISHED) if lives == row.restarts as usize + 1 => Ok(()),
        status => Err(format!("status {status:?} in life {lives}: {}", last_message(ended))),
    }
}

fn not_restarted(ended: &Ended) -> Result<(), String> {
    let reason = ended.message("terminated: ").unwrap_or_default();
    let lives = lives(ended);
    if (ended.status, lives) == (Some(TERMINATED), 1) && reason.ends_with(NOT_RESTARTED) {
        return Ok(());
    }
    Err(format!("status {:?} in life {lives}, '{reason}' instead of {NOT_RESTARTED}", ended.status))
}

fn no_violation(ended: &Ended) -> Result<(), String> {
    let summary = ended.message("summary: ").ok_or("the machine gave no summary")?;
    match summary.split(' ').rev().take(2).collect::<Vec<_>>()[..] {
        ["0", "violations"] => Ok(()),
        _ => Err(format!("{summary}; {}", last_message(ended))),
    }
}

fn last_message(ended: &Ended) -> String {
    let words = ["violation", "terminated", "verdict"];
    let found =
        words.iter().find_map(|word| Some(format!("{word}: {}", ended.message(&format!("{word}: "))?)));
    found.unwrap_or_default()
}

/// What the guest was told of its memory, against what the machine has.
fn memory(row: &Row, ended: &Ended) -> Result<(), String> {
    let said = said(ended, "memory")?;
    let usable = said.split(' ').find_map(|word| word.strip_prefix("usable=")?.parse::<u64>().ok());
    let usable = usable.ok_or_else(|| format!("'{said}' names no usable memory"))?;
    let given = row.memory_mib * MIB;
    // UEFI firmware keeps memory for itself, which only has to be no more than there is.
    let most_missing = if matches!(row.way, WayName::Ovmf | WayName::SidOvmf) {
        given / 4
    } else {
        MOST_KEPT + MOST_RESERVED
    };
    match given.checked_sub(usable) {
        Some(missing) if missing <= most_missing => Ok(()),
        _ => Err(format!("{usable} of {given} bytes are usable")),
    }
}

fn refused(ended: &Ended) -> Result<(), String> {
    let reason = ended.message("terminated: ").unwrap_or_default();
    if ended.status != Some(TERMINATED) || !reason.ends_with(BLOB_REFUSED) {
        return Err(format!("status {:?}, '{reason}' instead of {BLOB_REFUSED}", ended.status));
    }
    match ended.booted_after {
        None => Ok(()),
        Some(_) => Err("the guest ran before the refusal".to_owned()),
    }
}
