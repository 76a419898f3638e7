//! Nested page faults: the model decides, the nested tables follow.

use super::deliver_vc;
use crate::nested::{MapSize, Rights};
use crate::processor::Processor;
use crate::translate::{self, C_BIT};
use crate::vmcb;
use crate::world::{Guard, World};
use model::Fault;
use model::access::{Access, Kind, Verdict};
use snp_abi::address::{LARGE_PAGE_BYTES, PAGE_BYTES, PAGES_IN_LARGE_PAGE, PageSize};
use snp_abi::rmp::Vmpl;

/// EXITINFO1 of a nested page fault: write, fetch, and the fault lies in the guest's page walk.
const WRITE: u64 = 1 << 1;
const FETCH: u64 = 1 << 4;
const WALK: u64 = 1 << 33;
/// #VC codes (APM volume 2, 15.36.10, and appendix C).
const VC_NESTED_PAGE_FAULT: u64 = 0x400;
pub const VC_PAGE_NOT_VALIDATED: u64 = 0x404;

/// Handles a nested page fault.
pub fn fault(cpu: &mut Processor, world: &mut Guard) {
    let information = cpu.vmcb.read(vmcb::EXIT_INFO_1);
    let faulted = cpu.vmcb.read(vmcb::EXIT_INFO_2);
    let kind = if information & WALK != 0 {
        Kind::Walk
    } else if information & FETCH != 0 {
        Kind::Fetch
    } else if information & WRITE != 0 {
        Kind::Write
    } else {
        Kind::Read
    };
    let unpaged = !translate::paging(&cpu.vmcb);
    let access = Access {
        address: faulted & !C_BIT,
        c_bit: faulted & C_BIT != 0,
        unpaged,
        kind,
        user: cpu.vmcb.cpl() == 3,
    };
    let actor = world.model.actor(cpu.vcpu);
    let verdict = {
        let world = &mut **world;
        world.model.access(actor, access, &mut world.memory)
    };
    match verdict {
        Verdict::Map { address, size, write, execute, changed } => {
            world.remove_converted(cpu.vcpu, changed);
            let is_foreign = world.is_foreign_code(cpu.vmpl, access.address);
            if is_foreign && kind == Kind::Fetch {
                cpu.dump("VMPL0 lost");
                world.model.report(actor, Fault::ForeignCode { address: access.address });
                world.judge();
                world.dead(cpu.vcpu, format_args!("a judge lets VMPL0 go no further"));
            }
            let alias = if access.c_bit { C_BIT } else { 0 };
            let rights = Rights { write, execute: execute && !is_foreign };
            map(world, cpu, alias, address, size, rights, faulted & !C_BIT);
        }
        Verdict::Ciphertext => {
            let page = world.ciphertext;
            let rights = Rights { write: false, execute: false };
            let at = faulted & !(PAGE_BYTES - 1);
            world.tables(cpu.vmpl, !unpaged).map(at, page, MapSize::Small, rights);
        }
        Verdict::NotValidated(changed) => {
            world.remove_converted(cpu.vcpu, changed);
            // The walk of the faulting instruction is over; CR2 names the linear address, which QEMU does not report.
            deliver_vc(cpu, world, VC_PAGE_NOT_VALIDATED);
        }
        Verdict::Device => deliver_vc(cpu, world, VC_NESTED_PAGE_FAULT),
        Verdict::Denied => {
            cpu.dump("access that hardware forbids");
            world.judge();
            world.dead(cpu.vcpu, format_args!("the access cannot be carried out"));
        }
    }
}

/// Enters one mapping; a large one where the backing memory allows it.
fn map(
    world: &mut World,
    cpu: &Processor,
    alias: u64,
    address: u64,
    size: PageSize,
    rights: Rights,
    faulted: u64,
) {
    let paging = translate::paging(&cpu.vmcb);
    let host = world.memory.host(address);
    // Under attack every page that VMPL0 executes is looked at by itself.
    let single = world.attack.is_on() && cpu.vmpl == Vmpl::Vmpl0;
    let large = size == PageSize::Large
        && !single
        && host.is_some_and(|host| host.is_multiple_of(LARGE_PAGE_BYTES))
        && address.is_multiple_of(LARGE_PAGE_BYTES);
    if let (true, Some(host)) = (large, host) {
        world.tables(cpu.vmpl, paging).map(address | alias, host, MapSize::Large, rights);
        return;
    }
    // One fault maps all pages of the 2 MiB that are in the same state: faults are dear.
    let first = faulted & !(LARGE_PAGE_BYTES - 1);
    let alike = world.model.alike(faulted, cpu.vmpl);
    let World { memory, tables, unpaged, .. } = world;
    let tables = if paging { tables } else { unpaged };
    let pages = (0..PAGES_IN_LARGE_PAGE)
        .filter(|page| {
            if single {
                first + page * PAGE_BYTES == faulted & !(PAGE_BYTES - 1)
            } else {
                alike.contains(*page)
            }
        })
        .filter_map(|page| memory.host(first + page * PAGE_BYTES).map(|host| (page, host)));
    tables[cpu.vmpl.index()].map_some(first | alias, pages, rights);
}
