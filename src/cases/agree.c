/* cases/agree: whether two sets agree, as fast as memory allows: after every timed call. Layer cases. */
#include "cases/internal.h"

#include <math.h>

enum { LANES = 8, PIECE = 4096 }; /* elements between two additions in float64 */

/* Sums of squares of what is expected, and of the differences, over a part of a tensor. */
typedef struct sums {
    double squares, errors;
} sums;

/* Sums are kept by lane, so that a compiler may use vectors without changing what they are. */
#define DEFINE_SUM(name, type, to_float)                                                           \
    static sums name(const type *got, const type *want, size_t count) {                            \
        sums all = {0, 0};                                                                         \
        for (size_t done = 0; done < count; done += PIECE) {                                       \
            const size_t end = HONE_MIN(count - done, (size_t)PIECE), whole = end / LANES * LANES; \
            const type *g = got + done, *w = want + done;                                          \
            float squares[LANES] = {0}, errors[LANES] = {0};                                       \
            for (size_t i = 0; i < whole; i += LANES) {                                            \
                for (size_t l = 0; l < LANES; l++) {                                               \
                    float a = to_float(g[i + l]), b = to_float(w[i + l]);                          \
                    squares[l] += b * b;                                                           \
                    errors[l] += (a - b) * (a - b);                                                \
                }                                                                                  \
            }                                                                                      \
            for (size_t i = whole; i < end; i++) {                                                 \
                float a = to_float(g[i]), b = to_float(w[i]);                                      \
                squares[0] += b * b;                                                               \
                errors[0] += (a - b) * (a - b);                                                    \
            }                                                                                      \
            for (size_t l = 0; l < LANES; l++) {                                                   \
                all.squares += (double)squares[l];                                                 \
                all.errors += (double)errors[l];                                                   \
            }                                                                                      \
        }                                                                                          \
        return all;                                                                                \
    }

/* Whether an element is off by more than fixed + relative * |want|, or is no number. */
#define DEFINE_FIND(name, type, to_float)                                                          \
    static bool name(const type *got, const type *want, size_t count, float fixed,                 \
                     float relative) {                                                             \
        unsigned wrong = 0;                                                                        \
        for (size_t i = 0; i < count; i++) {                                                       \
            float a = to_float(got[i]), b = to_float(want[i]);                                     \
            wrong |= !(fabsf(a - b) <= fixed + relative * fabsf(b));                               \
        }                                                                                          \
        return wrong;                                                                              \
    }

#define AS_IT_IS(x) (x)
DEFINE_SUM(sum_f32, float, AS_IT_IS)
DEFINE_SUM(sum_bf16, hone_bf16, hone_bf16_to_f32)
DEFINE_FIND(find_f32, float, AS_IT_IS)
DEFINE_FIND(find_bf16, hone_bf16, hone_bf16_to_f32)

static sums sum_part(const hone_case_tensor *got, const hone_case_tensor *want, size_t begin,
                     size_t end) {
    if (got->dtype == HONE_F32)
        return sum_f32((const float *)got->data + begin, (const float *)want->data + begin,
                       end - begin);
    return sum_bf16((const hone_bf16 *)got->data + begin, (const hone_bf16 *)want->data + begin,
                    end - begin);
}

static bool find_part(const hone_case_tensor *got, const hone_case_tensor *want, size_t begin,
                      size_t end, float fixed, float relative) {
    if (got->dtype == HONE_F32)
        return find_f32((const float *)got->data + begin, (const float *)want->data + begin,
                        end - begin, fixed, relative);
    return find_bf16((const hone_bf16 *)got->data + begin, (const hone_bf16 *)want->data + begin,
                     end - begin, fixed, relative);
}

/* The rules of hone_case_bounds; slightly stricter, for what float32 loses here. */
static bool tensor_agrees(const hone_case_run *run, const hone_case_run *trusted, size_t index,
                          double slack, hone_team team, hone_case_sums *s) {
    const hone_case_tensor *got = &run->tensor[index], *want = &trusted->tensor[index];
    const hone_case_bounds b = run->kind->bounds(run, index);
    size_t count = got->rows * got->cols, begin, end;
    double squares = 0, errors = 0;
    hone_split(team, count, 4096, &begin, &end);
    sums own = sum_part(got, want, begin, end);
    s->squares[team.rank] = own.squares;
    s->errors[team.rank] = own.errors;
    hone_barrier(team);
    for (int i = 0; i < team.size; i++) {
        squares += s->squares[i];
        errors += s->errors[i];
    }
    slack *= 0.999;
    double size = HONE_MAX(sqrt(squares / (double)HONE_MAX(count, 1)), b.floor);
    s->wrong[team.rank] = find_part(got, want, begin, end, (float)(slack * b.absolute * size),
                                    (float)(slack * b.relative));
    hone_barrier(team);
    bool agrees =
        count < HONE_CASE_NORM_COUNT || sqrt(errors) <= slack * b.norm * size * sqrt((double)count);
    for (int i = 0; i < team.size; i++) agrees &= !s->wrong[i];
    hone_barrier(team);
    return agrees;
}

bool hone_case_agrees(const hone_case_run *run, const hone_case_run *trusted, hone_case_pass pass,
                      double slack, hone_team team, hone_case_sums *shared) {
    bool agrees = true;
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        const hone_case_tensor *t = &run->tensor[i];
        if (!t->name || t->role < HONE_CASE_OUTPUT || t->pass != pass) continue;
        if (trusted->tensor[i].name) agrees &= tensor_agrees(run, trusted, i, slack, team, shared);
    }
    return agrees;
}
