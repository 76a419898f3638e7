/* Objects without a type system: there is one of each class, and a cast is a cast. */
#ifndef JUDGE_OBJECT_H
#define JUDGE_OBJECT_H

#include "qemu/osdep.h"
#include "qemu/typedefs.h"

struct Object { int unused; };
struct ObjectClass { int unused; };

extern void *the_class;
#define OBJECT_DECLARE_TYPE(Instance, Class, NAME) \
    typedef struct Instance Instance; \
    typedef struct Class Class; \
    static inline __attribute__((unused)) Class *NAME##_GET_CLASS(void *object) { (void)object; return the_class; } \
    static inline __attribute__((unused)) Instance *NAME(void *object) { return object; }

#endif
