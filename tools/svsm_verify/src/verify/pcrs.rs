//! What a quote's values and the event log prove together, and the policy's rules about them.

use super::{Verdict, passed};
use crate::claims::{Check, Outcome};
use crate::policy::{EventRule, Place, VtpmPolicy};
use crate::refusal::Refusal;
use crate::vtpm::event_log::EventLog;
use crate::vtpm::hash::HashAlgorithm;
use crate::vtpm::quote::PcrValue;

/// A log that was read, `None` if there is none and none is asked for.
pub(super) type Log = Result<Option<EventLog>, Refusal>;

/// The values that count: PCRs of the policy in banks of the policy. One of the banks has to have them all.
pub(super) fn select<'a>(
    values: Vec<PcrValue<'a>>,
    policy: &VtpmPolicy,
) -> Result<Vec<PcrValue<'a>>, Refusal> {
    let wanted = policy.pcrs();
    let missing = |bank: HashAlgorithm| {
        let has = |index: &u32| values.iter().any(|value| (value.0, value.1) == (bank, *index));
        wanted.iter().copied().find(|index| !has(index))
    };
    let mut quoted = policy.banks.iter().map(|bank| bank.0);
    if quoted.clone().all(|bank| missing(bank).is_some()) {
        let part = quoted.find(|bank| values.iter().any(|value| value.0 == *bank));
        let index = part.and_then(missing).or_else(|| wanted.first().copied()).unwrap_or_default();
        return Err(Refusal::PcrNotQuoted(part, index));
    }
    let counts = |value: &PcrValue<'_>| policy.has_bank(value.0) && wanted.contains(&value.1);
    Ok(values.into_iter().filter(counts).collect())
}

/// Whether the log leads to every value that it has to explain, in every bank that was quoted.
pub(super) fn explain(values: &[PcrValue<'_>], log: &Log, policy: &VtpmPolicy) -> Verdict {
    let Some(log) = log.as_ref().map_err(Clone::clone)? else {
        return Ok(Outcome::NotAsked("the policy does not ask for an event log, and the evidence has none"));
    };
    let logged = policy.logged_pcrs();
    let mut explained = 0_usize;
    for (bank, index, value) in values.iter().filter(|value| logged.contains(&value.1)) {
        if !log.banks.contains(bank) {
            return Err(Refusal::BankNotLogged(*bank));
        }
        if log.replay(*bank, *index) != *value {
            return Err(Refusal::EventLog(*bank, *index));
        }
        explained = explained.saturating_add(1);
    }
    passed(format!("{} events lead to {explained} of the quoted PCRs", log.events.len()))
}

/// The policy's rules.
pub(super) fn judge(values: &[PcrValue<'_>], log: &Log, policy: &VtpmPolicy) -> Verdict {
    if policy.pcr.is_empty() && policy.event.is_empty() {
        return Ok(Outcome::NotAsked("the policy accepts any PCR values"));
    }
    let quoted = |bank, index| {
        let found = values.iter().find(|value| (value.0, value.1) == (bank, index));
        found.map(|value| value.2).ok_or(Refusal::NotQuoted(bank, index))
    };
    for rule in &policy.pcr {
        let value = quoted(rule.bank.0, rule.index)?;
        if !rule.values.iter().any(|accepted| accepted.0 == value) {
            return Err(Refusal::PcrValue(rule.bank.0, rule.index, value.to_vec()));
        }
    }
    for rule in &policy.event {
        let value = quoted(rule.bank.0, rule.index)?;
        let log = log.as_ref().map_err(|_| Refusal::NotJudged(Check::EventLog))?;
        let log = log.as_ref().ok_or(Refusal::Missing("event log (eventlog.bin)"))?;
        // What does not lead to the value says nothing about the PCR.
        if log.replay(rule.bank.0, rule.index) != value {
            return Err(Refusal::NotJudged(Check::EventLog));
        }
        holds(rule, log)?;
    }
    passed(format!("{} PCR rules and {} event rules hold", policy.pcr.len(), policy.event.len()))
}

fn holds(rule: &EventRule, log: &EventLog) -> Result<(), Refusal> {
    let (bank, index) = (rule.bank.0, rule.index);
    let refused = |why| Err(Refusal::Event(bank, index, why));
    let Some((place, demanded)) = rule.demand() else { return refused("has a rule without a place") };
    let all: Vec<&[u8]> = log.extensions(bank, index).collect();
    let (found, why) = match place {
        Place::Start => match all.get(..demanded.len()) {
            Some(start) => (start.to_vec(), "does not start with what the policy demands"),
            None => return refused("has fewer measurements than the policy demands"),
        },
        Place::Everything => (all, "does not hold exactly what the policy demands"),
        Place::BeforeSeparator => match log.before_separator(bank, index) {
            Some(before) => (before, "does not hold exactly what the policy demands before its separator"),
            None => return refused("has no separator"),
        },
    };
    let is_as_demanded = found.len() == demanded.len()
        && found.iter().zip(demanded).all(|(digest, demanded)| demanded.is(bank, digest));
    if is_as_demanded { Ok(()) } else { refused(why) }
}
