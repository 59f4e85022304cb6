/* eval/lines: the report's lines, in the order in which things become known. Layer eval. */
#ifndef HONE_EVAL_LINES_H
#define HONE_EVAL_LINES_H

#include "eval/score.h"

/* Where lines go. */
typedef struct hone_lines {
    bool plain; /* ASCII alone */
    bool (*on_line)(void *user, const char *line);
    void *user;
    bool stopped; /* a line was answered with false */
} hone_lines;

/* One line. In plain mode its symbols become ASCII. */
void hone_lines_line(hone_lines *text, const char *format, ...) HONE_PRINTF(2, 3);

void hone_lines_start(hone_lines *text, const hone_eval_report *report);
void hone_lines_micro_start(hone_lines *text);
/* One kernel, HONE_PASS_FORWARD or HONE_PASS_BACKWARD, all its rows. */
void hone_lines_kernel(hone_lines *text, const hone_eval_report *report, int kernel, int pass);
void hone_lines_micro_end(hone_lines *text, const hone_eval_report *report);
void hone_lines_macro_start(hone_lines *text);
/* The last step of a training. */
void hone_lines_step(hone_lines *text, const hone_eval_report *report,
                     const hone_training *training);
/* What came of one model in one precision. */
void hone_lines_macro_row(hone_lines *text, const hone_macro_row *row);
void hone_lines_macro_end(hone_lines *text, const hone_eval_report *report);
void hone_lines_final(hone_lines *text, const hone_eval_report *report);

/* The same line with every known symbol as ASCII and any other foreign byte as '?'. `out` holds `size` bytes. */
void hone_lines_plain(const char *line, char *out, size_t size);

#endif
