/* judge: KVM's own answers to a guest's VMGEXITs, one after the other, for one VM.
 *
 * KVM's code is not here: `build.py` takes headers as they are and cuts functions out of sev.c, svm.h and x86.h. This is the rest of
 * KVM around them, and of the VMM. Lines on stdin, and what they are answered with on stdout:
 *
 *   memory ADDRESS HEX    puts bytes into guest memory
 *   features VALUE        the VM's SEV_FEATURES
 *   vcpus NUMBER          vCPUs, with APIC ids from 0
 *   vmgexit MSR           the first vCPU executes VMGEXIT with this value in its GHCB MSR
 *
 * Each vmgexit is answered with what happened on the way, `ask WHAT ...` and `log TEXT`, with `page ADDRESS HEX` for the GHCB page
 * afterwards where the MSR named one, and `done RETURN MSR`: 1 runs the guest on, 0 goes to the VMM for good, below 0 ends the VM.
 */
#include "kernel.h"

#include <stdarg.h>

#include <asm/svm.h>
#include <asm/sev-common.h>
#include <linux/sev-guest.h>

#include "numbers.inc"

enum { VCPU_REGS_RAX, VCPU_REGS_RCX, VCPU_REGS_RDX, VCPU_REGS_RBX, VCPU_REGS_RSP, VCPU_REGS_RBP, VCPU_REGS_RSI, NR_VCPU_REGS = 17 };
enum { KVM_REQ_EVENT, KVM_REQ_UPDATE_PROTECTED_GUEST_STATE };
enum { KVM_EXIT_HYPERCALL = 3, KVM_EXIT_SYSTEM_EVENT = 24, KVM_EXIT_SNP_REQ_CERTS = 43 };
enum { KVM_SYSTEM_EVENT_SEV_TERM = 4 };
enum { MSR_IA32_XSS = 0xDA0 };
enum { SEV_CMD_SNP_GUEST_REQUEST = 1 };
enum { GFP_KERNEL_ACCOUNT };
static const bool dump_invalid_vmcb = false;
static const unsigned sev_enc_bit = 51;

struct kvm_host_map { void *hva; };
struct kvm_sev_info {
    u64 vmsa_features, ap_jump_table;
    u16 ghcb_version;
    bool snp_certs_enabled;
    void *guest_req_buf, *guest_resp_buf, *snp_context;
    struct mutex guest_req_mutex;
};
struct kvm { struct kvm_sev_info sev_info; };
struct kvm_svm { struct kvm_sev_info sev_info; };
struct kvm_run {
    int exit_reason;
    struct { u64 nr, ret, args[6]; } hypercall;
    struct { u32 type, ndata; u64 data[16]; } system_event;
    struct { u64 gpa, npages, ret; } snp_req_certs;
};
struct kvm_vcpu {
    struct kvm *kvm;
    int vcpu_id;
    struct kvm_run *run;
    struct { unsigned long regs[NR_VCPU_REGS]; int (*complete_userspace_io)(struct kvm_vcpu *vcpu); } arch;
    struct { u64 nmi_window_exits; } stat;
};
struct sev_data_snp_guest_request { u64 gctx_paddr, req_paddr, res_paddr; };

#include "sev_es_state.inc"

struct vcpu_svm {
    struct kvm_vcpu vcpu;
    struct vmcb *vmcb;
    struct vcpu_sev_es_state sev_es;
    bool nmi_masked;
};

#define to_svm(vcpu) ((struct vcpu_svm *)(vcpu))
#define to_kvm_sev_info(kvm) (&(kvm)->sev_info)
#define to_kvm_svm(kvm) ((struct kvm_svm *)(kvm))
#define is_sev_snp_guest(vcpu) true
#define is_sev_es_guest(vcpu) true
#define user_exit_on_hypercall(kvm, number) true
#define kvzalloc(bytes, flags) calloc(1, bytes)
#define kvfree(memory) free(memory)
#define __psp_pa(address) ((u64)(uintptr_t)(address))
#define trace_kvm_vmgexit_enter(id, ghcb) ((void)0)
#define trace_kvm_vmgexit_exit(id, ghcb) ((void)0)
#define trace_kvm_vmgexit_msr_protocol_enter(id, value) ((void)0)
#define trace_kvm_vmgexit_msr_protocol_exit(id, value, result) ((void)0)
#define kvm_ghcb_dump(svm) ((void)(svm))

/* --- Guest memory --------------------------------------------------------------------------------------------------- */

struct page { u64 address; u8 bytes[PAGE_SIZE]; struct page *next; };
static struct page *memory;

static struct page *page_at(u64 address)
{
    for (struct page *page = memory; page; page = page->next) {
        if (page->address == (address & PAGE_MASK)) {
            return page;
        }
    }
    return NULL;
}

static struct page *make_page(u64 address)
{
    struct page *page = page_at(address);
    if (!page) {
        page = calloc(1, sizeof(*page));
        page->address = address & PAGE_MASK;
        page->next = memory;
        memory = page;
    }
    return page;
}

static int kvm_vcpu_map(struct kvm_vcpu *vcpu, gfn_t gfn, struct kvm_host_map *map)
{
    struct page *page = page_at(gfn_to_gpa(gfn));
    (void)vcpu;
    map->hva = page ? page->bytes : NULL;
    return page ? 0 : -EINVAL;
}

static void kvm_vcpu_unmap(struct kvm_vcpu *vcpu, struct kvm_host_map *map)
{
    (void)vcpu;
    map->hva = NULL;
}

static int copy(u64 address, void *bytes, u64 length, bool is_write)
{
    while (length > 0) {
        struct page *page = page_at(address);
        u64 offset = address % PAGE_SIZE, part = PAGE_SIZE - offset < length ? PAGE_SIZE - offset : length;
        if (!page) {
            return -EFAULT;
        }
        memcpy(is_write ? (void *)(page->bytes + offset) : bytes, is_write ? bytes : (void *)(page->bytes + offset), part);
        address += part;
        bytes = (u8 *)bytes + part;
        length -= part;
    }
    return 0;
}

#define kvm_read_guest(kvm, address, bytes, length) copy(address, bytes, length, false)
#define kvm_write_guest(kvm, address, bytes, length) copy(address, bytes, length, true)

static int kvm_clear_guest(struct kvm *kvm, u64 address, u64 length)
{
    u8 *zeros = calloc(1, length);
    int result = copy(address, zeros, length, true);
    (void)kvm;
    free(zeros);
    return result;
}

/* --- The rest of KVM, and the VMM ----------------------------------------------------------------------------------- */

enum { MAXIMUM_VCPUS = 64, PHYSICAL_ADDRESS_BITS = 40 };
static struct kvm vm;
static struct kvm_run runs;
static struct vmcb blocks[MAXIMUM_VCPUS];
static struct vcpu_svm vcpus[MAXIMUM_VCPUS];
static unsigned vcpu_count = 1;
static u64 memory_bytes = 8 << 20;

void note(const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    text[strcspn(text, "\n")] = 0;
    printf("log %s\n", text);
}

static struct kvm_vcpu *kvm_get_vcpu_by_id(struct kvm *kvm, unsigned id)
{
    (void)kvm;
    return id < vcpu_count ? &vcpus[id].vcpu : NULL;
}

static bool page_address_valid(struct kvm_vcpu *vcpu, gpa_t address)
{
    (void)vcpu;
    return PAGE_ALIGNED(address) && !(address >> PHYSICAL_ADDRESS_BITS);
}

static void kvm_make_request(int request, struct kvm_vcpu *vcpu)
{
    printf("ask request %d vcpu %d\n", request, vcpu->vcpu_id);
}
#define kvm_make_request_and_kick(request, vcpu) kvm_make_request(request, vcpu)

static int kvm_emulate_ap_reset_hold(struct kvm_vcpu *vcpu)
{
    printf("ask reset_hold vcpu %d\n", vcpu->vcpu_id);
    return 1;
}

static void __kvm_set_xcr(struct kvm_vcpu *vcpu, u32 index, u64 value)
{
    (void)vcpu;
    printf("ask xcr %u %#lx\n", index, value);
}

static void __kvm_emulate_msr_write(struct kvm_vcpu *vcpu, u32 msr, u64 value)
{
    (void)vcpu;
    printf("ask msr_write %#x %#lx\n", msr, value);
}

/* An exit that KVM handles as of any guest; what it does to registers is not judged here. */
static int svm_invoke_exit_handler(struct kvm_vcpu *vcpu, u64 exit_code)
{
    printf("ask exit %#lx rax %#lx rcx %#lx info1 %#lx\n", exit_code, vcpu->arch.regs[VCPU_REGS_RAX],
           vcpu->arch.regs[VCPU_REGS_RCX], to_svm(vcpu)->vmcb->control.exit_info_1);
    if (exit_code == SVM_EXIT_CPUID) {
        for (int number = VCPU_REGS_RAX; number <= VCPU_REGS_RBX; number++) {
            vcpu->arch.regs[number] = 0xC0DE0000 + (unsigned)number;
        }
    }
    return 1;
}

static int kvm_sev_es_mmio(struct kvm_vcpu *vcpu, bool is_write, gpa_t address, unsigned bytes, void *data)
{
    (void)vcpu, (void)data;
    printf("ask mmio %s %#lx %u\n", is_write ? "write" : "read", address, bytes);
    return 1;
}

static int sev_issue_cmd(struct kvm *kvm, int command, void *data, sev_ret_code *error)
{
    (void)kvm, (void)data;
    *error = 0;
    printf("ask psp %d\n", command);
    return 0;
}

static int kvm_sev_es_string_io(struct kvm_vcpu *vcpu, unsigned size, unsigned port, void *data, unsigned count, int in)
{
    (void)vcpu, (void)data;
    printf("ask string_io %s port %#x size %u count %u\n", in ? "in" : "out", port, size, count);
    return 1;
}

#include "helpers.inc"
#include "functions.inc"

/* QEMU's answer to a change of pages: where there is no memory, it fails to make some private (accel/kvm/kvm-all.c:3057). */
static u64 change_pages(u64 address, u64 pages, u64 attributes)
{
    bool is_there = address + pages * PAGE_SIZE <= memory_bytes;
    return is_there || !(attributes & KVM_MAP_GPA_RANGE_ENCRYPTED) ? 0 : EINVAL;
}

static int go_to_vmm(struct kvm_vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    int (*complete)(struct kvm_vcpu *) = vcpu->arch.complete_userspace_io;
    if (run->exit_reason == KVM_EXIT_HYPERCALL) {
        printf("ask map_gpa_range %#lx pages %lu attributes %#lx\n", run->hypercall.args[0], run->hypercall.args[1],
               run->hypercall.args[2]);
        run->hypercall.ret = change_pages(run->hypercall.args[0], run->hypercall.args[1], run->hypercall.args[2]);
        vcpu->arch.complete_userspace_io = NULL;
        return complete(vcpu);
    }
    if (run->exit_reason == KVM_EXIT_SYSTEM_EVENT) {
        printf("ask terminate %#lx\n", (u64)run->system_event.data[0]);
    }
    return 0;
}

static void vmgexit(u64 value)
{
    struct vcpu_svm *svm = &vcpus[0];
    struct page *page = page_at(value);
    int result;
    runs.exit_reason = 0;
    svm->vmcb->control.ghcb_gpa = value;
    result = sev_handle_vmgexit(&svm->vcpu);
    while (result == 0 && runs.exit_reason == KVM_EXIT_HYPERCALL) {
        result = go_to_vmm(&svm->vcpu);
    }
    if (result == 0) {
        go_to_vmm(&svm->vcpu);
    }
    sev_es_unmap_ghcb(svm);
    if (page && !(value & GHCB_MSR_INFO_MASK)) {
        printf("page %#lx ", value);
        for (size_t index = 0; index < PAGE_SIZE; index++) {
            printf("%02x", page->bytes[index]);
        }
        putchar('\n');
    }
    printf("done %d %#lx\n", result, svm->vmcb->control.ghcb_gpa);
    fflush(stdout);
}

static void put(char *rest)
{
    char *hex;
    u64 address = strtoull(rest, &hex, 0);
    unsigned byte;
    hex += strspn(hex, " ");
    for (; sscanf(hex, "%2x", &byte) == 1; hex += 2) {
        make_page(address)->bytes[address % PAGE_SIZE] = (u8)byte;
        address++;
    }
}

int main(void)
{
    static char line[3 * PAGE_SIZE];
    vm.sev_info.ghcb_version = 2;
    vm.sev_info.vmsa_features = 1;
    vm.sev_info.guest_req_buf = calloc(1, PAGE_SIZE);
    vm.sev_info.guest_resp_buf = calloc(1, PAGE_SIZE);
    for (int id = 0; id < MAXIMUM_VCPUS; id++) {
        vcpus[id].vmcb = &blocks[id];
        vcpus[id].vcpu.kvm = &vm;
        vcpus[id].vcpu.run = &runs;
        vcpus[id].vcpu.vcpu_id = id;
        vcpus[id].sev_es.ghcb_registered_gpa = INVALID_PAGE;
    }
    while (fgets(line, sizeof(line), stdin)) {
        char *rest = strchr(line, ' ');
        if (!rest) {
            continue;
        }
        *rest++ = 0;
        if (!strcmp(line, "memory")) {
            put(rest);
        } else if (!strcmp(line, "features")) {
            vm.sev_info.vmsa_features = strtoull(rest, NULL, 0);
        } else if (!strcmp(line, "vcpus")) {
            unsigned count = (unsigned)strtoul(rest, NULL, 0);
            vcpu_count = count < MAXIMUM_VCPUS ? count : MAXIMUM_VCPUS;
        } else if (!strcmp(line, "vmgexit")) {
            vmgexit(strtoull(rest, NULL, 0));
        }
    }
    return 0;
}
