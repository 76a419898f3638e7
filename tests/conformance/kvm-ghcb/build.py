"""Builds the judge out of KVM's own code: headers as they are, functions cut out by name."""

import pathlib
import re
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
SEV, SVM, X86 = "arch/x86/kvm/svm/sev.c", "arch/x86/kvm/svm/svm.h", "arch/x86/kvm/x86.h"
HEADERS = {
    "arch/x86/include/asm/svm.h": "asm/svm.h",
    "arch/x86/include/asm/sev-common.h": "asm/sev-common.h",
    "arch/x86/include/uapi/asm/svm.h": "uapi/asm/svm.h",
    "include/uapi/linux/sev-guest.h": "linux/sev-guest.h",
}
MESSAGES = "arch/x86/include/asm/sev.h"
PARAVIRTUAL = "arch/x86/include/uapi/asm/kvm_para.h"
HYPERCALLS = "include/uapi/linux/kvm_para.h"
FILES = (SEV, SVM, X86, *HEADERS, MESSAGES, PARAVIRTUAL, HYPERCALLS)
# In the order in which they call each other.
FUNCTIONS = (
    "dump_ghcb",
    "sev_es_sync_to_ghcb",
    "sev_es_sync_from_ghcb",
    "sev_es_are_required_ghcb_fields_valid",
    "__sev_es_unmap_ghcb",
    "sev_es_unmap_ghcb",
    "setup_vmgexit_scratch",
    "set_ghcb_msr_bits",
    "get_ghcb_msr_bits",
    "set_ghcb_msr",
    "snp_complete_psc_msr",
    "snp_begin_psc_msr",
    "snp_complete_psc",
    "__snp_complete_one_psc",
    "snp_complete_one_psc",
    "snp_do_psc",
    "snp_begin_psc",
    "sev_snp_ap_creation",
    "snp_handle_guest_req",
    "snp_req_certs_err",
    "snp_complete_req_certs",
    "snp_handle_ext_guest_req",
    "sev_handle_vmgexit_msr_protocol",
    "is_snp_only_vmgexit",
    "sev_handle_vmgexit",
    "sev_es_string_io",
)
HELPERS = (
    "ghcb_gpa_is_registered",
    "svm_vmgexit_set_return_code",
    "svm_vmgexit_bad_input",
    "svm_vmgexit_success",
    "svm_vmgexit_no_action",
)


class Missing(Exception):
    """Something that this version of Linux does not have where it was."""


def fetch():
    """The folder of the newest source of Linux, or None and why."""
    script = HERE.parent / "foreign_source" / "fetch.sh"
    run = subprocess.run([script, "linux-source", r"^7\.", *FILES], capture_output=True, text=True)
    if run.returncode == 0:
        return pathlib.Path(run.stdout.strip().splitlines()[-1]), ""
    last = run.stderr.strip().splitlines()[-1:] or [f"status {run.returncode}"]
    return None, last[0].removeprefix("setup: ")


def cut(text, start, what):
    """From where the pattern matches to the first line that begins with a closing brace."""
    found = re.search(start + r"[\s\S]*?^\}[^\n]*\n", text, re.MULTILINE)
    if not found:
        raise Missing(f"no {what}")
    return found.group(0)


def function(text, name):
    """A function as it is."""
    return cut(text, rf"^(?:static )?(?:inline )?(?:int|bool|void|u64)\s+{name}\([^;{{]*\)\s*\{{", name)


def defined(text, pattern):
    """The definitions of macros whose names match, with the lines that continue them."""
    found = re.findall(rf"^#define\s+(?:{pattern})\b(?:[^\n]*\\\n)*[^\n]*\n", text, re.MULTILINE)
    if not found:
        raise Missing(f"no {pattern}")
    return "".join(found)


def parts(source):
    """The files that judge.c includes: what is cut out of KVM's."""
    read = {name: (source / name).read_text() for name in FILES}
    accessors = defined(read[SVM], "DEFINE_KVM_GHCB_ACCESSORS")
    accessors += "".join(re.findall(r"^DEFINE_KVM_GHCB_ACCESSORS\(\w+\)\n", read[SVM], re.MULTILINE))
    numbers = [
        defined(read[SEV], r"GHCB_VERSION_M\w+|GHCB_HV_FT_SUPPORTED|AP_RESET_HOLD_\w+|SNP_GUEST_VMM_ERR_GENERIC"),
        defined(read[SEV], "GHCB_SCRATCH_AREA_LIMIT"),
        defined(read[PARAVIRTUAL], r"KVM_MAP_GPA_RANGE_\w+"),
        defined(read[HYPERCALLS], "KVM_HC_MAP_GPA_RANGE"),
        defined(read[MESSAGES], "MAX_AUTHTAG_LEN"),
        cut(read[MESSAGES], r"^enum msg_type ", "enum msg_type"),
        cut(read[MESSAGES], r"^struct snp_guest_msg_hdr ", "struct snp_guest_msg_hdr"),
    ]
    buffer = cut(read[SEV], r"^struct psc_buffer ", "struct psc_buffer") + "static int snp_do_psc(struct vcpu_svm *svm);\n"
    helpers = "".join(function(read[SVM], name) for name in HELPERS)
    return {
        "numbers.inc": "".join(numbers),
        "sev_es_state.inc": cut(read[SVM], r"^struct vcpu_sev_es_state ", "struct vcpu_sev_es_state"),
        "helpers.inc": accessors + helpers + function(read[X86], "kvm_is_valid_map_gpa_range_ret"),
        "functions.inc": buffer + "\n".join(function(read[SEV], name) for name in FUNCTIONS),
    }


def build(source):
    """The judge's program, built once for a version of Linux and of what is in this folder."""
    target = source / "judge"
    program = target / "judge"
    inputs = [*HERE.glob("shim/**/*.[ch]"), HERE / "build.py"]
    if program.exists() and all(file.stat().st_mtime < program.stat().st_mtime for file in inputs):
        return program
    for name, place in HEADERS.items():
        (target / "include" / place).parent.mkdir(parents=True, exist_ok=True)
        (target / "include" / place).write_bytes((source / name).read_bytes())
    for name, text in parts(source).items():
        (target / name).write_text(text)
    command = ["gcc", "-std=gnu11", "-O1", "-w", "-include", HERE / "shim/kernel.h"]
    includes = [f"-I{HERE / 'shim'}", f"-I{target / 'include'}", f"-I{target}"]
    run = subprocess.run([*command, *includes, "-o", program, HERE / "shim/judge.c"], capture_output=True, text=True)
    if run.returncode != 0:
        first = next((line for line in run.stderr.splitlines() if "error" in line), run.stderr[-300:])
        raise Missing(f"the shim does not fit this version: {first}")
    return program
