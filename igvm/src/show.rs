//! Describes an image for people and for programs.
//!
//! Any well-formed file can be shown, also one that QEMU would refuse; what depends on a launch (digest, warnings) is
//! then replaced by the reason.

use std::collections::BTreeMap;
use std::fmt::Write;

use igvm_defs::{IgvmPageDataType, IgvmPlatformType};
use serde_json::{Value, json};
use snp_abi::policy::{GuestPolicy, PolicyFlags};
use snp_abi::vmsa::{Segment, Vmsa};
use zerocopy::FromBytes;

use crate::file::{Body, Header, ImageFile};
use crate::launch::LaunchPlan;
use crate::measure::{Loader, measure};

/// Bytes of a page.
const PAGE: u64 = 0x1000;

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The image as one JSON object. Addresses are strings, because JSON numbers lose 64-bit values.
#[must_use]
pub fn to_json(file: &ImageFile<'_>) -> Value {
    let plan = LaunchPlan::on_any_host(file);
    let (digest, warnings, refusal) = match &plan {
        Ok(plan) => {
            (digest(file, plan), plan.warnings.iter().map(ToString::to_string).collect(), Value::Null)
        }
        Err(error) => (Value::Null, Vec::new(), json!(error.to_string())),
    };
    json!({
        "bytes": file.bytes.len(),
        "format_version": file.format_version,
        "platforms": collect(file, platform),
        "policies": collect(file, policy),
        "required_memory": collect(file, required_memory),
        "parameters": parameter_areas(file),
        "memory": memory_ranges(file),
        "vcpus": collect(file, vcpu),
        "id_blocks": collect(file, id_block),
        "other_headers": other_headers(file),
        "launch_digest": digest,
        "warnings": warnings,
        "refused_because": refusal,
    })
}

/// The digest by the loader that the image is for.
fn digest(file: &ImageFile<'_>, plan: &LaunchPlan) -> Value {
    match Loader::of_file(file) {
        Loader::Qemu => json!(hex(&plan.digest(plan.vcpus(), 0))),
        loader => measure(file, loader, 1, 0).map_or(Value::Null, |measured| json!(hex(&measured.digest))),
    }
}

fn collect(file: &ImageFile<'_>, describe: fn(&Body<'_>) -> Option<Value>) -> Vec<Value> {
    file.headers.iter().filter_map(|header| describe(&header.body)).collect()
}

fn other_headers(file: &ImageFile<'_>) -> Vec<String> {
    let is_other = |header: &&Header<'_>| matches!(header.body, Body::Other);
    file.headers.iter().filter(is_other).map(|header| header.place.to_string()).collect()
}

fn address(value: u64) -> Value {
    json!(format!("{value:#010x}"))
}

fn platform(body: &Body<'_>) -> Option<Value> {
    let Body::Platform(platform) = body else { return None };
    let name = match platform.platform_type {
        IgvmPlatformType::NATIVE => "native",
        IgvmPlatformType::VSM_ISOLATION => "VSM isolation",
        IgvmPlatformType::SEV_SNP => "SEV-SNP",
        IgvmPlatformType::TDX => "TDX",
        IgvmPlatformType::SEV => "SEV",
        IgvmPlatformType::SEV_ES => "SEV-ES",
        IgvmPlatformType::CCA => "CCA",
        _ => "unknown",
    };
    Some(json!({
        "type": name,
        "version": platform.platform_version,
        "mask": platform.compatibility_mask,
        "highest_vtl": platform.highest_vtl,
        "shared_gpa_boundary": address(platform.shared_gpa_boundary),
    }))
}

fn policy(body: &Body<'_>) -> Option<Value> {
    let Body::GuestPolicy(header) = body else { return None };
    let policy = GuestPolicy(header.policy);
    let (major, minor) = policy.minimum_abi();
    let flags: Vec<String> = policy
        .flags()
        .difference(PolicyFlags::RESERVED_ONE)
        .iter_names()
        .map(|(name, _)| name.to_lowercase().replace('_', " "))
        .collect();
    Some(json!({
        "value": format!("{:#x}", policy.0),
        "mask": header.compatibility_mask,
        "minimum_abi": format!("{major}.{minor}"),
        "flags": flags,
        "well_formed": policy.is_well_formed(),
    }))
}

fn required_memory(body: &Body<'_>) -> Option<Value> {
    let Body::RequiredMemory(memory) = body else { return None };
    Some(json!({ "start": address(memory.gpa), "bytes": memory.number_of_bytes }))
}

/// Parameter areas with what goes into them and where they go.
fn parameter_areas(file: &ImageFile<'_>) -> Vec<Value> {
    let mut areas = BTreeMap::new();
    for header in &file.headers {
        match &header.body {
            Body::ParameterArea(area) => {
                let index = area.parameter_area_index;
                let empty: [Value; 0] = [];
                let value = json!({
                    "area": index, "bytes": area.number_of_bytes, "address": null, "contents": empty,
                });
                areas.insert(index, value);
            }
            Body::Parameter(kind, parameter) => {
                let content = json!({ "parameter": format!("{kind:?}"), "offset": parameter.byte_offset });
                let contents = areas
                    .get_mut(&parameter.parameter_area_index)
                    .and_then(|area: &mut Value| area["contents"].as_array_mut());
                contents.into_iter().for_each(|contents| contents.push(content.clone()));
            }
            Body::ParameterInsert(insert) => {
                if let Some(area) = areas.get_mut(&insert.parameter_area_index) {
                    area["address"] = address(insert.gpa);
                }
            }
            _ => {}
        }
    }
    areas.into_values().collect()
}

fn vcpu(body: &Body<'_>) -> Option<Value> {
    let Body::VcpuContext(context, data) = body else { return None };
    let mut description = json!({
        "vcpu": context.vp_index,
        "address": address(context.gpa.get()),
        "mask": context.compatibility_mask,
    });
    if let Ok(vmsa) = Vmsa::read_from_bytes(&data[..]) {
        description["registers"] = registers(&vmsa);
    }
    Some(description)
}

/// The registers that are not zero.
fn registers(vmsa: &Vmsa) -> Value {
    let numbers = [
        ("rip", vmsa.rip),
        ("rsp", vmsa.rsp),
        ("rflags", vmsa.rflags),
        ("rax", vmsa.rax),
        ("rbx", vmsa.rbx),
        ("rcx", vmsa.rcx),
        ("rdx", vmsa.rdx),
        ("rsi", vmsa.rsi),
        ("rdi", vmsa.rdi),
        ("rbp", vmsa.rbp),
        ("cr0", vmsa.cr0),
        ("cr3", vmsa.cr3),
        ("cr4", vmsa.cr4),
        ("efer", vmsa.efer),
        ("xcr0", vmsa.xcr0),
        ("g_pat", vmsa.g_pat),
        ("dr6", vmsa.dr6),
        ("dr7", vmsa.dr7),
        ("mxcsr", u64::from(vmsa.mxcsr)),
        ("x87_fcw", u64::from(vmsa.x87_fcw)),
        ("vmpl", u64::from(vmsa.vmpl)),
        ("sev_features", vmsa.sev_features),
        ("virtual_tom", vmsa.virtual_tom),
    ];
    let segments = [
        ("cs", vmsa.cs),
        ("ds", vmsa.ds),
        ("es", vmsa.es),
        ("fs", vmsa.fs),
        ("gs", vmsa.gs),
        ("ss", vmsa.ss),
        ("tr", vmsa.tr),
        ("ldtr", vmsa.ldtr),
        ("gdtr", vmsa.gdtr),
        ("idtr", vmsa.idtr),
    ];
    let mut values = serde_json::Map::new();
    for (name, value) in numbers.into_iter().filter(|(_, value)| *value != 0) {
        values.insert(name.to_owned(), json!(format!("{value:#x}")));
    }
    for (name, segment) in segments.into_iter().filter(|(_, segment)| *segment != Segment::default()) {
        let Segment { selector, attributes, limit, base } = segment;
        let text =
            format!("selector {selector:#x} attributes {:#x} limit {limit:#x} base {base:#x}", attributes.0);
        values.insert(name.to_owned(), json!(text));
    }
    Value::Object(values)
}

fn id_block(body: &Body<'_>) -> Option<Value> {
    let Body::IdBlock(header) = body else { return None };
    let (block, authentication) = crate::sign::id_block_of(header, GuestPolicy(0));
    let author = (authentication.author_key_algorithm != 0).then(|| hex(&authentication.author_key.digest()));
    Some(json!({
        "launch_digest": hex(&block.launch_digest),
        "family_id": hex(&block.family_id),
        "image_id": hex(&block.image_id),
        "guest_svn": block.guest_svn,
        "id_key_digest": hex(&authentication.id_key.digest()),
        "author_key_digest": author,
    }))
}

/// Neighbouring pages of one kind, in the order of the file.
fn memory_ranges(file: &ImageFile<'_>) -> Vec<Value> {
    let mut ranges: Vec<(u64, u64, &str, bool)> = Vec::new();
    for header in &file.headers {
        let Body::PageData(page, data) = &header.body else { continue };
        let (kind, is_measured) = match page.data_type {
            IgvmPageDataType::SECRETS => ("secrets", false),
            IgvmPageDataType::CPUID_DATA | IgvmPageDataType::CPUID_XF => ("CPUID", false),
            _ if page.flags.shared() => ("shared", false),
            _ if page.flags.unmeasured() => ("unmeasured", false),
            _ if data.is_none() => ("zeros", true),
            _ => ("content", true),
        };
        match ranges.last_mut() {
            Some((start, pages, last_kind, _))
                if *last_kind == kind && start.wrapping_add(*pages * PAGE) == page.gpa =>
            {
                *pages += 1;
            }
            _ => ranges.push((page.gpa, 1, kind, is_measured)),
        }
    }
    let describe = |(start, pages, kind, is_measured): (u64, u64, &str, bool)| {
        json!({
            "start": address(start),
            "end": address(start.wrapping_add(pages * PAGE)),
            "pages": pages,
            "type": kind,
            "content_measured": is_measured,
        })
    };
    ranges.into_iter().map(describe).collect()
}

/// The image as a table for people, made from the same description as the JSON.
#[must_use]
pub fn to_text(file: &ImageFile<'_>) -> String {
    let value = to_json(file);
    let mut text = String::new();
    let mut line = |name: &str, content: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<16} {content}");
    };
    line("file", format!("{} bytes, IGVM format {}", value["bytes"], value["format_version"]));
    for item in items(&value, "platforms") {
        line(
            "platform",
            format!("{} version {}, mask {}", plain(&item["type"]), item["version"], item["mask"]),
        );
    }
    for item in items(&value, "policies") {
        let flags: Vec<String> = items(item, "flags").iter().map(plain).collect();
        let abi = plain(&item["minimum_abi"]);
        line("policy", format!("{}, ABI {abi} or later; {}", plain(&item["value"]), flags.join(", ")));
    }
    for item in items(&value, "required_memory") {
        line("required memory", format!("{}, {} bytes", plain(&item["start"]), item["bytes"]));
    }
    for item in items(&value, "parameters") {
        let contents: Vec<String> = items(item, "contents")
            .iter()
            .map(|content| format!("{} at +{}", plain(&content["parameter"]), content["offset"]))
            .collect();
        let (start, bytes) = (plain(&item["address"]), &item["bytes"]);
        line("parameters", format!("{start}, {bytes} bytes: {}", contents.join(", ")));
    }
    for item in items(&value, "memory") {
        let measured = if item["content_measured"] == true { "measured" } else { "address measured" };
        let (start, end) = (plain(&item["start"]), plain(&item["end"]));
        let (kind, pages) = (plain(&item["type"]), item["pages"].as_u64().unwrap_or_default());
        line("memory", format!("{start} .. {end} {pages:>6} x 4 KiB  {kind:<10} {measured}"));
    }
    for item in items(&value, "vcpus") {
        line("vCPU", format!("{} at {}", item["vcpu"], plain(&item["address"])));
        for (name, register) in item["registers"].as_object().into_iter().flatten() {
            line("", format!("{name:<14} {}", plain(register)));
        }
    }
    for item in items(&value, "id_blocks") {
        line("ID block", format!("guest SVN {}", item["guest_svn"]));
        for (name, content) in
            item.as_object().into_iter().flatten().filter(|(_, content)| content.is_string())
        {
            line("", format!("{:<18} {}", name.replace('_', " "), plain(content)));
        }
    }
    for item in items(&value, "other_headers") {
        line("other", plain(item));
    }
    for item in items(&value, "warnings") {
        line("warning", plain(item));
    }
    match &value["refused_because"] {
        Value::Null => line("launch digest", format!("{} (1 vCPU)", plain(&value["launch_digest"]))),
        reason => line("not launchable", plain(reason)),
    }
    text
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}
