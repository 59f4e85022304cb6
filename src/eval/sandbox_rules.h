/* eval/sandbox_rules: Landlock, by its system calls. Layer eval; used by eval/sandbox alone. */
#ifndef HONE_EVAL_SANDBOX_RULES_H
#define HONE_EVAL_SANDBOX_RULES_H

#include "base/status.h"

/* Which version of Landlock this kernel has; 0: none. */
int hone_rules_version(void);

/* A set of rules, a close-on-exec descriptor that the caller owns: reading and executing below `readable` (ended by
 * NULL; may be NULL), what programs need of the system if wanted, `program` (a descriptor), and changing below
 * `writable` (may be NULL). Everything else is denied: TCP, abstract sockets and signals outwards where this version
 * can. */
hone_status hone_rules_make(const char *const *readable, bool system, const char *writable,
                            int program, int *ruleset, hone_error *err);

/* ---- for the child: system calls alone, false with errno ---- */

typedef enum hone_rules_kind {
    HONE_RULES_READ,
    HONE_RULES_EXECUTE,
    HONE_RULES_WRITE
} hone_rules_kind;

/* One more rule, for a file or folder that is open. */
bool hone_rules_add_fd(int ruleset, int fd, hone_rules_kind kind);

/* Applies the rules to this process. */
bool hone_rules_apply(int ruleset);

/* Whether this kernel can filter system calls. */
bool hone_sandbox_has_seccomp(void);

#endif
