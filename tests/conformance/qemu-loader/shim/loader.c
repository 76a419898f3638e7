/* loader FILE MEMORY_MIB PROCESSORS SEV_FEATURES: what QEMU's IGVM loader and the SNP half of its sev.c do with a file.
 *
 * Their code is not here: `judge.py` takes igvm.c as it is, and cuts functions out of sev.c into sev_parts.inc. This is the rest
 * of the machine around them. Lines on stdout: `error TEXT`, `warning TEXT`, `required ADDRESS BYTES`, `policy VALUE`,
 * `id_block HEX`, `vmsa PROCESSOR ADDRESS HEX`, `page TYPE ADDRESS HEX` in the order of LAUNCH_UPDATE, and `result NUMBER`.
 */
#include "qemu/osdep.h"

#include <stdarg.h>
#include <sys/mman.h>

#include "hw/core/boards.h"
#include "hw/core/cpu.h"
#include "hw/i386/acpi-build.h"
#include "hw/i386/e820_memory_layout.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/queue.h"
#include "system/confidential-guest-support.h"
#include "system/memory.h"
#include <igvm/igvm.h>
#include "system/igvm-cfg.h"
#include "system/igvm.h"
#ifdef HAVE_INTERNAL_HEADER
#include "system/igvm-internal.h"
#endif

enum { PAGE = 4096 };

/* --- glib and errors ------------------------------------------------------------------------------------------------ */

void *zeroed(size_t bytes)
{
    void *memory = calloc(1, bytes ? bytes : 1);
    if (!memory) {
        abort();
    }
    return memory;
}

void free_whatever(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}

char *formatted(const char *format, ...)
{
    char *text = zeroed(256);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, 256, format, arguments);
    va_end(arguments);
    return text;
}

bool g_file_get_contents(const char *filename, gchar **contents, unsigned long *length, GError **error)
{
    FILE *file = fopen(filename, "rb");
    if (!file) {
        *error = zeroed(sizeof(**error));
        snprintf((*error)->message, sizeof((*error)->message), "cannot open it");
        return false;
    }
    fseek(file, 0, SEEK_END);
    *length = (unsigned long)ftell(file);
    rewind(file);
    *contents = zeroed(*length);
    *length = fread(*contents, 1, *length, file);
    fclose(file);
    return true;
}

static void say(const char *what, const char *format, va_list arguments)
{
    printf("%s ", what);
    vprintf(format, arguments);
    putchar('\n');
}

void refuse(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say("error", format, arguments);
    va_end(arguments);
}

void warn_report(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say("warning", format, arguments);
    va_end(arguments);
}

/* --- The machine ---------------------------------------------------------------------------------------------------- */

static ConfidentialGuestSupportClass guest_class;
void *the_class = &guest_class;
static ConfidentialGuestSupport guest_support = { .require_guest_memfd = true };
struct MachineState the_machine = { .cgs = &guest_support };

static struct MemoryRegion *regions;
struct CPUState *first_processor;
static struct e820_entry memory_map[4];
static int memory_map_rows;
static unsigned processors;

bool make_ram(struct MemoryRegion *region, uint64_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        refuse("no memory for %#" PRIx64 " bytes", bytes);
        return false;
    }
    region->ram_block = zeroed(sizeof(*region->ram_block));
    region->ram_block->host = memory;
    region->bytes = bytes;
    return true;
}

void memory_region_add_subregion(struct MemoryRegion *root, hwaddr address, struct MemoryRegion *region)
{
    (void)root;
    region->start = address;
    region->next = regions;
    regions = region;
}

/* The first region that the range meets; what lies before the region is not part of the section. */
struct MemoryRegionSection memory_region_find(struct MemoryRegion *root, hwaddr address, uint64_t bytes)
{
    struct MemoryRegionSection found = { 0 };
    (void)root;
    for (struct MemoryRegion *region = regions; region; region = region->next) {
        if (address < region->start + region->bytes && region->start < address + bytes) {
            hwaddr start = address > region->start ? address : region->start;
            hwaddr end = region->start + region->bytes < address + bytes ? region->start + region->bytes : address + bytes;
            found.mr = region;
            found.offset_within_region = start - region->start;
            found.size = int128_make64(end - start);
            break;
        }
    }
    return found;
}

static void add_ram(hwaddr address, uint64_t bytes)
{
    struct MemoryRegion *region = zeroed(sizeof(*region));
    if (bytes && make_ram(region, bytes)) {
        memory_region_add_subregion(NULL, address, region);
        memory_map[memory_map_rows++] = (struct e820_entry){ address, bytes, E820_RAM };
    }
}

/* The rows of a q35 machine for an AMD processor of 40 bits or more: hw/i386/pc.c and target/i386/kvm/kvm.c. */
static void build_machine(uint64_t memory_bytes)
{
    const uint64_t all_low = 0xB0000000, low_end = 0x80000000;
    uint64_t low = memory_bytes < all_low ? memory_bytes : low_end;
    add_ram(0, low);
    memory_map[memory_map_rows++] = (struct e820_entry){ 0xFEFFC000, 0x4000, E820_RESERVED };
    add_ram(0x100000000, memory_bytes - low);
    memory_map[memory_map_rows++] = (struct e820_entry){ 0xFD00000000, 0x300000000, E820_RESERVED };
    for (unsigned index = 0; index < processors; index++) {
        struct CPUState *processor = zeroed(sizeof(*processor));
        processor->next = first_processor;
        first_processor = processor;
    }
}

int e820_get_table(struct e820_entry **table)
{
    *table = memory_map;
    return memory_map_rows;
}

struct CPUState *qemu_get_cpu(int index)
{
    struct CPUState *processor = first_processor;
    while (processor && index-- > 0) {
        processor = processor->next;
    }
    return processor;
}

/* A MADT of the length that QEMU's has: its bytes are not judged here. */
GArray *acpi_build_madt_standalone(struct MachineState *machine)
{
    const unsigned header = 44, local = 8, io_apic = 12, overrides = 5 * 10, nmi = 6;
    GArray *madt = zeroed(sizeof(*madt));
    (void)machine;
    madt->len = header + processors * local + io_apic + overrides + nmi;
    madt->data = zeroed(madt->len);
    memcpy(madt->data, "APIC", 4);
    memcpy(madt->data + 4, &madt->len, 4);
    madt->data[8] = 3;
    return madt;
}

/* Pages of an area that becomes private lose what the shared side held, and the launch reads that side. */
static int kvm_convert_memory(hwaddr address, uint64_t bytes, bool to_private)
{
    struct MemoryRegionSection section = memory_region_find(NULL, address, bytes);
    if (!section.mr || !to_private) {
        return -1;
    }
    printf("required %#" PRIx64 " %#" PRIx64 "\n", address, bytes);
    madvise(section.mr->ram_block->host + section.offset_within_region, bytes, MADV_DONTNEED);
    return 0;
}

/* --- What sev.c is built around ------------------------------------------------------------------------------------- */

enum {
    KVM_SEV_SNP_PAGE_TYPE_NORMAL = 1,
    KVM_SEV_SNP_PAGE_TYPE_ZERO = 3,
    KVM_SEV_SNP_PAGE_TYPE_UNMEASURED = 4,
    KVM_SEV_SNP_PAGE_TYPE_SECRETS = 5,
    KVM_SEV_SNP_PAGE_TYPE_CPUID = 6,
};
enum { KVM_SEV_SNP_ID_BLOCK_SIZE = 96, KVM_SEV_SNP_ID_AUTH_SIZE = 4096 };
typedef uint64_t __u64;
typedef enum { SEV_STATE_UNINIT, SEV_STATE_LAUNCH_UPDATE } SevState;
#define sev_enabled() true
#define sev_es_enabled() true
#define sev_snp_enabled() true

#include "sev_types.inc"

OBJECT_DECLARE_TYPE(SevCommonState, SevCommonStateClass, SEV_COMMON)
OBJECT_DECLARE_TYPE(SevGuestState, SevGuestStateClass, SEV_GUEST)
OBJECT_DECLARE_TYPE(SevSnpGuestState, SevSnpGuestStateClass, SEV_SNP_GUEST)

struct SevCommonState {
    SevState state;
    uint64_t sev_features, supported_sev_features;
    QTAILQ_HEAD(, SevLaunchVmsa) launch_vmsa;
};
struct SevCommonStateClass {
    int (*launch_update_data)(SevCommonState *sev_common, hwaddr gpa, uint8_t *ptr, size_t len, Error **errp);
};
struct SevGuestState { uint32_t policy; };
struct sev_snp_id_authentication {
    uint32_t id_key_alg, author_key_algorithm;
    uint8_t reserved[56], id_block_sig[512], id_key[1028], reserved2[60], id_key_sig[512], author_key[1028], reserved3[892];
};
struct kvm_sev_snp_launch_start { uint64_t policy; };
struct kvm_sev_snp_launch_finish { uint64_t id_block_uaddr, id_auth_uaddr; uint8_t id_block_en, auth_key_en; };
struct SevSnpGuestState {
    uint8_t *id_block, *id_auth;
    struct kvm_sev_snp_launch_start kvm_start_conf;
    struct kvm_sev_snp_launch_finish kvm_finish_conf;
};

static SevCommonState common;
static SevGuestState older_guest;
static SevSnpGuestState snp_guest;
static SevCommonStateClass common_class;
static QTAILQ_HEAD(, SevLaunchUpdateData) launch_update;

#undef SEV_COMMON
#define SEV_COMMON(object) (&common)
#define SEV_GUEST(object) (&older_guest)
#define SEV_SNP_GUEST(object) (&snp_guest)
#define SEV_COMMON_GET_CLASS(object) (&common_class)

static int snp_launch_update_data(uint64_t gpa, void *hva, size_t len, int type, Error **errp);

/* QEMU fills the page from KVM's table and queues it. */
static int snp_launch_update_cpuid(uint32_t address, void *memory, size_t bytes, Error **errp)
{
    return snp_launch_update_data(address, memory, bytes, KVM_SEV_SNP_PAGE_TYPE_CPUID, errp);
}

static void sev_apply_cpu_context(struct CPUState *processor)
{
    (void)processor;
}

#include "sev_parts.inc"

/* --- The launch ----------------------------------------------------------------------------------------------------- */

static void print_hex(const void *memory, size_t bytes)
{
    const unsigned char *byte = memory;
    for (size_t index = 0; index < bytes; index++) {
        printf("%02x", byte[index]);
    }
    putchar('\n');
}

static void print_launch(void)
{
    SevLaunchUpdateData *data;
    SevLaunchVmsa *context;
    printf("policy %#" PRIx64 "\n", (uint64_t)snp_guest.kvm_start_conf.policy);
    if (snp_guest.kvm_finish_conf.id_block_en) {
        printf("id_block ");
        print_hex((void *)snp_guest.kvm_finish_conf.id_block_uaddr, KVM_SEV_SNP_ID_BLOCK_SIZE);
    }
    QTAILQ_FOREACH(data, &launch_update, next) {
        for (size_t offset = 0; offset < data->len; offset += PAGE) {
            printf("page %d %#" PRIx64 " ", data->type, (uint64_t)data->gpa + offset);
            print_hex((uint8_t *)data->hva + offset, PAGE);
        }
    }
    QTAILQ_FOREACH(context, &common.launch_vmsa, next) {
        printf("vmsa %u %#" PRIx64 " ", context->cpu_index, (uint64_t)context->gpa);
        print_hex(&context->vmsa, sizeof(context->vmsa));
    }
}

static int process(char *filename)
{
    IgvmCfg configuration = { .filename = filename };
    int result;
#ifdef HAVE_INTERNAL_HEADER
    configuration.file = qigvm_file_init(filename, NULL);
    if (configuration.file < 0) {
        return -1;
    }
#define GUEST (&the_machine)
#else
#define GUEST (&guest_support)
#endif
    common.state = SEV_STATE_UNINIT;
    result = qigvm_process_file(&configuration, GUEST, true, NULL);
    if (result < 0) {
        return result;
    }
    common.state = SEV_STATE_LAUNCH_UPDATE;
    return qigvm_process_file(&configuration, GUEST, false, NULL);
}

int main(int count, char **arguments)
{
    int result;
    if (count != 5) {
        fprintf(stderr, "usage: loader FILE MEMORY_MIB PROCESSORS SEV_FEATURES\n");
        return 2;
    }
    processors = (unsigned)strtoul(arguments[3], NULL, 0);
    common.supported_sev_features = strtoull(arguments[4], NULL, 0);
    build_machine(strtoull(arguments[2], NULL, 0) << 20);
    QTAILQ_INIT(&launch_update);
    QTAILQ_INIT(&common.launch_vmsa);
    common_class.launch_update_data = sev_snp_launch_update_data;
    guest_class.check_support = cgs_check_support;
    guest_class.set_guest_state = cgs_set_guest_state;
    guest_class.get_mem_map_entry = cgs_get_mem_map_entry;
    guest_class.set_guest_policy = cgs_set_guest_policy;
    result = process(arguments[1]);
    if (result == 0) {
        print_launch();
    }
    printf("result %d\n", result);
    return 0;
}
