/* The MADT comes from the judge. */
#ifndef JUDGE_ACPI_BUILD_H
#define JUDGE_ACPI_BUILD_H

#include "hw/core/boards.h"

GArray *acpi_build_madt_standalone(struct MachineState *machine);

#endif
