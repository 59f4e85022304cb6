/* eval/workshop: the folder that an evaluation works in, and what foreign kernels may see of the system from there.
 * Layer eval. */
#ifndef HONE_EVAL_WORKSHOP_H
#define HONE_EVAL_WORKSHOP_H

#include "eval/report.h"
#include "eval/sandbox.h"

/* The folder that an evaluation works in, and what is in it. All zeros before it is opened. */
typedef struct hone_workshop {
    char *folder; /* below $TMPDIR, this user's alone; removed at the end */
    int lock; /* descriptor; who finds a folder that nobody has locked knows that its evaluation was killed */
    char *object; /* the compiled kernels; NULL: the candidate is built in, or did not compile */
    /* Of the model that is trained and of the data, absolute, since a box has a folder of its own; and where the files
     * of a hub's folder are that are links in it, or NULL. */
    char *model, *data, *blobs;
    char *rows; /* the file of the data that is trained with: all of it that a box may read */
    const char *readable[8];  /* of `box`, NULL at its end */
    const char *env[8];       /* likewise */
    char *variables[8];       /* owned; what env points to */
    hone_sandbox_options box; /* for trainings with foreign kernels */
} hone_workshop;

/* Makes the folder; those that killed evaluations of this user left are removed. */
hone_status hone_workshop_open(hone_workshop *workshop, hone_error *err);

/* An empty folder in it, whose name is to be freed. */
hone_status hone_workshop_folder(const hone_workshop *workshop, const char *name, char **out,
                                 hone_error *err);

/* Removes the folder, whatever is in it, and frees the rest. */
void hone_workshop_close(hone_workshop *workshop);

/* Paths and box for the trainings of a model. */
hone_status hone_workshop_set_model(hone_workshop *workshop, const hone_eval_options *options,
                                    const hone_eval_report *report, const char *model,
                                    hone_error *err);

#endif
