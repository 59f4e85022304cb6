/* ops/plugin: a set of operations from a shared object that exports include/hone_kernels.h. Layer ops.
 *
 * The object's code runs in this process and may do whatever the process may: who loads what a stranger wrote confines
 * the process before. Nothing of the set is read after hone_plugin_open has returned: it keeps a copy. */
#ifndef HONE_OPS_PLUGIN_H
#define HONE_OPS_PLUGIN_H

#include "ops/ops.h"

typedef struct hone_plugin hone_plugin;

/* Loads the object at `path` (a path, never searched for). HONE_ERR_FORMAT when it is none, exports no set, one of
 * another version, or half of an operation. *out is the caller's. */
hone_status hone_plugin_open(const char *path, hone_plugin **out, hone_error *err);

/* Unloads it: its set must not run any more. NULL is fine. */
void hone_plugin_close(hone_plugin **plugin);

/* The set: what the object leaves out comes from hone_ops_fused. Lives as long as the plugin. */
const hone_op_set *hone_plugin_ops(const hone_plugin *plugin);

/* Whether the object implements this operation itself. */
bool hone_plugin_has(const hone_plugin *plugin, hone_op op);

/* Whether a kernel came back with another rounding mode or other flush flags than it was called with: whatever it
 * computed is not to be used. The mode was put back each time. */
bool hone_plugin_changed_mode(const hone_plugin *plugin);

#endif
