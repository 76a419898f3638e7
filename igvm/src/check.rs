//! Would a host launch this image? One finding for each thing that hosts differ in, with what to do about a refusal.
//!
//! The hosts are [`crate::hosts`]'s rows. A finding says what the file has; whether it fits is the row's.

mod looks;
mod table;

use std::fmt;

use snp_abi::launch::KVM_VMSA_ADDRESS;
use snp_abi::vmsa::Vmsa;
use zerocopy::FromBytes;

use crate::file::{Body, Header, ImageFile, Place};
use crate::hosts::Host;

pub use table::{to_json, to_text};

/// What comes of one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It fits.
    Fits,
    /// Nobody outside can say.
    Unknown,
    /// The host launches the image, and not as one might think.
    Warns,
    /// The host does not launch it.
    Refused,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Fits => "ok",
            Self::Unknown => "unknown",
            Self::Warns => "warning",
            Self::Refused => "refused",
        })
    }
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// What the image has, and why that is refused.
    pub reason: String,
    /// What to do about it; empty where nothing has to be done.
    pub remedy: &'static str,
}

/// The image, and what it is shown to.
struct Shown<'a> {
    file: &'a ImageFile<'a>,
    mask: u32,
    host: &'a Host,
}

/// Looks at everything in which hosts differ. An image without an SNP platform has one finding.
#[must_use]
pub fn check(file: &ImageFile<'_>, host: &Host) -> Vec<Finding> {
    let Some(mask) = file.snp_mask() else {
        let reason = "the file is for no SEV-SNP platform".to_owned();
        return vec![refused("platform", reason, "Build it with `igvm-image build`.")];
    };
    let shown = Shown { file, mask, host };
    looks::ALL.iter().map(|look| look(&shown)).collect()
}

/// The worst verdict.
#[must_use]
pub fn sum(findings: &[Finding]) -> Verdict {
    findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Fits)
}

fn fits(subject: &'static str, reason: impl Into<String>) -> Finding {
    Finding { subject, verdict: Verdict::Fits, reason: reason.into(), remedy: "" }
}

fn refused(subject: &'static str, reason: String, remedy: &'static str) -> Finding {
    Finding { subject, verdict: Verdict::Refused, reason, remedy }
}

fn warns(subject: &'static str, reason: String, remedy: &'static str) -> Finding {
    Finding { subject, verdict: Verdict::Warns, reason, remedy }
}

impl<'a> Shown<'a> {
    fn headers(&self) -> impl Iterator<Item = &'a Header<'a>> + use<'a> {
        self.file.headers.iter()
    }

    /// Each VMSA that is for the platform: its place, vCPU, address and registers.
    fn vmsas(&self) -> Vec<(Place, u16, u64, Vmsa)> {
        let mask = self.mask;
        let vmsa = |header: &Header<'_>| match &header.body {
            Body::VcpuContext(context, data) if context.compatibility_mask & mask != 0 => {
                let vmsa = Vmsa::read_from_bytes(&data[..]).ok()?;
                Some((header.place, context.vp_index, context.gpa.get(), vmsa))
            }
            _ => None,
        };
        self.headers().filter_map(vmsa).collect()
    }

    /// First byte and end of everything that is launched or required, VMSAs at KVM's own address apart.
    fn span(&self) -> Option<(u64, u64)> {
        const PAGE: u64 = 0x1000;
        let mask = self.mask;
        let range = |header: &Header<'_>| match &header.body {
            Body::PageData(page, _) if page.compatibility_mask & mask != 0 => Some((page.gpa, PAGE)),
            Body::ParameterInsert(insert) if insert.compatibility_mask & mask != 0 => {
                Some((insert.gpa, PAGE))
            }
            Body::RequiredMemory(memory) if memory.compatibility_mask & mask != 0 => {
                Some((memory.gpa, u64::from(memory.number_of_bytes)))
            }
            Body::VcpuContext(context, _)
                if context.compatibility_mask & mask != 0 && context.gpa.get() != KVM_VMSA_ADDRESS =>
            {
                Some((context.gpa.get(), PAGE))
            }
            _ => None,
        };
        let join = |(start, end): (u64, u64), (address, bytes): (u64, u64)| {
            (start.min(address), end.max(address.saturating_add(bytes)))
        };
        let mut ranges = self.headers().filter_map(range);
        let (address, bytes) = ranges.next()?;
        Some(ranges.fold((address, address.saturating_add(bytes)), join))
    }
}
