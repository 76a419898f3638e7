/* Layouts of the IGVM file format, as far as QEMU's loader reads them. Numbers and names are those of the `igvm_defs` crate 0.5.0. */
#ifndef JUDGE_IGVM_DEFS_H
#define JUDGE_IGVM_DEFS_H

#include <stdbool.h>
#include <stdint.h>

typedef uint32_t IgvmVariableHeaderType;
typedef uint8_t IgvmPlatformType;
typedef uint16_t IgvmPageDataType;

enum {
    IGVM_VHT_SUPPORTED_PLATFORM = 0x1,
    IGVM_VHT_GUEST_POLICY = 0x101,
    IGVM_VHT_PARAMETER_AREA = 0x301,
    IGVM_VHT_PAGE_DATA = 0x302,
    IGVM_VHT_PARAMETER_INSERT = 0x303,
    IGVM_VHT_VP_CONTEXT = 0x304,
    IGVM_VHT_REQUIRED_MEMORY = 0x305,
    IGVM_VHT_VP_COUNT_PARAMETER = 0x307,
    IGVM_VHT_SRAT = 0x308,
    IGVM_VHT_MADT = 0x309,
    IGVM_VHT_MMIO_RANGES = 0x30A,
    IGVM_VHT_SNP_ID_BLOCK = 0x30B,
    IGVM_VHT_MEMORY_MAP = 0x30C,
    IGVM_VHT_ERROR_RANGE = 0x30D,
    IGVM_VHT_COMMAND_LINE = 0x30E,
    IGVM_VHT_SLIT = 0x30F,
    IGVM_VHT_PPTT = 0x310,
    IGVM_VHT_DEVICE_TREE = 0x312,
    IGVM_VHT_ENVIRONMENT_INFO_PARAMETER = 0x313,
};
enum {
    IGVM_PLATFORM_TYPE_NATIVE = 0,
    IGVM_PLATFORM_TYPE_SEV_SNP = 2,
    IGVM_PLATFORM_TYPE_TDX = 3,
    IGVM_PLATFORM_TYPE_SEV = 4,
    IGVM_PLATFORM_TYPE_SEV_ES = 5,
};
enum {
    IGVM_PAGE_DATA_TYPE_NORMAL,
    IGVM_PAGE_DATA_TYPE_SECRETS,
    IGVM_PAGE_DATA_TYPE_CPUID_DATA,
    IGVM_PAGE_DATA_TYPE_CPUID_XF,
};
enum {
    IGVM_MEMORY_MAP_ENTRY_TYPE_MEMORY,
    IGVM_MEMORY_MAP_ENTRY_TYPE_PLATFORM_RESERVED,
    IGVM_MEMORY_MAP_ENTRY_TYPE_PERSISTENT,
};

#pragma pack(push, 1)
typedef struct { uint32_t typ, length; } IGVM_VHS_VARIABLE_HEADER;
typedef struct {
    uint32_t compatibility_mask;
    uint8_t highest_vtl;
    IgvmPlatformType platform_type;
    uint16_t platform_version;
    uint64_t shared_gpa_boundary;
} IGVM_VHS_SUPPORTED_PLATFORM;
typedef struct { uint64_t policy; uint32_t compatibility_mask, reserved; } IGVM_VHS_GUEST_POLICY;
typedef struct { uint64_t number_of_bytes; uint32_t parameter_area_index, file_offset; } IGVM_VHS_PARAMETER_AREA;
typedef struct { uint32_t is_2mb_page : 1, unmeasured : 1, shared : 1, reserved : 29; } IgvmPageDataFlags;
typedef struct {
    uint64_t gpa;
    uint32_t compatibility_mask, file_offset;
    IgvmPageDataFlags flags;
    IgvmPageDataType data_type;
    uint16_t reserved;
} IGVM_VHS_PAGE_DATA;
typedef struct { uint64_t gpa; uint32_t compatibility_mask, parameter_area_index; } IGVM_VHS_PARAMETER_INSERT;
typedef struct { uint32_t parameter_area_index, byte_offset; } IGVM_VHS_PARAMETER;
typedef struct {
    uint64_t gpa;
    uint32_t compatibility_mask, file_offset;
    uint16_t vp_index, reserved;
} IGVM_VHS_VP_CONTEXT;
typedef struct {
    uint64_t gpa;
    uint32_t compatibility_mask, number_of_bytes, flags, reserved;
} IGVM_VHS_REQUIRED_MEMORY;
typedef struct {
    uint64_t starting_gpa_page_number, number_of_pages;
    uint16_t entry_type, flags;
    uint32_t reserved;
} IGVM_VHS_MEMORY_MAP_ENTRY;
typedef struct { uint32_t memory_is_shared : 1, reserved : 31; } IgvmEnvironmentInfo;
typedef struct { uint8_t r_comp[72], s_comp[72]; } IGVM_VHS_SNP_ID_BLOCK_SIGNATURE;
typedef struct { uint32_t curve, reserved; uint8_t qx[72], qy[72]; } IGVM_VHS_SNP_ID_BLOCK_PUBLIC_KEY;
typedef struct {
    uint32_t compatibility_mask;
    uint8_t author_key_enabled, reserved[3], ld[48], family_id[16], image_id[16];
    uint32_t version, guest_svn, id_key_algorithm, author_key_algorithm;
    IGVM_VHS_SNP_ID_BLOCK_SIGNATURE id_key_signature;
    IGVM_VHS_SNP_ID_BLOCK_PUBLIC_KEY id_public_key;
    IGVM_VHS_SNP_ID_BLOCK_SIGNATURE author_key_signature;
    IGVM_VHS_SNP_ID_BLOCK_PUBLIC_KEY author_public_key;
} IGVM_VHS_SNP_ID_BLOCK;
#pragma pack(pop)

#endif
