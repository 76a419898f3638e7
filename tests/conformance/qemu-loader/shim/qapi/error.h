/* Errors become lines of the judge's output. */
#ifndef JUDGE_ERROR_H
#define JUDGE_ERROR_H

typedef struct Error Error;
void refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define error_setg(errp, ...) ((void)(errp), refuse(__VA_ARGS__))
#define ERRP_GUARD() ((void)0)

#endif
