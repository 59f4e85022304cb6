/* eval/text: the report's lines, in the order in which things become known. Layer eval. */
#ifndef HONE_EVAL_TEXT_H
#define HONE_EVAL_TEXT_H

#include "eval/score.h"

/* Where lines go. */
typedef struct hone_text {
    bool plain; /* ASCII alone */
    bool (*on_line)(void *user, const char *line);
    void *user;
    bool stopped; /* a line was answered with false */
} hone_text;

/* One line. In plain mode its symbols become ASCII. */
void hone_text_line(hone_text *text, const char *format, ...) HONE_PRINTF(2, 3);

void hone_text_start(hone_text *text, const hone_eval_report *report);
void hone_text_micro_start(hone_text *text);
/* One kernel, HONE_PASS_FORWARD or HONE_PASS_BACKWARD, all its rows. */
void hone_text_kernel(hone_text *text, const hone_eval_report *report, int kernel, int pass);
void hone_text_micro_end(hone_text *text, const hone_eval_report *report);
void hone_text_macro_start(hone_text *text);
void hone_text_step(hone_text *text, bool naive, int step, int steps, double loss, double seconds);
/* What came of one model in one precision. */
void hone_text_macro_row(hone_text *text, const hone_macro_row *row);
void hone_text_macro_end(hone_text *text, const hone_eval_report *report);
void hone_text_final(hone_text *text, const hone_eval_report *report);

/* The same line with every known symbol as ASCII and any other foreign byte as '?'. `out` holds `size` bytes. */
void hone_text_plain(const char *line, char *out, size_t size);

#endif
