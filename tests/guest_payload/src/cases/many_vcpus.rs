//! Several vCPUs: created, run, deleted, racing.

use crate::boot::Boot;
use crate::check::{Check, expect_eq};
use crate::exception;
use crate::ghcb;
use crate::memory::{fresh_page, write};
use crate::svsm::{self, call_from, entry, pvalidate_from};
use crate::vcpu::{
    Created, apic_id, count, create, delete, features, prepare, result, start, start_work, stop,
};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering};

fn query(_: u64, calling_area: u64) -> u64 {
    let answer = call_from(calling_area, svsm::QUERY_PROTOCOL, 1, 0, 0);
    if answer.served && answer.rax == svsm::SUCCESS { answer.rcx } else { u64::MAX }
}

fn expect_query(number: usize) -> Check {
    start_work(number, query, 0);
    expect_eq!(result(number)?, 1 << 32 | 1, "query from vCPU {}", number);
    Ok(())
}

pub fn second_vcpu_runs_and_calls(_: &Boot) -> Check {
    let created = start(1);
    expect_query(1)?;
    expect_eq!(stop(1, &created), svsm::SUCCESS, "delete");
    Ok(())
}

pub fn vcpu_is_deleted_and_created_again(_: &Boot) -> Check {
    for _ in 0..5 {
        let created = start(1);
        expect_query(1)?;
        expect_eq!(stop(1, &created), svsm::SUCCESS, "delete");
        expect_eq!(svsm::rescind(created.vmsa), svsm::SUCCESS, "rescind");
    }
    Ok(())
}

pub fn next_vmsa_may_be_created_before_the_last_is_deleted(_: &Boot) -> Check {
    let first = start(1);
    expect_query(1)?;
    let second = start(1);
    expect_query(1)?;
    expect_eq!(delete(first.vmsa), svsm::SUCCESS, "delete the first");
    expect_query(1)?;
    expect_eq!(stop(1, &second), svsm::SUCCESS, "delete the second");
    Ok(())
}

pub fn running_vmsa_cannot_be_deleted(_: &Boot) -> Check {
    let created = start(1);
    expect_query(1)?;
    // The vCPU waits in a loop, so its VMSA is in use but for moments.
    expect_eq!(delete(created.vmsa), svsm::INVALID_REQUEST, "delete");
    expect_query(1)?;
    expect_eq!(stop(1, &created), svsm::SUCCESS, "delete when stopped");
    Ok(())
}

pub fn running_vmsa_cannot_be_rescinded(_: &Boot) -> Check {
    let created = start(1);
    expect_query(1)?;
    expect_eq!(svsm::rescind(created.vmsa), svsm::INVALID_ADDRESS, "rescind");
    expect_query(1)?;
    expect_eq!(stop(1, &created), svsm::SUCCESS, "delete");
    Ok(())
}

/// Where vCPUs meet before a race.
static MEETING: AtomicU64 = AtomicU64::new(0);

fn meet(vcpus: u64) {
    MEETING.fetch_add(1, Ordering::SeqCst);
    while !MEETING.load(Ordering::SeqCst).is_multiple_of(vcpus) {
        spin_loop();
    }
}

/// Validates a page, repeated while another vCPU is at it.
fn validate_when_free(page: u64, calling_area: u64) -> u64 {
    loop {
        let result = pvalidate_from(calling_area, &[entry(page, false, true, false)]).rax;
        if result != svsm::BUSY {
            return result;
        }
    }
}

fn race(page: u64, calling_area: u64) -> u64 {
    meet(2);
    validate_when_free(page, calling_area)
}

pub fn two_vcpus_race_for_one_page_and_one_wins(_: &Boot) -> Check {
    let created = start(1);
    for round in 0..100 {
        let page = fresh_page();
        MEETING.store(0, Ordering::SeqCst);
        start_work(1, race, page);
        let own = race(page, svsm::boot_calling_area());
        let other = result(1)?;
        let winners = [own, other].iter().filter(|result| **result == svsm::SUCCESS).count();
        let losers = [own, other].iter().filter(|result| **result == svsm::NO_CHANGE).count();
        expect_eq!(
            (winners, losers),
            (1, 1),
            "winners and losers in round {}: {:#x} {:#x}",
            round,
            own,
            other
        );
        expect_eq!(exception::probe_read(page), Ok(0), "page");
    }
    expect_eq!(stop(1, &created), svsm::SUCCESS, "delete");
    Ok(())
}

/// Validates and rescinds one page again and again; returns the number of surprising results.
fn toggle(page: u64, calling_area: u64) -> u64 {
    let mut surprises = 0;
    for round in 0..200 {
        let word = entry(page, false, round % 2 == 0, false);
        let result = pvalidate_from(calling_area, &[word]).rax;
        if !matches!(result, svsm::SUCCESS | svsm::NO_CHANGE | svsm::BUSY) {
            surprises += 1;
        }
    }
    surprises
}

pub fn validation_races_with_rescission_without_harm(_: &Boot) -> Check {
    let created = start(1);
    let page = fresh_page();
    start_work(1, toggle, page);
    expect_eq!(toggle(page, svsm::boot_calling_area()), 0, "surprises here");
    expect_eq!(result(1)?, 0, "surprises on the other vCPU");
    let last = validate_when_free(page, svsm::boot_calling_area());
    expect_eq!(matches!(last, svsm::SUCCESS | svsm::NO_CHANGE), true, "page afterwards: {:#x}", last);
    write(page, 1);
    expect_eq!(stop(1, &created), svsm::SUCCESS, "delete");
    Ok(())
}

/// Many calls of every kind from one vCPU; returns the number of wrong results.
fn many_calls(first_page: u64, calling_area: u64) -> u64 {
    let mut wrong = 0;
    for round in 0..50 {
        let page = first_page + (round % 8) * 4096;
        let steps = [
            pvalidate_from(calling_area, &[entry(page, false, true, false)]).rax == svsm::SUCCESS,
            call_from(calling_area, svsm::QUERY_PROTOCOL, 1, 0, 0).rcx == 1 << 32 | 1,
            call_from(calling_area, 99, 0, 0, 0).rax == svsm::UNSUPPORTED_CALL,
            pvalidate_from(calling_area, &[entry(page, false, false, false)]).rax == svsm::SUCCESS,
        ];
        wrong += steps.iter().filter(|step| !**step).count() as u64;
    }
    wrong
}

pub fn all_vcpus_call_at_once(_: &Boot) -> Check {
    let vcpus = count().min(4);
    let created: [Option<Created>; 4] =
        core::array::from_fn(|number| (number > 0 && number < vcpus).then(|| start(number)));
    let pages: [u64; 4] = core::array::from_fn(|_| {
        let first = fresh_page();
        for _ in 0..8 {
            fresh_page();
        }
        first
    });
    for (number, page) in pages.iter().enumerate().take(vcpus).skip(1) {
        start_work(number, many_calls, *page);
    }
    expect_eq!(many_calls(pages[0], svsm::boot_calling_area()), 0, "wrong results on the boot vCPU");
    for number in 1..vcpus {
        expect_eq!(result(number)?, 0, "wrong results on vCPU {}", number);
    }
    for (number, created) in created.iter().enumerate() {
        if let Some(created) = created {
            expect_eq!(stop(number, created), svsm::SUCCESS, "delete vCPU {}", number);
        }
    }
    Ok(())
}

/// The firmware's own stress: one vCPU created, run and deleted many times.
pub fn churn(rounds: u64) -> Check {
    for round in 0..rounds {
        let number = 1 + (round as usize % (count() - 1));
        let created = prepare(number);
        expect_eq!(create(&created, apic_id(number)), svsm::SUCCESS, "create in round {}", round);
        expect_eq!(ghcb::ap_creation(apic_id(number), 2, 1, created.vmsa, features()), true, "start");
        expect_query(number)?;
        expect_eq!(stop(number, &created), svsm::SUCCESS, "delete in round {}", round);
        for page in [created.vmsa, created.calling_area] {
            expect_eq!(svsm::rescind(page), svsm::SUCCESS, "rescind in round {}", round);
        }
    }
    Ok(())
}
