/* A machine is what it is launched with. */
#ifndef JUDGE_BOARDS_H
#define JUDGE_BOARDS_H

#include "qom/object.h"

struct MachineState { struct ConfidentialGuestSupport *cgs; };
extern struct MachineState the_machine;
#define qdev_get_machine() (&the_machine)
#define MACHINE(object) (object)

#endif
