/* train/rows: a .jsonl file as rows. The file is mapped and its lines are found at once; a row is read and parsed when
 * asked for. It is read and not looked at where it is mapped: how much around it would become resident is the kernel's
 * choice, 64 KiB or 2 MiB a row, and no plan could know. */
#ifndef HONE_TRAIN_ROWS_H
#define HONE_TRAIN_ROWS_H

#include "base/file.h"
#include "base/json.h"

enum { HONE_ROW_LIMIT = 16 << 20 };    /* bytes of one line */
enum { HONE_ROWS_RESIDENT = 4 << 20 }; /* bytes of text that a walk over all rows keeps in memory */

typedef struct hone_rows {
    hone_file_map map;
    int fd;        /* of the same file */
    size_t *begin; /* [count] where the lines start that are not blank */
    size_t count;
} hone_rows;

/* What a row holds, in mlx-lm's order of precedence. */
typedef enum hone_row_kind {
    HONE_ROW_COMPLETION, /* {"prompt": text, "completion": text} */
    HONE_ROW_MESSAGES,   /* {"messages": [{"role", "content"}, ...], "tools": [...]} */
    HONE_ROW_TEXT        /* {"text": text} */
} hone_row_kind;

/* Opens the file and checks that it has rows, each of at most HONE_ROW_LIMIT bytes. */
hone_status hone_rows_open(hone_rows *rows, const char *path, hone_error *err);
void hone_rows_close(hone_rows *rows);

/* Row `index`, parsed and checked to be of one of the kinds. *row is a new reference. Errors name file and line. */
hone_status hone_rows_read(const hone_rows *rows, size_t index, json_t **row, hone_row_kind *kind,
                           hone_error *err);

/* Puts "FILE: line N: " before the message in *err; returns its status. */
hone_status hone_rows_fail(const hone_rows *rows, size_t index, hone_error *err);

#endif
