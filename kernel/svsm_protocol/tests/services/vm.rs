//! A VM without hardware: the services, the model as their machine, and a guest that calls them.

use crate::invariants;
use crate::memory::Memory;
use core::mem::offset_of;
use model::instructions::Operand;
use model::machine::Actor;
use model::rmp::{MemoryRange, State};
use model::{Configuration, Contents};
use snp_abi::address::{PAGE_BYTES, PageSize};
use snp_abi::ghcb::guest_request::GuestRequestOutcome;
use snp_abi::ghcb::page_state::PageOperation;
use snp_abi::rmp::{Permissions, RmpAdjust, RmpStatus, Vmpl};
use snp_abi::svsm::ResultCode;
use snp_abi::vmsa::{SevFeatures, Vmsa, start::EFER_SVME};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};
use svsm_protocol::{
    Fatal, GuestAccess, GuestPage, GuestVcpus, Ledger, Lost, Machine, MessagePage, PageState, PspChannel,
    RmpError, Served, Stopped, Svsm, Validation, Vcpu,
};

pub const MIB: u64 = 1 << 20;
/// Memory of the VM.
pub const END: u64 = 8 * MIB;
/// Where addresses that the ledger knows end.
pub const LEDGER_END: u64 = 16 * MIB;
/// The firmware's region.
pub const REGION: u64 = 4 * MIB;
pub const REGION_END: u64 = 6 * MIB;
/// The first vCPU's VMSA, in the firmware's memory.
pub const BOOT_VMSA: u64 = REGION + 0x3000;
/// The first vCPU's calling area.
pub const BOOT_AREA: u64 = 0x1000;
/// Ordinary guest memory at the start, a page each.
pub const GRANTED: core::ops::Range<u64> = 0x2000..0x2_0000;
/// No memory lies here.
pub const HOLE: core::ops::Range<u64> = 0xa_0000..0xc_0000;
/// APIC ids of the vCPUs.
pub const APIC_IDS: [u32; 4] = [0, 1, 2, 7];
pub const GUEST: Vmpl = Vmpl::Vmpl2;
pub const FEATURES: u64 = SevFeatures::SNP_ACTIVE.bits();

/// A deliberate fault of the machine layer, to show that the invariants are really checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Zeroing,
    Flush,
}

/// One operation of the services on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Read { address: u64, bytes: usize },
    Write { address: u64, bytes: usize },
    TakeBack { address: u64, size: PageSize },
    Zero(u64),
    Pvalidate { address: u64, size: PageSize, validate: bool },
    SetAccess { address: u64, access: GuestAccess },
    Flush,
}

/// The machine's side.
pub struct Host {
    pub model: model::Machine,
    pub memory: Memory,
    pub fault: Option<Fault>,
    /// What the host says to a guest request; it has no security processor, so that every answer is its own.
    pub outcome: Option<GuestRequestOutcome>,
    /// The messages that it was handed.
    pub messages: Vec<Box<MessagePage>>,
    /// Every operation since it was last cleared.
    pub log: Vec<Operation>,
    /// How often each page is validated now: 0 or 1.
    pub validations: Vec<i8>,
    /// Pages that the guest gave to the host without rescinding them.
    pub given_away: BTreeSet<u64>,
    /// RMP instructions so far, and the numbers of those that find their entry in use.
    pub rmp_instructions: u32,
    pub contended: BTreeSet<u32>,
}

/// From where a vCPU calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub vmsa: u64,
    pub calling_area: u64,
}

/// A VM.
pub struct Vm {
    pub svsm: Svsm,
    pub state: Mutex<Host>,
}

/// What somebody else does in the middle of a call: it gets the VM and the operation that comes next.
pub type Meanwhile<'a> = &'a mut dyn FnMut(&Vm, Operation);

/// The machine as one vCPU sees it during one call.
pub struct View<'a> {
    vm: &'a Vm,
    vcpu: usize,
    meanwhile: Option<Meanwhile<'a>>,
}

/// Result of a guest's call: RAX, and the argument registers as they came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub result: ResultCode,
    pub rcx: u64,
    pub rdx: u64,
    pub r8: u64,
}

/// A guest's call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call {
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub r8: u64,
}

impl Call {
    pub fn core(call: u64, rcx: u64) -> Self {
        Self { rax: call, rcx, ..Self::default() }
    }
}

impl Vm {
    /// A VM as the kernel sets it up: the region, the first vCPU, a calling area and some memory.
    pub fn new() -> Self {
        let (vm, stopped) = Self::without_guest();
        vm.populate(stopped);
        invariants::check(&vm);
        vm
    }

    /// A VM before its guest is started: the firmware has its region, and nothing else is validated.
    pub fn without_guest() -> (Self, Stopped) {
        let configuration = Configuration {
            apic_ids: APIC_IDS.to_vec(),
            contract: model::host_profiles::Host::Plain.profile().contract,
            memory_is_shared: false,
            large_pages: true,
        };
        let low = MemoryRange { start: 0, bytes: HOLE.start };
        let high = MemoryRange { start: HOLE.end, bytes: END - HOLE.end };
        let mut model = model::Machine::new(configuration, &[low, high]);
        for vcpu in &mut model.vcpus {
            vcpu.has_run = true;
        }
        let known = [(0, LEDGER_END)];
        let words = vec![0; Ledger::words(&known).unwrap()];
        let memory = [(0, HOLE.start), (HOLE.end, END)];
        let (ledger, stopped) = Ledger::new(words.leak(), &known, &memory).unwrap();
        ledger.assign(&stopped, REGION, (REGION_END - REGION) / PAGE_BYTES, PageState::Own).unwrap();
        let vcpus = GuestVcpus::new(&APIC_IDS).unwrap();
        let channel = PspChannel::new(&mut [0; 32]).unwrap();
        let svsm = Svsm { ledger, vcpus, guest_vmpl: GUEST.to_wire(), channel, vtpm: None };
        let state = Host {
            model,
            memory: Memory::new(END),
            fault: None,
            outcome: None,
            messages: Vec::new(),
            log: Vec::new(),
            validations: vec![0; (END / PAGE_BYTES) as usize],
            given_away: BTreeSet::new(),
            rmp_instructions: 0,
            contended: BTreeSet::new(),
        };
        let vm = Self { svsm, state: Mutex::new(state) };
        vm.launch_region();
        (vm, stopped)
    }

    fn launch_region(&self) {
        let mut state = self.lock();
        for page in (REGION..REGION_END).step_by(PAGE_BYTES as usize) {
            state.launch(page);
        }
    }

    fn populate(&self, stopped: Stopped) {
        let mut state = self.lock();
        for page in (BOOT_AREA..GRANTED.end).step_by(PAGE_BYTES as usize) {
            state.launch(page);
            state.grant(page, Permissions::READ_WRITE_EXECUTE, false);
        }
        state.lend_boot_vmsa();
        drop(state);
        let ledger = &self.svsm.ledger;
        ledger.assign(&stopped, BOOT_AREA, 1, PageState::CallingArea).unwrap();
        let pages = (GRANTED.end - GRANTED.start) / PAGE_BYTES;
        ledger.assign(&stopped, GRANTED.start, pages, PageState::Guest).unwrap();
        self.svsm.admit_guest(stopped, Vcpu(0), BOOT_VMSA, BOOT_AREA).unwrap();
    }

    pub fn lock(&self) -> MutexGuard<'_, Host> {
        self.state.lock().unwrap()
    }

    /// A call from the VMSA and calling area of a vCPU; afterwards the invariants are checked.
    pub fn call_from(&self, vcpu: usize, place: Place, call: Call) -> Result<Answer, Fatal> {
        let before = invariants::Snapshot::of(self);
        let answer = self.call_during(vcpu, place, call, None)?;
        invariants::check(self);
        if answer.result != ResultCode::Success {
            before.check_refused(self, place, call, answer);
        }
        Ok(answer)
    }

    /// As [`Self::call_from`], while somebody else does something, and without any check.
    pub fn call_during<'a>(
        &'a self,
        vcpu: usize,
        place: Place,
        call: Call,
        meanwhile: Option<Meanwhile<'a>>,
    ) -> Result<Answer, Fatal> {
        let vmsa = place.vmsa;
        let at = |offset: usize| vmsa + offset as u64;
        {
            let mut state = self.lock();
            let memory = &mut state.memory;
            memory.write_u64(at(offset_of!(Vmsa, rax)), call.rax);
            memory.write_u64(at(offset_of!(Vmsa, rcx)), call.rcx);
            memory.write_u64(at(offset_of!(Vmsa, rdx)), call.rdx);
            memory.write_u64(at(offset_of!(Vmsa, r8)), call.r8);
            memory.write(place.calling_area, &[1]);
            memory.write_u64(at(offset_of!(Vmsa, guest_exit_code)), VMGEXIT);
        }
        let served = self.svsm.serve(&mut View { vm: self, vcpu, meanwhile }, Vcpu(vcpu))?;
        let mut state = self.lock();
        // Of the VMSAs with one calling area only the last that ran left for VMPL0.
        state.memory.write_u64(at(offset_of!(Vmsa, guest_exit_code)), 0);
        let read = |offset: usize| state.memory.read_u64(at(offset));
        let Served::Call { result, .. } = served else { panic!("the call was not served") };
        assert_eq!(read(offset_of!(Vmsa, rax)), result.encode());
        let [rcx, rdx, r8] = [offset_of!(Vmsa, rcx), offset_of!(Vmsa, rdx), offset_of!(Vmsa, r8)].map(read);
        Ok(Answer { result, rcx, rdx, r8 })
    }

    /// A call from the boot vCPU's first VMSA, whose calling area has not moved.
    pub fn call(&self, call: Call) -> Answer {
        self.call_from(0, context(BOOT_VMSA, BOOT_AREA), call).unwrap()
    }

    /// A PVALIDATE list in the calling area's buffer; returns the result and the list's next index.
    pub fn pvalidate(&self, entries: &[u64]) -> (ResultCode, u16) {
        self.pvalidate_at(BOOT_AREA + 8, entries, 0)
    }

    /// As [`Self::pvalidate`], with the list elsewhere and a first index.
    pub fn pvalidate_at(&self, list: u64, entries: &[u64], next: u16) -> (ResultCode, u16) {
        self.write_list(list, entries, next);
        let answer = self.call(Call::core(1, list));
        (answer.result, (self.lock().memory.read_u64(list) >> 16) as u16)
    }

    pub fn write_list(&self, list: u64, entries: &[u64], next: u16) {
        let mut state = self.lock();
        state.memory.write_u64(list, entries.len() as u64 | u64::from(next) << 16);
        for (place, entry) in (list + 8..).step_by(8).zip(entries) {
            state.memory.write_u64(place, *entry);
        }
    }

    /// A VMSA that is ready for CREATE_VCPU, in a page that the guest has.
    pub fn prepare_vmsa(&self, page: u64) {
        self.lock().write_vmsa(page);
    }

    pub fn create(&self, vmsa: u64, calling_area: u64, apic_id: u64) -> ResultCode {
        self.call(Call { rax: 2, rcx: vmsa, rdx: calling_area, r8: apic_id }).result
    }

    pub fn delete(&self, vmsa: u64) -> ResultCode {
        self.call(Call::core(3, vmsa)).result
    }
}

/// GUEST_EXIT_CODE of a VMSA that left by VMGEXIT.
const VMGEXIT: u64 = 0x403;

impl Host {
    /// A page that the image brought, zeros.
    pub fn launch(&mut self, page: u64) {
        self.model.launch_page(page, false);
        self.memory.zero(page, PAGE_BYTES);
        self.validations[(page / PAGE_BYTES) as usize] = 1;
    }

    fn grant(&mut self, page: u64, permissions: Permissions, vmsa: bool) {
        let entry = self.model.rmp.entry_mut(page).unwrap();
        entry.permissions[GUEST.index()] = permissions;
        entry.state.set(State::VMSA, vmsa);
    }

    /// Makes the first vCPU's VMSA one, in the firmware's memory.
    pub fn lend_boot_vmsa(&mut self) {
        self.grant(BOOT_VMSA, Permissions::READ, true);
        self.write_vmsa(BOOT_VMSA);
    }

    pub fn write_vmsa(&mut self, page: u64) {
        self.memory.zero(page, PAGE_BYTES);
        self.memory.write(page + offset_of!(Vmsa, vmpl) as u64, &[GUEST.to_wire()]);
        self.memory.write_u64(page + offset_of!(Vmsa, efer) as u64, EFER_SVME);
        self.memory.write_u64(page + offset_of!(Vmsa, sev_features) as u64, FEATURES);
    }

    /// Notes that the guest used all of its memory, so that its TLBs hold translations.
    pub fn touch_everything(&mut self) {
        for page in (0..END).step_by(PAGE_BYTES as usize) {
            if let Some(entry) = self.model.rmp.entry_mut(page)
                && !entry.permissions(GUEST).is_empty()
            {
                entry.mapped |= 1 << GUEST.index();
            }
        }
    }

    fn adjust(
        &mut self,
        vcpu: usize,
        address: u64,
        size: PageSize,
        adjust: RmpAdjust,
    ) -> Result<(), RmpError> {
        if self.is_contended() {
            return Err(RmpError::InUse);
        }
        if self.first_lost(address, size).is_some() {
            // Hardware raises #VC, or the host has split the entry.
            return Err(if size == PageSize::Large { RmpError::SizeMismatch } else { RmpError::Lost });
        }
        let actor = Actor { vcpu, vmpl: Vmpl::Vmpl0 };
        let operand = Operand { address, size, private: true };
        match self.model.rmpadjust(actor, operand, adjust.encode(), &self.memory).status {
            RmpStatus::Success => Ok(()),
            RmpStatus::FailInUse => Err(RmpError::InUse),
            RmpStatus::FailSizeMismatch => Err(RmpError::SizeMismatch),
            status => Err(RmpError::Status(Some(status))),
        }
    }
}

/// A VMSA and a calling area.
pub fn context(vmsa: u64, calling_area: u64) -> Place {
    Place { vmsa, calling_area }
}

impl<'a> View<'a> {
    /// What a vCPU sees while nobody else does anything.
    pub fn new(vm: &'a Vm, vcpu: usize) -> Self {
        Self { vm, vcpu, meanwhile: None }
    }

    fn note(&mut self, operation: Operation) -> MutexGuard<'a, Host> {
        let changes = !matches!(operation, Operation::Read { .. } | Operation::Write { .. });
        if let Some(meanwhile) = self.meanwhile.as_mut().filter(|_| changes) {
            meanwhile(self.vm, operation);
        }
        let mut state = self.vm.lock();
        state.log.push(operation);
        state
    }
}

impl Host {
    /// Whether the next RMP instruction finds its entry in use.
    fn is_contended(&mut self) -> bool {
        self.rmp_instructions += 1;
        self.contended.contains(&self.rmp_instructions)
    }

    /// The first page of a range that the guest gave away.
    fn first_lost(&self, address: u64, size: PageSize) -> Option<u64> {
        self.given_away.range(address..address + size.bytes()).next().copied()
    }

    /// Whether a page can be touched; that it was never validated is no guest's doing.
    fn touch(&self, page: GuestPage, write: bool) -> Result<(), Lost> {
        if self.given_away.contains(&page.address()) {
            return Err(Lost);
        }
        invariants::check_touch(self, page.address(), write);
        Ok(())
    }
}

impl Machine for View<'_> {
    fn read(&mut self, page: GuestPage, offset: usize, bytes: &mut [u8]) -> Result<(), Lost> {
        let address = page.address() + offset as u64;
        let state = self.note(Operation::Read { address, bytes: bytes.len() });
        state.touch(page, false)?;
        assert!(state.memory.read(address, bytes));
        Ok(())
    }

    fn write(&mut self, page: GuestPage, offset: usize, bytes: &[u8]) -> Result<(), Lost> {
        let address = page.address() + offset as u64;
        let mut state = self.note(Operation::Write { address, bytes: bytes.len() });
        state.touch(page, true)?;
        assert!(state.memory.write(address, bytes));
        Ok(())
    }

    /// Memory of this VM is private from the start.
    fn request(&mut self, _: GuestPage, _: PageSize) {}

    fn take_back(&mut self, page: GuestPage, size: PageSize) {
        let mut guard = self.note(Operation::TakeBack { address: page.address(), size });
        let state = &mut *guard;
        let actor = Actor { vcpu: self.vcpu, vmpl: Vmpl::Vmpl0 };
        let private = PageOperation::Private;
        state.model.change_page_state(actor, page.address(), size, private, &mut state.memory).unwrap();
    }

    fn zero(&mut self, page: GuestPage, size: PageSize) -> Result<(), Lost> {
        let mut state = self.note(Operation::Zero(page.address()));
        if state.first_lost(page.address(), size).is_some() {
            return Err(Lost);
        }
        if state.fault != Some(Fault::Zeroing) {
            state.memory.zero(page.address(), size.bytes());
        }
        Ok(())
    }

    fn pvalidate(&mut self, page: GuestPage, size: PageSize, validate: bool) -> Result<Validation, RmpError> {
        let address = page.address();
        let mut guard = self.note(Operation::Pvalidate { address, size, validate });
        let state = &mut *guard;
        if state.is_contended() {
            return Err(RmpError::InUse);
        }
        let actor = Actor { vcpu: self.vcpu, vmpl: Vmpl::Vmpl0 };
        let operand = Operand { address, size, private: true };
        let done = state.model.pvalidate(actor, operand, validate, &mut state.memory);
        match (done.status, done.carry) {
            (RmpStatus::Success, true) => Ok(Validation::Unchanged),
            (RmpStatus::Success, false) => {
                invariants::count_validation(state, address, size, validate);
                Ok(Validation::Changed)
            }
            (RmpStatus::FailSizeMismatch, _) if size == PageSize::Large => Err(RmpError::SizeMismatch),
            (status, _) => Err(RmpError::Status(Some(status))),
        }
    }

    fn set_access(&mut self, page: GuestPage, size: PageSize, access: GuestAccess) -> Result<(), RmpError> {
        let address = page.address();
        let mut state = self.note(Operation::SetAccess { address, access });
        let (permissions, is_vmsa) = match access {
            GuestAccess::None => (Permissions::empty(), false),
            GuestAccess::Full => (Permissions::READ_WRITE_EXECUTE, false),
            GuestAccess::Vmsa => (Permissions::READ, true),
        };
        let adjust = RmpAdjust { target: GUEST, permissions, is_vmsa };
        match state.adjust(self.vcpu, address, size, adjust) {
            Err(RmpError::SizeMismatch) if size == PageSize::Large => {
                let mut parts = (address..address + size.bytes()).step_by(PAGE_BYTES as usize);
                parts.try_for_each(|part| state.adjust(self.vcpu, part, PageSize::Small, adjust))
            }
            done => done,
        }
    }

    fn flush_translations(&mut self) {
        let mut state = self.note(Operation::Flush);
        invariants::check_unflushed_pages_are_busy(&state, &self.vm.svsm);
        if state.fault != Some(Fault::Flush) {
            state.model.flush_all();
        }
    }

    fn guest_request(
        &mut self,
        request: &MessagePage,
        _: &mut MessagePage,
        _: Option<&mut [u8]>,
    ) -> Option<GuestRequestOutcome> {
        let mut host = self.vm.lock();
        host.messages.push(Box::new(*request));
        host.outcome
    }
}
