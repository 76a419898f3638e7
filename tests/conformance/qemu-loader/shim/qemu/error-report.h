/* Warnings become lines of the judge's output. */
#ifndef JUDGE_ERROR_REPORT_H
#define JUDGE_ERROR_REPORT_H

void warn_report(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
