//! Goes through a file's headers in QEMU's order.

use std::collections::{BTreeMap, BTreeSet};

use igvm_defs::{IGVM_VHS_PAGE_DATA, IGVM_VHS_PARAMETER_AREA, IgvmPageDataType};
use snp_abi::launch::PageType;
use snp_abi::policy::GuestPolicy;
use snp_abi::vmsa::Vmsa;
use zerocopy::FromBytes;

use super::vcpu::{self, VmsaError};
use super::{LaunchError, LaunchPage, LaunchPlan, MAXIMUM_AREA_BYTES, PAGE, ParameterUse, Warning};
use crate::file::{Body, Header, ParameterKind, Place};
use crate::hosts::Host;
use crate::sign::id_block_of;

/// A page run that is kept back.
struct PendingRun {
    /// The last page's header and place among the directives.
    last: IGVM_VHS_PAGE_DATA,
    last_has_data: bool,
    last_index: usize,
}

/// A plan in the making.
pub(super) struct Planner {
    host: &'static Host,
    mask: u32,
    policy: Option<u64>,
    plan: LaunchPlan,
    areas: BTreeMap<u32, Area>,
    addresses: BTreeSet<u64>,
    run: Option<PendingRun>,
    kept_back: Vec<LaunchPage>,
    vmsa_places: Vec<Place>,
}

struct Area {
    header: IGVM_VHS_PARAMETER_AREA,
    uses: Vec<(ParameterKind, u64)>,
    is_inserted: bool,
}

impl Planner {
    pub(super) fn new(mask: u32, host: &'static Host) -> Self {
        let plan = LaunchPlan {
            policy: GuestPolicy(0),
            id_block: None,
            required_memory: Vec::new(),
            parameters: Vec::new(),
            pages: Vec::new(),
            vmsas: BTreeMap::new(),
            warnings: Vec::new(),
        };
        Self {
            host,
            mask,
            policy: None,
            plan,
            areas: BTreeMap::new(),
            addresses: BTreeSet::new(),
            run: None,
            kept_back: Vec::new(),
            vmsa_places: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, header: &Header<'_>) -> Result<(), LaunchError> {
        let place = header.place;
        match &header.body {
            Body::GuestPolicy(policy) if policy.compatibility_mask & self.mask != 0 => {
                self.policy = Some(policy.policy);
            }
            Body::ParameterArea(area) => self.declare_area(place, *area)?,
            Body::Parameter(kind, parameter) => {
                let offset = u64::from(parameter.byte_offset);
                let index = parameter.parameter_area_index;
                self.open_area(place, index)?.uses.push((*kind, offset));
            }
            Body::ParameterInsert(insert) if insert.compatibility_mask & self.mask != 0 => {
                self.insert_area(place, insert.parameter_area_index, insert.gpa)?;
            }
            Body::PageData(page, data) if page.compatibility_mask & self.mask != 0 => {
                self.add_page(place, *page, *data)?;
            }
            Body::VcpuContext(context, data) if context.compatibility_mask & self.mask != 0 => {
                self.add_vmsa(place, context.vp_index, context.gpa.get(), data)?;
            }
            Body::RequiredMemory(memory) if memory.compatibility_mask & self.mask != 0 => {
                self.require(place, memory.gpa, u64::from(memory.number_of_bytes));
            }
            Body::IdBlock(block) if block.compatibility_mask & self.mask != 0 => {
                if self.plan.id_block.is_some() {
                    return Err(LaunchError::SecondIdBlock(place));
                }
                self.plan.id_block = Some(id_block_of(block, GuestPolicy(0)));
            }
            _ => {}
        }
        Ok(())
    }

    /// QEMU makes the range private at once, which discards what it has queued for the launch there: such pages are launched as
    /// zeros. A run that is kept back has not been copied yet and survives.
    fn require(&mut self, place: Place, start: u64, bytes: u64) {
        let is_inside = |address: u64| address.checked_sub(start).is_some_and(|offset| offset < bytes);
        let mut is_emptied = false;
        for page in self.plan.pages.iter_mut().filter(|page| is_inside(page.address)) {
            is_emptied = true;
            page.content.fill(0);
        }
        self.plan.parameters.retain(|parameter| !is_inside(parameter.area));
        if is_emptied {
            self.plan.warnings.push(Warning::MemoryAfterPages(place));
        }
        self.plan.required_memory.push((start, bytes));
    }

    fn declare_area(&mut self, place: Place, header: IGVM_VHS_PARAMETER_AREA) -> Result<(), LaunchError> {
        let index = header.parameter_area_index;
        let area = Area { header, uses: Vec::new(), is_inserted: false };
        if header.number_of_bytes > MAXIMUM_AREA_BYTES || self.areas.insert(index, area).is_some() {
            return Err(LaunchError::ParameterArea(place, index));
        }
        Ok(())
    }

    fn open_area(&mut self, place: Place, index: u32) -> Result<&mut Area, LaunchError> {
        let area = self.areas.get_mut(&index).filter(|area| !area.is_inserted);
        area.ok_or(LaunchError::ParameterArea(place, index))
    }

    /// QEMU launches the area at once, ahead of a run that it keeps back, and without the file's initial data.
    fn insert_area(&mut self, place: Place, index: u32, address: u64) -> Result<(), LaunchError> {
        if !self.kept_back.is_empty() {
            self.plan.warnings.push(Warning::InsertAfterPages(place));
        }
        let area = self.open_area(place, index)?;
        area.is_inserted = true;
        let (area_bytes, uses) = (area.header.number_of_bytes, std::mem::take(&mut area.uses));
        for (kind, offset) in uses {
            if offset.checked_add(kind.minimum_bytes()).is_none_or(|end| end > area_bytes) {
                return Err(LaunchError::ParameterOffset(place));
            }
            self.plan.parameters.push(ParameterUse { kind, area: address, area_bytes, offset });
        }
        for offset in (0..area_bytes).step_by(PAGE) {
            let address = address.wrapping_add(offset);
            self.claim(place, address)?;
            let content = Box::new([0; PAGE]);
            self.plan.pages.push(LaunchPage { address, page_type: PageType::Unmeasured, content });
        }
        Ok(())
    }

    fn add_page(
        &mut self,
        place: Place,
        page: IGVM_VHS_PAGE_DATA,
        data: Option<&[u8; PAGE]>,
    ) -> Result<(), LaunchError> {
        if page.flags.is_2mb_page() || page.flags.shared() {
            return Err(LaunchError::PageFlags(place));
        }
        let page_type = match page.data_type {
            IgvmPageDataType::NORMAL if page.flags.unmeasured() => PageType::Unmeasured,
            IgvmPageDataType::NORMAL => PageType::Normal,
            IgvmPageDataType::SECRETS => PageType::Secrets,
            IgvmPageDataType::CPUID_DATA | IgvmPageDataType::CPUID_XF => PageType::Cpuid,
            IgvmPageDataType(number) => return Err(LaunchError::PageDataType(place, number)),
        };
        self.claim(place, page.gpa)?;
        let continues = self.run.as_ref().is_some_and(|run| {
            run.last_index.checked_add(1) == Some(place.index)
                && run.last_has_data == data.is_some()
                && run.last.gpa.checked_add(PAGE as u64) == Some(page.gpa)
                && (run.last.flags, run.last.data_type) == (page.flags, page.data_type)
                && run.last.compatibility_mask == page.compatibility_mask
        });
        if !continues {
            self.plan.pages.append(&mut self.kept_back);
        }
        let content = data.map_or_else(|| Box::new([0; PAGE]), |data| Box::new(*data));
        self.kept_back.push(LaunchPage { address: page.gpa, page_type, content });
        self.run = Some(PendingRun { last: page, last_has_data: data.is_some(), last_index: place.index });
        if let Some(vmsa) = self.vmsa_places.pop() {
            self.plan.warnings.push(Warning::VmsaNotLast(vmsa));
        }
        Ok(())
    }

    fn add_vmsa(
        &mut self,
        place: Place,
        vcpu: u16,
        address: u64,
        data: &[u8; PAGE],
    ) -> Result<(), LaunchError> {
        let refused = |error| LaunchError::Vmsa(place, error);
        let vmsa = Vmsa::read_from_bytes(data).map_err(|_| refused(VmsaError::Unsupported))?;
        vcpu::check(&vmsa, address, self.host).map_err(refused)?;
        if !matches!(vmsa.cr0, 0x30 | 0x31) {
            self.plan.warnings.push(Warning::Cr0(place, vmsa.cr0));
        }
        if !vmsa.is_runnable() || vmsa.cr4 & snp_abi::vmsa::start::CR4_MCE == 0 {
            self.plan.warnings.push(Warning::ForcedBits(place));
        }
        if self.plan.vmsas.insert(vcpu, Box::new(vmsa)).is_some() {
            return Err(refused(VmsaError::SecondContext));
        }
        self.vmsa_places.push(place);
        Ok(())
    }

    fn claim(&mut self, place: Place, address: u64) -> Result<(), LaunchError> {
        if self.addresses.insert(address) { Ok(()) } else { Err(LaunchError::SecondPage(place, address)) }
    }

    pub(super) fn finish(mut self) -> Result<LaunchPlan, LaunchError> {
        self.plan.pages.append(&mut self.kept_back);
        self.plan.policy = GuestPolicy(self.policy.ok_or(LaunchError::NoPolicy)?);
        if !self.plan.policy.is_well_formed() {
            self.plan.warnings.push(Warning::Policy(self.plan.policy.0));
        }
        if let Some((block, _)) = &mut self.plan.id_block {
            block.policy = self.plan.policy;
        }
        if !self.plan.vmsas.contains_key(&0) {
            return Err(LaunchError::NoBootVmsa);
        }
        Ok(self.plan)
    }
}
