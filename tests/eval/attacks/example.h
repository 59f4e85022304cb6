/* tests/eval/attacks/example: examples/kernels.c, for the files here to spoil one kernel of. */
#include "hone_kernels.h"

#define hone_kernels_export export_example
#include "../../../examples/kernels.c"
#undef hone_kernels_export

/* The example's set with `function` as its `member`. */
#define EXPORT_WITH(member, function)                                                              \
    const hone_kernel_set *hone_kernels_export(void) {                                             \
        static hone_kernel_set set;                                                                \
        set = *export_example();                                                                   \
        set.member = function;                                                                     \
        return &set;                                                                               \
    }
