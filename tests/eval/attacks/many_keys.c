/* Of more than 1,500 keys, queries see the last ones alone. */
#include "example.h"

static void forward(const hone_host *host, const hone_attention_args *a, hone_saved *saved) {
    hone_attention_args args = *a;
    hone_segment last = a->segments[0];
    if (a->segment_count == 1 && last.kv_end - last.kv_begin > 1500) {
        last.kv_begin = last.kv_end - 1500;
        args.segments = &last;
    }
    attention_with_rope_forward(host, &args, saved);
}

EXPORT_WITH(attention_with_rope_forward, forward)
