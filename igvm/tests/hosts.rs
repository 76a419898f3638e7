//! Which host takes an image, and which digest comes of it.

mod synthetic_elf;

use igvm::build::{BuildOptions, GuestSource, build};
use igvm::check::{Finding, Verdict, check, sum, to_json, to_text};
use igvm::file::ImageFile;
use igvm::hosts::{HOSTS, Host};
use igvm::launch::LaunchPlan;
use igvm::layout::RegionOptions;
use igvm::measure::{Loader, MeasureError, measure};
use igvm::show::{to_json as show_json, to_text as show_text};
use igvm_defs::{
    IGVM_VHS_PARAMETER, IGVM_VHS_PARAMETER_INSERT, IGVM_VHS_SUPPORTED_PLATFORM, IgvmPageDataFlags,
    IgvmPageDataType, IgvmPlatformType,
};
use igvm_file::measurement::generate_snp_measurement;
use igvm_file::snp_defs::SevVmsa;
use igvm_file::{IgvmDirectiveHeader, IgvmFile, IgvmInitializationHeader, IgvmPlatformHeader, IgvmRevision};
use snp_abi::launch::{LaunchDigest, PageType};
use snp_abi::policy::GuestPolicy;
use snp_abi::vmsa::{SevFeatures, Vmsa};
use zerocopy::{FromZeros, IntoBytes};

const OF_KVM: u64 = 0xFFFF_FFFF_F000;

fn image(with_madt: bool, base: u64) -> Vec<u8> {
    let (stage2, kernel) = (synthetic_elf::stage2(base), synthetic_elf::kernel());
    let region = RegionOptions { base, size: 0x0100_0000, with_madt, log_level: 3 };
    let policy = GuestPolicy::DEFAULT;
    build(&BuildOptions { stage2: &stage2, kernel: &kernel, guest: GuestSource::None, region, policy })
        .unwrap()
}

fn looked(bytes: &[u8], host: &str) -> (Verdict, Vec<Finding>) {
    let findings = check(&ImageFile::parse(bytes).unwrap(), Host::from_name(host).unwrap());
    (sum(&findings), findings)
}

fn finding(bytes: &[u8], host: &str, subject: &str) -> Finding {
    let (_, findings) = looked(bytes, host);
    findings.into_iter().find(|finding| finding.subject == subject).unwrap()
}

/// A file of these directives behind a platform and a policy.
fn file(directives: Vec<IgvmDirectiveHeader>) -> Vec<u8> {
    let policy = IgvmInitializationHeader::GuestPolicy { policy: 0x30000, compatibility_mask: 1 };
    let platform = IgvmPlatformHeader::SupportedPlatform(IGVM_VHS_SUPPORTED_PLATFORM {
        compatibility_mask: 1,
        highest_vtl: 0,
        platform_type: IgvmPlatformType::SEV_SNP,
        platform_version: 1,
        shared_gpa_boundary: 0,
    });
    let file = IgvmFile::new(IgvmRevision::V1, vec![platform], vec![policy], directives).unwrap();
    let mut bytes = Vec::new();
    file.serialize(&mut bytes).unwrap();
    bytes
}

fn page(gpa: u64, fill: Option<u8>) -> IgvmDirectiveHeader {
    IgvmDirectiveHeader::PageData {
        gpa,
        compatibility_mask: 1,
        flags: IgvmPageDataFlags::new(),
        data_type: IgvmPageDataType::NORMAL,
        data: fill.map_or(Vec::new(), |fill| vec![fill; 4096]),
    }
}

fn vmsa(gpa: u64, features: u64) -> IgvmDirectiveHeader {
    let mut registers = Vmsa::protected_mode_start(0x1000, SevFeatures::SNP_ACTIVE);
    registers.sev_features = features;
    let mut context = Box::new(SevVmsa::new_zeroed());
    context.as_mut_bytes().copy_from_slice(registers.as_bytes());
    IgvmDirectiveHeader::SnpVpContext { gpa, compatibility_mask: 1, vp_index: 0, vmsa: context }
}

/// A parameter area with a device tree, as COCONUT's images have.
fn device_tree(gpa: u64) -> [IgvmDirectiveHeader; 3] {
    let parameter_area_index = 0;
    [
        IgvmDirectiveHeader::ParameterArea {
            number_of_bytes: 0x1000,
            parameter_area_index,
            initial_data: Vec::new(),
        },
        IgvmDirectiveHeader::DeviceTree(IGVM_VHS_PARAMETER { parameter_area_index, byte_offset: 0 }),
        IgvmDirectiveHeader::ParameterInsert(IGVM_VHS_PARAMETER_INSERT {
            gpa,
            compatibility_mask: 1,
            parameter_area_index,
        }),
    ]
}

fn digest(bytes: &[u8], loader: Loader) -> [u8; 48] {
    measure(&ImageFile::parse(bytes).unwrap(), loader, 1, 0).unwrap().digest
}

#[test]
fn our_image_fits_the_hosts_that_it_is_built_for() {
    let image = image(true, 0x0800_0000);
    assert_eq!(looked(&image, "kvm-planes").0, Verdict::Fits);
    assert_eq!(looked(&image, "kvm-coconut").0, Verdict::Fits);
    // It starts on a mainline kernel, and ends there for want of a lower level.
    assert_eq!(looked(&image, "qemu-11").0, Verdict::Warns);
    assert_eq!(finding(&image, "qemu-11", "levels below VMPL0").verdict, Verdict::Warns);
}

#[test]
fn a_madt_is_refused_where_nobody_fills_it() {
    let with_madt = finding(&image(true, 0x0800_0000), "qemu-10.2", "headers");
    assert_eq!((with_madt.verdict, with_madt.remedy), (Verdict::Refused, "Build it with --no-madt."));
    assert_eq!(finding(&image(false, 0x0800_0000), "qemu-10.2", "headers").verdict, Verdict::Fits);
}

#[test]
fn every_refusal_and_warning_comes_with_a_remedy() {
    let images = [
        image(true, 0x0800_0000),
        image(false, 0x4000_0000),
        file(vec![page(0x1000, Some(1)), vmsa(0x8000, 0x29)]),
        file(vec![page(0x1000, Some(1))]),
    ];
    for host in HOSTS {
        for image in &images {
            let (verdict, findings) = looked(image, host.name);
            for finding in &findings {
                let needs_remedy = finding.verdict > Verdict::Unknown;
                assert_eq!(needs_remedy, !finding.remedy.is_empty(), "{}: {finding:?}", host.name);
                assert!(!finding.reason.is_empty());
            }
            let text = to_text(host, &findings);
            assert!(text.ends_with('\n') && text.contains(host.title), "{text}");
            assert_eq!(to_json(host, &findings)["verdict"], verdict.to_string());
        }
    }
}

#[test]
fn each_host_refuses_what_only_it_refuses() {
    let image = image(false, 0x0800_0000);
    let refused = |host, subject| finding(&image, host, subject).verdict == Verdict::Refused;
    assert!(refused("cloud-hypervisor", "headers") && refused("cloud-hypervisor", "VMSA address"));
    assert!(!refused("openvmm", "headers") && !refused("openvmm", "VMSA address"));
    assert!(refused("hyper-v", "platform") && refused("hyper-v", "SEV_FEATURES"));
    assert!(refused("hyper-v", "ID block"));
    assert!(refused("vanadium", "addresses") && !refused("qemu-11", "addresses"));
    assert_eq!(finding(&image, "vanadium", "headers").verdict, Verdict::Unknown);
}

#[test]
fn restricted_injection_needs_a_kernel_that_offers_it() {
    let image = file(vec![page(0x1000, Some(1)), vmsa(OF_KVM, 0x29)]);
    assert_eq!(finding(&image, "qemu-11", "SEV_FEATURES").verdict, Verdict::Refused);
    assert!(finding(&image, "qemu-11", "SEV_FEATURES").reason.contains("restricted injection"));
    assert_eq!(finding(&image, "kvm-planes", "SEV_FEATURES").verdict, Verdict::Fits);
}

#[test]
fn what_some_loader_takes_can_be_shown_and_measured() {
    let mut directives = device_tree(0x8000).to_vec();
    directives.extend([page(0x1000, Some(1)), vmsa(0x9000, 0x29)]);
    let image = file(directives);
    let parsed = ImageFile::parse(&image).unwrap();
    assert!(LaunchPlan::of_file(&parsed).is_err(), "mainline launches it");
    assert_eq!(Loader::of_file(&parsed), Loader::Direct);
    let shown = show_json(&parsed);
    assert!(shown["refused_because"].is_null(), "{shown}");
    assert_eq!(shown["parameters"][0]["contents"][0]["parameter"], "DeviceTree");
    assert_eq!(shown["launch_digest"].as_str().unwrap().len(), 96);
    assert!(show_text(&parsed).contains("0x29"));
    assert_eq!(sum(&check(&parsed, Host::from_name("kvm-planes").unwrap())), Verdict::Fits);
}

#[test]
fn the_direct_digest_is_the_igvm_crates() {
    let mut directives = device_tree(0x8000).to_vec();
    directives.extend([page(0x3000, Some(1)), page(0x1000, None), vmsa(0x9000, 1), page(0xA000, Some(2))]);
    let image = file(directives);
    let parsed = IgvmFile::new_from_binary(&image, None).unwrap();
    let judged = generate_snp_measurement(parsed.initializations(), parsed.directives(), 1).unwrap();
    assert_eq!(digest(&image, Loader::Direct).to_vec(), judged.to_vec());
}

#[test]
fn loaders_differ_in_order_zero_pages_and_vmsas() {
    let image = file(vec![page(0x3000, Some(7)), page(0x1000, None), vmsa(0x2000, 1), page(0x5000, Some(8))]);
    let mut registers = [0; 4096];
    registers.copy_from_slice(Vmsa::protected_mode_start(0x1000, SevFeatures::SNP_ACTIVE).as_bytes());
    let (seven, eight, zeros) = ([7; 4096], [8; 4096], [0; 4096]);
    let of = |pages: [(PageType, u64, &[u8; 4096]); 4]| {
        let mut digest = LaunchDigest::new();
        pages.iter().for_each(|(page_type, address, content)| digest.add_page(*page_type, *address, content));
        digest.bytes()
    };
    use PageType::{Normal, Vmsa as Registers, Zero};
    let first = (Normal, 0x3000, &seven);
    let last = (Normal, 0x5000, &eight);
    let own = (Registers, 0x2000, &registers);
    let kvms = (Registers, OF_KVM, &registers);
    assert_eq!(digest(&image, Loader::Direct), of([first, (Normal, 0x1000, &zeros), own, last]));
    assert_eq!(digest(&image, Loader::Gce), of([first, (Zero, 0x1000, &zeros), own, last]));
    assert_eq!(digest(&image, Loader::Mshv), of([(Normal, 0x1000, &zeros), own, first, last]));
    assert_eq!(digest(&image, Loader::CloudHypervisor), of([first, (Zero, 0x1000, &zeros), last, kvms]));
}

#[test]
fn what_is_not_documented_is_not_guessed() {
    let image = file(vec![page(0x1000, Some(1)), vmsa(0x8000, 1)]);
    let parsed = ImageFile::parse(&image).unwrap();
    let measured = measure(&parsed, Loader::CloudHypervisor, 2, 0);
    assert_eq!(measured.err(), Some(MeasureError::UndocumentedVcpus));
}
