//! The table of emulated runs.

/// One run.
pub struct Run {
    /// Its name, which states what it shows.
    pub name: &'static str,
    /// What it boots.
    pub image: Image,
    /// Options of `snp-emulator run`.
    pub options: &'static [&'static str],
    /// fw_cfg files for the test guest: name and contents.
    pub files: &'static [(&'static str, &'static str)],
    /// Time limit.
    pub seconds: u64,
    /// How it must come out.
    pub expect: Expect,
}

/// What a run boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// The test guest, on an image for as many vCPUs as the machine has.
    Payload,
    /// The test guest on the image for one vCPU, whatever the machine has.
    ForOneVcpu,
    /// The test guest on an image that does not say how many vCPUs it is for: the others start in the reset state.
    ForAnyVcpus,
    /// The test guest on a kernel with a deliberate fault.
    Fault(&'static str),
    /// The test guest's image, damaged.
    Damaged(Damage),
}

/// What is done to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Nothing is left of it.
    Empty,
    /// It is something else.
    Text,
    /// Its second half is missing.
    CutShort,
    /// Its last bit is another one.
    OneBitOff,
}

/// How a run must come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The test guest's cases pass, and the machine launched what the image tool measures.
    Cases,
    /// The test guest sends evidence, and the verifier accepts all of it that needs no quote.
    Evidence,
    /// The test guest sends evidence in two launches: the TPMs differ, and what was measured does not.
    AnotherTpm,
    /// Two runs with counted instructions leave the same bytes.
    SameTwice,
    /// It ends with this status; for each element there is a line with all of its parts.
    Ends {
        /// Exit status of the emulator.
        status: i32,
        /// What must be said.
        says: &'static [&'static [&'static str]],
    },
}

const CASES: Run =
    Run { name: "", image: Image::Payload, options: &[], files: &[], seconds: 120, expect: Expect::Cases };

const fn cases(name: &'static str, options: &'static [&'static str]) -> Run {
    Run { name, options, ..CASES }
}

const fn twice(name: &'static str, options: &'static [&'static str]) -> Run {
    Run { name, options, seconds: 180, expect: Expect::SameTwice, ..CASES }
}

/// Something that the machine must stop, or a guest that ends in its own way.
const fn mode(
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    status: i32,
    says: &'static [&'static [&'static str]],
) -> Run {
    Run { name, files, seconds: 60, expect: Expect::Ends { status, says }, ..CASES }
}

const fn fault(
    name: &'static str,
    fault: &'static str,
    status: i32,
    says: &'static [&'static [&'static str]],
) -> Run {
    Run { name, image: Image::Fault(fault), expect: Expect::Ends { status, says }, ..CASES }
}

const fn malformed(name: &'static str, damage: Damage, says: &'static [&'static [&'static str]]) -> Run {
    Run {
        name,
        image: Image::Damaged(damage),
        expect: Expect::Ends { status: 2, says },
        seconds: 10,
        ..CASES
    }
}

/// An attack, on two vCPUs.
const fn attack(
    name: &'static str,
    options: &'static [&'static str],
    status: i32,
    says: &'static [&'static [&'static str]],
) -> Run {
    Run { options, ..mode(name, &[("mode", "vectors")], status, says) }
}

/// QEMU's device for teaching, where the test guest looks for it.
const DEVICE_THAT_COPIES: &[&str] = &["--", "-device", "edu,addr=0x10"];

/// All runs, in the order in which they are made.
pub const RUNS: &[Run] = &[
    cases("payload_with_1_vcpu", &[]),
    cases("payload_with_2_vcpus", &["--smp", "2"]),
    cases("payload_with_4_vcpus", &["--smp", "4"]),
    cases("payload_with_8_vcpus", &["--smp", "8"]),
    cases("payload_where_cpuid_hides_invlpgb", &["--invlpgb", "hidden", "--smp", "2"]),
    Run {
        options: &["--invlpgb", "missing"],
        ..mode(
            "processor_without_invlpgb_is_refused",
            &[],
            3,
            &[&["ended the guest with reason set 8 code 18"]],
        )
    },
    // Where QEMU puts devices if there is less memory.
    cases("payload_with_memory_up_to_the_devices", &["--memory", "2700M"]),
    cases("payload_with_6_gib", &["--memory", "6G", "--smp", "2"]),
    Run {
        files: &[("mode", "host=small-pages")],
        ..cases("payload_on_a_host_with_small_pages", &["--small-pages", "--smp", "2"])
    },
    Run {
        files: &[("mode", "host=private")],
        ..cases("payload_in_memory_that_starts_private", &["--host", "plain", "--smp", "2"])
    },
    cases("payload_with_the_models_whole_cpuid", &["--cpuid", "exact"]),
    cases("payload_on_the_older_coconut_host", &["--host", "kvm-coconut"]),
    Run {
        options: &["--host", "kvm-mainline"],
        ..mode(
            "a_host_without_lower_levels_is_named_by_the_firmware",
            &[],
            3,
            &[&["VMPL0 of vCPU 0 ended the guest with reason set 8"], &["machine: exit: vcpu 0 vmpl 0"]],
        )
    },
    cases("payload_on_a_host_that_throttles_messages", &["--throttle", "2"]),
    Run {
        files: &[("mode", "host=busy")],
        ..cases("payload_on_a_host_that_answers_no_message", &["--throttle", "1"])
    },
    cases("payload_on_genoa_with_a_vlek", &["--cpu-model", "genoa", "--endorsement", "vlek"]),
    cases("payload_on_turin_with_host_data", &["--cpu-model", "turin", "--host-data", "c0ffee"]),
    Run {
        files: &[("mode", "evidence")],
        expect: Expect::Evidence,
        ..cases("evidence_of_the_payload_is_verified", &[])
    },
    Run {
        files: &[("mode", "evidence")],
        expect: Expect::AnotherTpm,
        ..cases("vm_that_is_launched_again_has_another_tpm", &[])
    },
    mode(
        "reading_vmpl0_memory_is_stopped",
        &[("mode", "read-vmpl0")],
        4,
        &[&["violation: vcpu 0 vmpl 2 rip 0x", "guest_payload", "0x8003000"]],
    ),
    mode(
        "writing_vmpl0_memory_is_stopped",
        &[("mode", "write-vmpl0")],
        4,
        &[&["violation: vcpu 0 vmpl 2 rip 0x", "guest_payload", "0x8003000"]],
    ),
    mode(
        "executing_vmpl0_memory_is_stopped",
        &[("mode", "execute-vmpl0")],
        4,
        &[&["violation: vcpu 0 vmpl 2 rip 0x8000000", "0x8000000"]],
    ),
    mode(
        "writing_a_vmsa_is_stopped",
        &[("mode", "write-vmsa")],
        4,
        &[&["violation: vcpu 0 vmpl 2 rip 0x", "guest_payload", "access to 0x"]],
    ),
    mode(
        "writing_private_memory_through_a_shared_mapping_is_stopped",
        &[("mode", "shared-write")],
        4,
        &[&["violation: vcpu 0 vmpl 2 rip 0x", "guest_payload", "through a shared mapping"]],
    ),
    Run {
        options: DEVICE_THAT_COPIES,
        ..mode("devices_reach_shared_memory", &[("mode", "dma")], 0, &[&["payload: dma ok"]])
    },
    Run {
        options: DEVICE_THAT_COPIES,
        ..mode(
            "dma_to_private_memory_is_stopped",
            &[("mode", "dma-to-private")],
            4,
            &[&["violation: ", "the PCI device 00:10.0 accesses the page 0x", "does not share"]],
        )
    },
    mode(
        "unhandled_vc_is_the_guests_failure",
        &[("mode", "unhandled-vc")],
        1,
        &[&["payload: exception 29 code 0x404"], &["machine: the guest reports failure 254"]],
    ),
    mode(
        "termination_names_set_and_code",
        &[("mode", "terminate")],
        3,
        &[
            &["machine: guest terminates: vcpu 0 vmpl 2"],
            &["VMPL2 of vCPU 0 ended the guest with reason set 1 code 7"],
        ],
    ),
    mode(
        "triple_fault_says_where",
        &[("mode", "triple-fault")],
        1,
        &[&["machine: triple fault: vcpu 0 vmpl 2", "rip 0x", "guest_payload"], &["machine: summary: exits"]],
    ),
    Run {
        options: &["--reboots", "1"],
        ..mode(
            "a_reset_launches_the_vm_anew",
            &[("mode", "reset")],
            0,
            &[
                &["machine: reset: requested through port 0xcf9"],
                &["machine: verdict: the guest finished well"],
            ],
        )
    },
    Run {
        seconds: 5,
        ..mode(
            "hang_ends_at_the_time_limit_and_says_where",
            &[("mode", "hang")],
            5,
            &[
                &["machine: time limit of 5 s reached"],
                &["machine: summary: exits"],
                &["running: vcpu 0 vmpl 2", "rip 0x", "guest_payload"],
            ],
        )
    },
    Run {
        options: &["--smp", "4"],
        seconds: 120,
        ..mode("vcpus_come_and_go_1000_times", &[("mode", "churn")], 0, &[&["payload: churn ok"]])
    },
    Run {
        image: Image::ForOneVcpu,
        ..attack(
            "image_for_one_vcpu_is_refused_on_two",
            &["--smp", "2"],
            3,
            &[
                &["2 vCPUs, but the image has registers for 1"],
                &["ended the guest with reason set 8 code 14"],
            ],
        )
    },
    Run {
        image: Image::ForAnyVcpus,
        ..attack(
            "vcpu_launched_in_the_reset_state_is_lost",
            &["--smp", "2", "--attack", "launch_vmsa_runs,after=2000"],
            6,
            &[&["VMPL0 lost: it executes 0x1000"], &["launch_vmsa_runs carried out 1 times: lost"]],
        )
    },
    Run {
        image: Image::ForAnyVcpus,
        ..attack(
            "vcpu_launched_in_the_reset_state_is_lost_to_an_nmi",
            &["--smp", "2", "--attack", "launch_vmsa_injected,after=2000"],
            6,
            &[&["VMPL0 lost: it executes 0x1000"], &["launch_vmsa_injected carried out 1 times: lost"]],
        )
    },
    attack(
        "launch_vmsa_that_runs_halts",
        &["--smp", "2", "--attack", "launch_vmsa_runs,after=2000"],
        0,
        &[
            &["attack: the launch VMSA of vCPU 1 halted"],
            &["launch_vmsa_runs carried out 1 times: held"],
            &["payload: vectors ok"],
        ],
    ),
    attack(
        "launch_vmsa_with_an_nmi_shuts_down",
        &["--smp", "2", "--attack", "launch_vmsa_injected,after=2000"],
        0,
        &[
            &["attack: the launch VMSA of vCPU 1 shut down"],
            &["launch_vmsa_injected carried out 1 times: held"],
            &["payload: vectors ok"],
        ],
    ),
    attack(
        "launch_vmsa_with_an_injected_vc_shuts_down",
        &["--smp", "2", "--attack", "launch_vmsa_injected,after=2000,vector=29"],
        0,
        &[&["launch_vmsa_injected carried out 1 times: held"], &["payload: vectors ok"]],
    ),
    attack(
        "launch_vmsa_with_an_interrupt_shuts_down",
        &["--smp", "2", "--attack", "launch_vmsa_injected,after=2000,vector=0x80"],
        0,
        &[&["launch_vmsa_injected carried out 1 times: held"], &["payload: vectors ok"]],
    ),
    attack(
        "gs_base_is_never_asked_for",
        &["--smp", "2", "--attack", "msr_answered"],
        0,
        &[&["msr_answered carried out 0 times: held"], &["payload: vectors ok"]],
    ),
    attack(
        "stage2_does_not_go_on_with_the_hosts_efer",
        &["--attack", "msr_answered,register=0xc0000080,value=0"],
        0,
        &[&["#VC without handler: vcpu 0 vmpl 0 exit 0x7c"], &["msr_answered carried out 1 times: held"]],
    ),
    attack(
        "answer_about_efer_is_refused",
        &["--smp", "2", "--attack", "msr_answered,register=0xc0000080,value=0,skip=1"],
        0,
        &[
            &["exception 29 code 0x7c"],
            &["ended the guest with reason set 8 code 10"],
            &["msr_answered carried out 1 times: held"],
        ],
    ),
    twice("two_counted_runs_with_1_vcpu_are_equal", &["--icount"]),
    twice("two_counted_runs_with_4_vcpus_are_equal", &["--icount", "--smp", "4"]),
    fault(
        "kernel_that_skips_zeroing_is_found_out",
        "skip_zeroing",
        4,
        &[&["breach: vcpu 0 vmpl 0", "granted to VMPL2", "it was not zeroed"]],
    ),
    fault(
        "kernel_that_skips_a_flush_is_found_out",
        "skip_flush",
        4,
        &[&["breach: vcpu 0", "given to the host without a TLB flush since it was rescinded"]],
    ),
    fault(
        "kernel_that_skips_a_ledger_check_is_found_out",
        "skip_ledger_check",
        1,
        &[&["case vmsa_cannot_be_rescinded FAILED"], &["machine: the guest reports failure"]],
    ),
    Run {
        // QEMU's default of 40 physical address bits, with which its VMRUN refuses the guest, in place of an unfit QEMU.
        options: &["--", "-cpu", "EPYC-Milan,phys-bits=40,+la57,+x2apic"],
        expect: Expect::Ends { status: 70, says: &[&["self-test failed: QEMU emulator version "]] },
        ..cases("unfit_qemu_is_named_by_the_self_test", &[])
    },
    malformed("empty_image_is_refused", Damage::Empty, &[&["snp-emulator: the image cannot be launched"]]),
    malformed("text_is_refused_as_image", Damage::Text, &[&["snp-emulator: the image cannot be launched"]]),
    malformed(
        "truncated_image_is_refused",
        Damage::CutShort,
        &[&["snp-emulator: the image cannot be launched"]],
    ),
    malformed(
        "altered_image_is_refused",
        Damage::OneBitOff,
        &[&["snp-emulator: the image cannot be launched"]],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_run_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = RUNS.iter().map(|run| run.name).collect();
        assert_eq!(names.len(), RUNS.len());
    }
}
