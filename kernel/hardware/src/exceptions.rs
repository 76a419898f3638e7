//! Exceptions of VMPL0: descriptor tables, and what each vector means.
//!
//! VMPL0 runs with interrupts disabled. Expected are #VC for CPUID, which code outside of our control executes, and for pages that
//! [`guest_access`] finds not validated, and #UD where [`crate::translations`] tries an instruction. Everything else, a #VC inside #VC included, is a bug, or an attack by the host, and
//! ends the firmware. Handlers run on interrupt stacks of their own. Source: AMD APM volume 2, 8 and 15.36.

use crate::cpu;
use crate::frames::{Frame, OutOfMemory};
use crate::guest_access;
use crate::termination::{Reason, terminate};
use crate::translations;
use crate::vc;
use core::arch::{asm, naked_asm};
use snp_abi::ghcb::event::ExitCode;
use spin::Once;
use x86_64::VirtAddr;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::idt::InterruptDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;

const VC_STACK: u16 = 0;
const FAULT_STACK: u16 = 1;
const NMI_STACK: u16 = 2;

const INVALID_OPCODE: u64 = 6;
const VC: u64 = snp_abi::ghcb::event::VC_VECTOR as u64;

/// What the stub of a vector leaves on the stack: registers, vector, error code and the processor's frame.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrapFrame {
    pub(crate) r15: u64,
    pub(crate) r14: u64,
    pub(crate) r13: u64,
    pub(crate) r12: u64,
    pub(crate) r11: u64,
    pub(crate) r10: u64,
    pub(crate) r9: u64,
    pub(crate) r8: u64,
    pub(crate) rbp: u64,
    pub(crate) rdi: u64,
    pub(crate) rsi: u64,
    pub(crate) rdx: u64,
    pub(crate) rcx: u64,
    pub(crate) rbx: u64,
    pub(crate) rax: u64,
    pub(crate) vector: u64,
    pub(crate) error_code: u64,
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
}

/// Vectors at which the processor pushes an error code.
const WITH_ERROR_CODE: [u64; 11] = [8, 10, 11, 12, 13, 14, 17, 21, 29, 30, u64::MAX];

/// A stub; `HAS_CODE` says whether the processor pushed an error code.
#[unsafe(naked)]
extern "C" fn stub<const VECTOR: u64, const HAS_CODE: bool>() {
    naked_asm!(
        ".if {has_code} == 0",
        "push 0",
        ".endif",
        "push {vector}",
        "push rax",
        "push rbx",
        "push rcx",
        "push rdx",
        "push rsi",
        "push rdi",
        "push rbp",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "cld",
        "mov rdi, rsp",
        "mov rbp, rsp",
        "and rsp, -16",
        "call {handler}",
        "mov rsp, rbp",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rbp",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop rcx",
        "pop rbx",
        "pop rax",
        "add rsp, 16",
        "iretq",
        has_code = const HAS_CODE as u8,
        vector = const VECTOR,
        handler = sym handle,
    )
}

/// #VC of an access to a page that is not validated.
const PAGE_NOT_VALIDATED: u64 = ExitCode::PageNotValidated as u64;

extern "C" fn handle(frame: &mut TrapFrame) {
    if is_served(frame) {
        return;
    }
    let (vector, code, rip) = (frame.vector, frame.error_code, frame.rip);
    log::error!("exception {vector} code {code:#x} rip {rip:#x} rsp {:#x} cr2 {:#x}", frame.rsp, read_cr2());
    terminate(Reason::Exception)
}

/// Deals with what VMPL0 expects; `false` for everything else.
fn is_served(frame: &mut TrapFrame) -> bool {
    match (frame.vector, translations::recovery(frame.rip)) {
        (INVALID_OPCODE, Some(rip)) => {
            frame.rip = rip;
            true
        }
        (VC, _) => {
            let served = cpu::enter_vc() && (ends_access(frame) || vc::emulate(frame));
            if served {
                cpu::leave_vc();
            }
            served
        }
        _ => false,
    }
}

/// Ends an access to guest memory that found a page that is not validated; `false` for any other #VC.
fn ends_access(frame: &mut TrapFrame) -> bool {
    match guest_access::landing(frame.rip) {
        Some(landing) if frame.error_code == PAGE_NOT_VALIDATED => {
            frame.rip = landing;
            true
        }
        _ => false,
    }
}

fn read_cr2() -> u64 {
    let value;
    // SAFETY: reading CR2 has no side effect.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

static TABLE: Once<InterruptDescriptorTable> = Once::new();

/// The interrupt table, the same for all vCPUs.
fn interrupt_table() -> &'static InterruptDescriptorTable {
    TABLE.call_once(|| {
        let mut table = InterruptDescriptorTable::new();
        macro_rules! gate {
            ($field:ident, $vector:literal, $code:literal, $stack:expr) => {
                let address = VirtAddr::new_truncate(stub::<$vector, $code> as *const () as u64);
                // SAFETY: the stub has the shape of a handler for this vector, with the right error code.
                let options = unsafe { table.$field.set_handler_addr(address) };
                // SAFETY: the stack with this number is set in every vCPU's TSS.
                unsafe { options.set_stack_index($stack) };
            };
        }
        gate!(divide_error, 0, false, FAULT_STACK);
        gate!(debug, 1, false, FAULT_STACK);
        gate!(non_maskable_interrupt, 2, false, NMI_STACK);
        gate!(breakpoint, 3, false, FAULT_STACK);
        gate!(overflow, 4, false, FAULT_STACK);
        gate!(bound_range_exceeded, 5, false, FAULT_STACK);
        gate!(invalid_opcode, 6, false, FAULT_STACK);
        gate!(device_not_available, 7, false, FAULT_STACK);
        gate!(double_fault, 8, true, FAULT_STACK);
        gate!(invalid_tss, 10, true, FAULT_STACK);
        gate!(segment_not_present, 11, true, FAULT_STACK);
        gate!(stack_segment_fault, 12, true, FAULT_STACK);
        gate!(general_protection_fault, 13, true, FAULT_STACK);
        gate!(page_fault, 14, true, FAULT_STACK);
        gate!(x87_floating_point, 16, false, FAULT_STACK);
        gate!(alignment_check, 17, true, FAULT_STACK);
        gate!(machine_check, 18, false, FAULT_STACK);
        gate!(simd_floating_point, 19, false, FAULT_STACK);
        gate!(cp_protection_exception, 21, true, FAULT_STACK);
        gate!(hv_injection_exception, 28, false, FAULT_STACK);
        gate!(vmm_communication_exception, 29, true, VC_STACK);
        gate!(security_exception, 30, true, FAULT_STACK);
        table
    })
}

const _: () = assert!(WITH_ERROR_CODE[8] == 29);

/// One vCPU's segments and task state; they live as long as the firmware.
pub(crate) struct Descriptors {
    table: &'static GlobalDescriptorTable,
    task_state: &'static TaskStateSegment,
    code: SegmentSelector,
    data: SegmentSelector,
    task: SegmentSelector,
}

#[repr(C)]
struct Storage {
    task_state: TaskStateSegment,
    table: GlobalDescriptorTable,
}

impl Descriptors {
    /// Makes a vCPU's tables in a frame of their own.
    pub(crate) fn new(interrupt_stacks: [u64; 3]) -> Result<Self, OutOfMemory> {
        let place = Frame::allocate()?.into_bytes().as_mut_ptr().cast::<Storage>();
        let mut task_state = TaskStateSegment::new();
        let mut stacks = task_state.interrupt_stack_table;
        for (slot, top) in stacks.iter_mut().zip(interrupt_stacks) {
            *slot = VirtAddr::new_truncate(top);
        }
        task_state.interrupt_stack_table = stacks;
        // SAFETY: the frame is fresh, large enough, aligned, and stays for ever.
        unsafe { place.write(Storage { task_state, table: GlobalDescriptorTable::new() }) };
        // SAFETY: written just above, and from here on only referenced through these two.
        let storage = unsafe { &mut *place };
        let task_state: &'static TaskStateSegment = &storage.task_state;
        let code = storage.table.append(Descriptor::kernel_code_segment());
        let data = storage.table.append(Descriptor::kernel_data_segment());
        let task = storage.table.append(Descriptor::tss_segment(task_state));
        Ok(Self { table: &storage.table, task_state, code, data, task })
    }

    /// Loads the tables on this vCPU.
    pub(crate) fn load(&self) {
        use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
        self.table.load();
        interrupt_table().load();
        // SAFETY: the selector names the 64-bit code segment of the table just loaded.
        unsafe { CS::set_reg(self.code) };
        // SAFETY: the selector names the data segment of the table just loaded.
        unsafe { SS::set_reg(self.data) };
        // SAFETY: as above.
        unsafe { DS::set_reg(self.data) };
        // SAFETY: as above.
        unsafe { ES::set_reg(self.data) };
        // SAFETY: the selector names the TSS of the table just loaded.
        unsafe { x86_64::instructions::tables::load_tss(self.task) };
    }

    /// What an application processor's VMSA needs: GDT, IDT and TSS addresses with their limits, and selectors.
    pub(crate) fn for_vmsa(&self) -> VmsaDescriptors {
        VmsaDescriptors {
            gdt: (self.table as *const _ as u64, self.table.limit()),
            idt: (interrupt_table() as *const _ as u64, (size_of::<InterruptDescriptorTable>() - 1) as u16),
            task_state: (self.task_state as *const _ as u64, (size_of::<TaskStateSegment>() - 1) as u16),
            code: self.code.0,
            data: self.data.0,
            task: self.task.0,
        }
    }
}

/// Addresses, limits and selectors of a vCPU's descriptor tables.
pub(crate) struct VmsaDescriptors {
    pub(crate) gdt: (u64, u16),
    pub(crate) idt: (u64, u16),
    pub(crate) task_state: (u64, u16),
    pub(crate) code: u16,
    pub(crate) data: u16,
    pub(crate) task: u16,
}
