/* The loader's private structure holds one of these. */
#ifndef JUDGE_RESETTABLE_H
#define JUDGE_RESETTABLE_H

typedef struct ResettableState { int unused; } ResettableState;

#endif
