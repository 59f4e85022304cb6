/* ops/set: the sets that are built in, by name. */
#include "ops/ops.h"

const char *const hone_op_names[HONE_OP_COUNT] = {
#define NAME(name, type) #name,
    HONE_OPS(NAME)
#undef NAME
};

const hone_op_set *hone_op_set_find(const char *name) {
    const hone_op_set *const sets[] = {&hone_ops_naive, &hone_ops_fused};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        if (strcmp(sets[i]->name, name) == 0) return sets[i];
    }
    return NULL;
}
