//! The table of cases, and the run over it.

mod attestation;
pub mod bench;
mod calling_area;
mod calls;
pub mod evidence;
pub mod forbidden;
mod given_away;
mod interrupts;
mod many_vcpus;
mod pvalidate_good;
mod pvalidate_refused;
mod start;
mod vcpu_good;
mod vcpu_refused;
mod vtpm;

use crate::boot::Boot;
use crate::check::Check;
use crate::ghcb;
use crate::host::Host;
use crate::serial::println;

/// One case.
pub struct Case {
    pub name: &'static str,
    pub run: fn(&Boot) -> Check,
    pub needs: Needs,
}

/// What a case needs of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    Vcpus(usize),
    LargePages,
    SmallPages,
}

impl Needs {
    fn are_met(self, host: Host) -> bool {
        match self {
            Self::Nothing => true,
            Self::Vcpus(count) => count <= crate::vcpu::count(),
            Self::LargePages => host.has_large_pages(),
            Self::SmallPages => !host.has_large_pages(),
        }
    }
}

/// Writes a row of the table; the name of the case is the name of its function.
macro_rules! case {
    ($module:ident :: $name:ident) => {
        Case { name: stringify!($name), run: $module::$name, needs: Needs::Nothing }
    };
    ($module:ident :: $name:ident, $vcpus:literal) => {
        Case { name: stringify!($name), run: $module::$name, needs: Needs::Vcpus($vcpus) }
    };
    ($module:ident :: $name:ident, $needs:ident) => {
        Case { name: stringify!($name), run: $module::$name, needs: Needs::$needs }
    };
}

/// All cases, in the order in which they run.
const CASES: &[Case] = &[
    case!(start::secrets_page_names_the_svsm),
    case!(start::secrets_page_lacks_the_key_of_vmpl0),
    case!(start::secrets_page_has_the_keys_of_its_own_level_and_below),
    case!(start::cpuid_page_is_readable_and_names_the_c_bit),
    case!(start::memory_map_leaves_the_svsm_out),
    case!(start::rmpadjust_is_refused_at_vmpl2),
    case!(start::pvalidate_is_refused_at_vmpl2),
    case!(start::rmpquery_shows_full_rights_to_own_memory),
    case!(start::memory_that_was_never_validated_raises_vc),
    case!(calls::core_protocol_version_1_is_served),
    case!(calls::core_protocol_version_0_is_not_served),
    case!(calls::core_protocol_version_2_is_not_served),
    case!(calls::unknown_protocol_is_not_served),
    case!(calls::unknown_protocol_is_refused),
    case!(calls::unknown_call_is_refused),
    case!(calls::huge_protocol_and_call_numbers_are_refused),
    case!(calls::deposit_memory_is_not_offered),
    case!(calls::withdraw_memory_is_not_offered),
    case!(calls::virtual_tom_query_says_no),
    case!(calls::setting_a_virtual_tom_is_refused),
    case!(calls::switch_without_pending_flag_changes_nothing),
    case!(calls::pending_flag_other_than_one_is_not_served),
    case!(calls::refused_call_keeps_the_argument_registers),
    case!(pvalidate_good::small_page_is_validated_and_zeroed),
    case!(pvalidate_good::small_page_is_rescinded),
    case!(pvalidate_good::rescinded_page_can_be_shared_and_taken_back_zeroed),
    case!(pvalidate_good::large_page_is_validated_and_zeroed, LargePages),
    case!(pvalidate_good::large_page_is_rescinded_as_a_whole, LargePages),
    case!(pvalidate_good::large_page_can_be_rescinded_in_parts, LargePages),
    case!(pvalidate_good::batch_of_256_small_pages),
    case!(pvalidate_good::batch_of_510_entries_fills_the_calling_area),
    case!(pvalidate_good::list_is_resumed_at_its_next_index),
    case!(pvalidate_good::list_may_lie_in_any_private_page),
    case!(pvalidate_good::list_may_end_at_the_end_of_its_page),
    case!(pvalidate_good::no_change_can_be_ignored),
    case!(pvalidate_good::rescinding_an_unvalidated_page_can_be_ignored),
    case!(pvalidate_good::validate_and_rescind_in_one_list),
    case!(pvalidate_good::long_list_of_large_pages_is_finished_in_steps, LargePages),
    case!(pvalidate_refused::double_validation_is_reported),
    case!(pvalidate_refused::rescinding_an_unvalidated_page_is_reported),
    case!(pvalidate_refused::page_size_2_and_3_are_refused),
    case!(pvalidate_refused::reserved_bits_of_an_entry_are_refused),
    case!(pvalidate_refused::unaligned_large_page_is_refused),
    case!(pvalidate_refused::large_page_over_small_ones_is_a_size_mismatch),
    case!(pvalidate_refused::large_rescind_over_mixed_pages_is_a_size_mismatch, LargePages),
    case!(pvalidate_refused::large_page_on_a_host_with_small_ones_is_a_size_mismatch, SmallPages),
    case!(pvalidate_refused::svsm_memory_cannot_be_validated),
    case!(pvalidate_refused::svsm_memory_cannot_be_rescinded),
    case!(pvalidate_refused::svsm_memory_cannot_be_validated_as_large_page),
    case!(pvalidate_refused::address_without_memory_is_refused),
    case!(pvalidate_refused::video_memory_is_refused),
    case!(pvalidate_refused::address_beyond_52_bits_is_refused),
    case!(pvalidate_refused::calling_area_cannot_be_rescinded),
    case!(pvalidate_refused::vmsa_of_the_boot_vcpu_cannot_be_rescinded),
    case!(pvalidate_refused::unaligned_list_is_refused),
    case!(pvalidate_refused::list_that_crosses_a_page_is_refused),
    case!(pvalidate_refused::list_without_entries_is_refused),
    case!(pvalidate_refused::next_behind_the_last_entry_is_refused),
    case!(pvalidate_refused::too_many_entries_are_refused),
    case!(pvalidate_refused::list_in_svsm_memory_is_refused),
    case!(pvalidate_refused::list_in_unvalidated_memory_is_refused),
    case!(pvalidate_refused::list_in_shared_memory_is_refused),
    case!(pvalidate_refused::failing_entry_stops_the_list_there),
    case!(given_away::list_in_a_page_of_the_hosts_is_refused),
    case!(given_away::page_of_the_hosts_is_not_rescinded_and_not_validated_anew),
    case!(given_away::calling_area_and_vmsa_in_pages_of_the_hosts_are_refused),
    case!(given_away::buffers_in_pages_of_the_hosts_are_refused),
    case!(calling_area::calling_area_moves),
    case!(calling_area::new_calling_area_starts_clear),
    case!(calling_area::old_calling_area_is_ordinary_memory_again),
    case!(calling_area::remap_to_the_same_page_is_accepted),
    case!(calling_area::unaligned_calling_area_is_refused),
    case!(calling_area::calling_area_in_svsm_memory_is_refused),
    case!(calling_area::calling_area_in_unvalidated_memory_is_refused),
    case!(calling_area::calling_area_in_shared_memory_is_refused),
    case!(vcpu_good::vcpu_is_created_for_the_boot_processor_and_deleted),
    case!(vcpu_good::calling_area_may_serve_the_next_vmsa_of_its_vcpu),
    case!(vcpu_good::vmsa_stays_readable_for_its_guest),
    case!(vcpu_good::deleted_vmsa_is_ordinary_memory_again),
    case!(vcpu_refused::vmsa_must_be_aligned),
    case!(vcpu_refused::vmsa_at_a_2_mib_boundary_is_refused),
    case!(vcpu_refused::vmsa_and_calling_area_must_differ),
    case!(vcpu_refused::vmsa_in_svsm_memory_is_refused),
    case!(vcpu_refused::vmsa_in_unvalidated_memory_is_refused),
    case!(vcpu_refused::vmsa_in_shared_memory_is_refused),
    case!(vcpu_refused::vmsa_in_a_calling_area_is_refused),
    case!(vcpu_refused::vmsa_of_another_vmpl_is_refused),
    case!(vcpu_refused::vmsa_for_vmpl0_is_refused),
    case!(vcpu_refused::vmsa_without_svme_is_refused),
    case!(vcpu_refused::vmsa_with_other_features_is_refused),
    case!(vcpu_refused::unknown_apic_id_is_refused),
    case!(vcpu_refused::huge_apic_id_is_refused),
    case!(vcpu_refused::one_page_cannot_be_two_vmsas),
    case!(vcpu_refused::calling_area_of_another_vcpu_is_refused, 2),
    case!(vcpu_refused::vmsa_cannot_be_rescinded),
    case!(vcpu_refused::vmsa_cannot_become_a_calling_area),
    case!(vcpu_refused::list_in_a_vmsa_is_refused),
    case!(vcpu_refused::too_many_vmsas_for_one_vcpu_are_refused),
    case!(vcpu_refused::deleting_what_is_no_vmsa_is_refused),
    case!(vcpu_refused::deleting_the_own_vmsa_is_refused),
    case!(vcpu_refused::deleting_twice_is_refused),
    case!(vcpu_refused::refused_vmsa_keeps_its_contents_and_rights),
    case!(attestation::attestation_protocol_version_1_is_served),
    case!(attestation::unknown_attestation_call_is_refused),
    case!(attestation::all_services_are_attested),
    case!(attestation::certificates_come_with_the_report),
    case!(attestation::report_without_certificates),
    case!(attestation::nonces_have_exactly_64_bytes),
    case!(attestation::two_reports_with_one_nonce_differ_only_where_they_may),
    case!(attestation::small_report_buffer_is_told_the_size),
    case!(attestation::small_manifest_buffer_is_told_the_size),
    case!(attestation::small_certificate_buffer_is_told_the_size),
    case!(attestation::unaligned_attestation_buffers_are_refused),
    case!(attestation::nonce_across_pages_is_refused),
    case!(attestation::reserved_attestation_fields_are_refused),
    case!(attestation::attestation_buffers_outside_of_private_memory_are_refused),
    case!(attestation::attestation_operation_must_be_private_and_in_one_page),
    case!(attestation::unknown_service_is_refused),
    case!(attestation::attestation_works_after_many_refusals),
    case!(vtpm::vtpm_protocol_version_1_is_served),
    case!(vtpm::vtpm_query_names_the_send_command),
    case!(vtpm::tpm_is_started_already),
    case!(vtpm::tpm_gives_random_bytes),
    case!(vtpm::pcr_is_extended_as_computed),
    case!(vtpm::event_log_replays_to_the_pcrs),
    case!(vtpm::manifest_of_the_vtpm_is_its_endorsement_key),
    case!(vtpm::p256_endorsement_key_by_template_is_the_same_twice),
    case!(vtpm::p384_endorsement_key_by_template_is_the_same_twice),
    case!(vtpm::malformed_vtpm_frames_are_refused),
    case!(vtpm::hostile_tpm_sizes_are_the_tpms_to_refuse),
    case!(vtpm::vtpm_buffer_may_have_any_alignment),
    case!(vtpm::vtpm_buffers_outside_of_private_memory_are_refused),
    case!(interrupts::interrupt_waits_for_the_interrupt_flag_and_comes_once),
    case!(interrupts::task_priority_can_be_written_with_an_interrupt_pending),
    case!(interrupts::task_priority_holds_interrupts_back),
    case!(interrupts::interrupts_that_overtake_each_other_all_end),
    case!(interrupts::vector_state_is_restored_while_others_enter_and_leave, 2),
    case!(many_vcpus::second_vcpu_runs_and_calls, 2),
    case!(many_vcpus::vcpu_is_deleted_and_created_again, 2),
    case!(many_vcpus::next_vmsa_may_be_created_before_the_last_is_deleted, 2),
    case!(many_vcpus::running_vmsa_cannot_be_deleted, 2),
    case!(many_vcpus::running_vmsa_cannot_be_rescinded, 2),
    case!(many_vcpus::two_vcpus_race_for_one_page_and_one_wins, 2),
    case!(many_vcpus::validation_races_with_rescission_without_harm, 2),
    case!(many_vcpus::all_vcpus_call_at_once, 4),
    case!(vtpm::all_vcpus_use_the_tpm_at_once, 4),
    case!(vtpm::long_tpm_command_does_not_hold_up_other_vcpus, 2),
];

/// The cases of a host on which no other one passes.
const CASES_OF_A_BUSY_HOST: &[Case] = &[case!(attestation::host_that_throttles_every_message)];

/// Runs every case that fits the host, and ends the machine.
pub fn run_all(boot: &Boot, host: Host) -> ! {
    run(if host.is_busy() { CASES_OF_A_BUSY_HOST } else { CASES }, boot, host)
}

fn run(cases: &[Case], boot: &Boot, host: Host) -> ! {
    let (mut passed, mut failed, mut skipped) = (0u64, 0u64, 0u64);
    for case in cases {
        if !case.needs.are_met(host) {
            println!("case {} skipped: needs {:?}", case.name, case.needs);
            skipped += 1;
            continue;
        }
        match (case.run)(boot) {
            Ok(()) => {
                println!("case {} ok", case.name);
                passed += 1;
            }
            Err(failure) => {
                println!("case {} FAILED: {}", case.name, failure.text());
                failed += 1;
            }
        }
    }
    println!("payload: {passed} passed, {failed} failed, {skipped} skipped");
    ghcb::exit(failed.min(200))
}
