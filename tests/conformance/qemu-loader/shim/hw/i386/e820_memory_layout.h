/* The memory map, by the types of ACPI's e820. */
#ifndef JUDGE_E820_H
#define JUDGE_E820_H

#include <stdint.h>

enum { E820_RAM = 1, E820_RESERVED, E820_ACPI, E820_NVS, E820_UNUSABLE };
struct e820_entry { uint64_t address, length; uint32_t type; };
int e820_get_table(struct e820_entry **table);

#endif
