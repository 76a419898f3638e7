/* The C interface of the `igvm` crate 0.5.0 (feature igvm-c), as far as QEMU's loader calls it. */
#ifndef JUDGE_IGVM_H
#define JUDGE_IGVM_H

#include <stdint.h>

#include "igvm_defs.h"

typedef int32_t IgvmHandle;

enum { IGVM_HEADER_SECTION_PLATFORM, IGVM_HEADER_SECTION_INITIALIZATION, IGVM_HEADER_SECTION_DIRECTIVE };
enum { IGVMAPI_NO_DATA = -2 };

IgvmHandle igvm_new_from_binary(const uint8_t *data, uint32_t bytes);
void igvm_free(IgvmHandle file);
int32_t igvm_header_count(IgvmHandle file, uint32_t section);
int32_t igvm_get_header_type(IgvmHandle file, uint32_t section, uint32_t index);
IgvmHandle igvm_get_header(IgvmHandle file, uint32_t section, uint32_t index);
IgvmHandle igvm_get_header_data(IgvmHandle file, uint32_t section, uint32_t index);
const uint8_t *igvm_get_buffer(IgvmHandle file, IgvmHandle buffer);
int32_t igvm_get_buffer_size(IgvmHandle file, IgvmHandle buffer);
void igvm_free_buffer(IgvmHandle file, IgvmHandle buffer);

#endif
