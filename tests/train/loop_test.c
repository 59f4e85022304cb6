/* tests of hone_train: events, files, stopping, going on from an adapter, and what it refuses. */
#define _GNU_SOURCE 1
#include "help.h"

#include <jansson.h>
#include <math.h>
#include <sys/stat.h>

/* What a training told. */
typedef struct journal {
    hone_train_event_kind kinds[256];
    double losses[256]; /* of steps */
    size_t count, steps, saves, validations, tests;
    double last_validation, first_validation, test;
    int batch, failed_saves;
    int before, stop_before, stop_after; /* 0: never */
    hone_train_event start, last;
} journal;

static bool on_event(void *user, const hone_train_event *event) {
    journal *l = user;
    if (event->kind == HONE_TRAIN_VALIDATING || event->kind == HONE_TRAIN_TESTING) {
        l->batch = event->batch == 1 ? 1 : l->batch + 1;
        assert_int_equal(event->batch, l->batch);
        assert_true(event->batches == 0 || event->batches >= event->batch);
        return true;
    }
    l->kinds[l->count++ % 256] = event->kind;
    l->last = *event;
    switch (event->kind) {
    case HONE_TRAIN_START:
        l->start = *event;
        break;
    case HONE_TRAIN_STEP:
        l->losses[l->steps++ % 256] = event->loss;
        assert_int_equal(event->iter, l->steps);
        assert_true(event->grad_norm > 0 && event->seconds > 0 && event->tokens > 0);
        return !l->stop_after || event->iter < l->stop_after;
    case HONE_TRAIN_VALIDATION:
        if (l->validations++ == 0) l->first_validation = event->loss;
        l->last_validation = event->loss;
        break;
    case HONE_TRAIN_TEST:
        l->tests++;
        l->test = event->loss;
        break;
    case HONE_TRAIN_SAVED:
        l->saves++;
        break;
    case HONE_TRAIN_SAVE_FAILED:
        assert_true(strlen(event->problem) > 0);
        l->failed_saves++;
        break;
    case HONE_TRAIN_VALIDATING:
    case HONE_TRAIN_TESTING:
        break;
    }
    return true;
}

static bool before_step(void *user, int iter) {
    journal *l = user;
    assert_int_equal(iter, l->steps + 1);
    l->before++;
    return !l->stop_before || iter < l->stop_before;
}

static void write_data(folder *f) {
    char text[8192] = "";
    for (int i = 0; i < 40; i++)
        sprintf(text + strlen(text), "{\"text\": \"the %c of a %c is the %c that it has\"}\n",
                'a' + i % 5, 'k' + i % 3, 'r' + i % 4);
    put(f, "train.jsonl", text);
    put(f, "valid.jsonl",
        "{\"text\": \"the a of a k is the r that it has\"}\n{\"text\": \"the c of a m is the t "
        "that it has\"}\n");
    put(f, "test.jsonl", "{\"text\": \"the b of a l is the s that it has\"}\n");
}

static hone_train_options options_for(const folder *f) {
    hone_train_options o = hone_train_defaults();
    o.data = f->path;
    o.iters = 12;
    o.batch_size = 2;
    o.learning_rate = 1e-2;
    o.lora_scale = 2;
    o.steps_per_eval = 5;
    return o;
}

static hone_status run(const char *path, const hone_train_options *o, journal *l,
                       hone_train_result *result, hone_error *err) {
    hone_model *model = open_tiny(path, 2);
    const hone_train_callbacks callbacks = {
        .on_event = on_event, .before_step = before_step, .user = l};
    hone_status status = hone_train(model, o, &callbacks, result, err);
    hone_model_free(&model);
    return status;
}

static bool there(folder *f, const char *name) {
    struct stat st;
    return stat(in(f, name), &st) == 0;
}

static void training_learns_and_tells(void **state) {
    (void)state;
    for (int packing = 0; packing < 3; packing++) {
        hone_error err;
        hone_train_result result;
        journal l = {.count = 0};
        folder f;
        make_folder(&f);
        write_data(&f);
        hone_train_options o = options_for(&f);
        char adapters[128];
        snprintf(adapters, sizeof adapters, "%s/new/adapters", f.path);
        o.adapter_path = adapters;
        o.packing = (hone_packing)packing;
        if (packing) o.max_seq_length = 32;
        o.save_every = 5;
        o.test = true;
        assert_ok(run(TINY, &o, &l, &result, &err), err);
        assert_int_equal(l.kinds[0], HONE_TRAIN_START);
        assert_int_equal(l.start.samples, 40);
        assert_true(l.start.arena_bytes > 0 && l.start.trainable > 0 &&
                    l.start.parameters > l.start.trainable);
        assert_int_equal(l.steps, 12);
        assert_int_equal(l.before, 12);
        assert_int_equal(l.validations, 4); /* before the first step, after 5, 10 and the last */
        assert_int_equal(l.saves, 3);
        assert_int_equal(l.tests, 1);
        assert_int_equal(result.iters, 12);
        assert_true(result.final_loss == l.losses[11]);
        assert_true(result.tokens_per_sec_median > 0 && result.peak_rss > 1 << 20);
        assert_true(l.last_validation < 0.8 * l.first_validation);
        assert_true(l.losses[11] < 0.8 * l.losses[0]);
        assert_true(there(&f, "new/adapters/adapter_config.json"));
        assert_true(there(&f, "new/adapters/adapters.safetensors"));
        assert_true(there(&f, "new/adapters/0000005_adapters.safetensors"));
        assert_true(there(&f, "new/adapters/0000010_adapters.safetensors"));
        remove_folder(&f);
    }
}

static void the_same_seed_gives_the_same_losses(void **state) {
    (void)state;
    hone_error err;
    journal logs[3] = {{.count = 0}, {.count = 0}, {.count = 0}};
    folder f;
    make_folder(&f);
    write_data(&f);
    hone_train_options o = options_for(&f);
    o.packing = HONE_PACKING_ISOLATE;
    o.max_seq_length = 24;
    for (int i = 0; i < 3; i++) {
        o.seed = i == 2;
        assert_ok(run(TINY, &o, &logs[i], NULL, &err), err);
    }
    assert_memory_equal(logs[0].losses, logs[1].losses, sizeof logs[0].losses);
    assert_memory_not_equal(logs[0].losses, logs[2].losses, sizeof logs[0].losses);
    assert_false(there(&f, "adapters")); /* adapter_path NULL: nothing is written */
    remove_folder(&f);
}

/* A validation with all rows in one batch is the mean over all their tokens, whatever the batch size. */
static void validation_counts_every_token_alike(void **state) {
    (void)state;
    hone_error err;
    double losses[2];
    folder f;
    make_folder(&f);
    write_data(&f);
    put(&f, "valid.jsonl",
        "{\"text\": \"a\"}\n{\"text\": \"the c of a m is the t that it has and more of "
        "it\"}\n{\"text\": \"b c\"}\n");
    for (int i = 0; i < 2; i++) {
        journal l = {.stop_after = 1};
        hone_train_options o = options_for(&f);
        o.batch_size = i ? 3 : 1;
        o.val_batches = -1;
        assert_int_equal(run(TINY, &o, &l, NULL, &err), HONE_ERR_INTERRUPTED);
        losses[i] = l.first_validation;
    }
    assert_true(fabs(losses[0] - losses[1]) < 1e-6 * losses[0]);
    remove_folder(&f);
}

static void stopping_saves_and_says_so(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        hone_error err;
        hone_train_result result;
        journal l = {.stop_after = i == 0 ? 3 : 0, .stop_before = i == 1 ? 4 : i == 2 ? 1 : 0};
        folder f;
        make_folder(&f);
        write_data(&f);
        hone_train_options o = options_for(&f);
        char adapters[128];
        snprintf(adapters, sizeof adapters, "%s/adapters", f.path);
        o.adapter_path = adapters;
        o.test = true;
        assert_int_equal(run(TINY, &o, &l, &result, &err), HONE_ERR_INTERRUPTED);
        int done = i == 2 ? 0 : 3;
        assert_int_equal(result.iters, done);
        assert_int_equal(l.saves, done > 0);
        assert_int_equal(l.tests, 0);
        assert_true(there(&f, "adapters/adapters.safetensors") == (done > 0));
        char sentence[64];
        snprintf(sentence, sizeof sentence, "stopped after step %d of 12", done);
        assert_non_null(strstr(err.message, sentence));
        remove_folder(&f);
    }
}

static void an_adapter_goes_on_where_it_was(void **state) {
    (void)state;
    hone_error err;
    journal first = {.count = 0}, second = {.count = 0}, fresh = {.stop_after = 1},
            wrong = {.count = 0};
    folder f;
    make_folder(&f);
    write_data(&f);
    hone_train_options o = options_for(&f);
    char adapters[128], file[192];
    snprintf(adapters, sizeof adapters, "%s/adapters", f.path);
    snprintf(file, sizeof file, "%s/adapters.safetensors", adapters);
    o.adapter_path = adapters;
    assert_ok(run(TINY, &o, &first, NULL, &err), err);
    o.adapter_path = NULL;
    o.resume_adapter_file = file;
    assert_ok(run(TINY, &o, &second, NULL, &err), err);
    assert_true(fabs(second.first_validation - first.last_validation) < 1e-6);
    o.resume_adapter_file = NULL;
    run(TINY, &o, &fresh, NULL, &err);
    assert_true(fresh.first_validation == first.first_validation);
    o.resume_adapter_file = file;
    o.lora_rank = 4;
    assert_int_equal(run(TINY, &o, &wrong, NULL, &err), HONE_ERR_USAGE);
    assert_non_null(strstr(err.message, "--rank 4"));
    snprintf(file, sizeof file, "%s/adapter_config.json", adapters);
    assert_int_equal(remove(file), 0);
    snprintf(file, sizeof file, "%s/adapters.safetensors", adapters);
    assert_int_equal(run(TINY, &o, &wrong, NULL, &err), HONE_ERR_FORMAT);
    assert_non_null(strstr(err.message, "for this model and rank"));
    remove_folder(&f);
}

static void testing_alone_trains_nothing(void **state) {
    (void)state;
    hone_error err;
    journal l = {.count = 0}, trained = {.count = 0};
    folder f;
    make_folder(&f);
    write_data(&f);
    hone_train_options o = options_for(&f);
    char adapters[128];
    snprintf(adapters, sizeof adapters, "%s/adapters", f.path);
    o.adapter_path = adapters;
    o.test = true;
    assert_ok(run(TINY, &o, &trained, NULL, &err), err);
    o.iters = 0;
    hone_model *model = open_tiny(TINY, 1);
    const hone_train_callbacks callbacks = {.on_event = on_event, .user = &l};
    assert_ok(hone_model_load_adapter(model, adapters, &err), err);
    assert_ok(hone_train(model, &o, &callbacks, NULL, &err), err);
    assert_int_equal(l.tests, 1);
    assert_int_equal(l.steps, 0);
    assert_int_equal(l.saves, 0);
    assert_true(fabs(l.test - trained.test) < 1e-6);
    hone_model_free(&model);
    remove_folder(&f);
}

static void checkpointing_learns_the_same_in_less_memory(void **state) {
    (void)state;
    hone_error err;
    journal plain = {.count = 0}, checkpointed = {.count = 0};
    folder f;
    make_folder(&f);
    write_data(&f);
    hone_train_options o = options_for(&f);
    assert_ok(run(TINY, &o, &plain, NULL, &err), err);
    o.grad_checkpoint = true;
    assert_ok(run(TINY, &o, &checkpointed, NULL, &err), err);
    assert_memory_equal(plain.losses, checkpointed.losses, sizeof plain.losses);
    assert_true(checkpointed.start.arena_bytes < plain.start.arena_bytes);
    remove_folder(&f);
}

/* The plan is what the training then starts with, and the sum of its parts. */
static void a_plan_foretells_the_training(void **state) {
    (void)state;
    hone_error err;
    folder f;
    make_folder(&f);
    write_data(&f);
    const hone_fine_tune kinds[] = {HONE_FINE_TUNE_LORA, HONE_FINE_TUNE_FULL};
    for (int k = 0; k < 2; k++)
        for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
            hone_train_options o = options_for(&f);
            hone_train_plan plan;
            journal l = {.count = 0};
            o.fine_tune_type = kinds[k];
            o.grad_checkpoint = checkpoint;
            o.packing = HONE_PACKING_ISOLATE;
            o.max_seq_length = 64;
            hone_model *model = open_tiny(TINY, 2);
            assert_ok(hone_train_plan_memory(model, &o, &plan, &err), err);
            hone_model_free(&model);
            assert_ok(run(TINY, &o, &l, NULL, &err), err);
            assert_int_equal(plan.activations + plan.scratch, l.start.arena_bytes);
            assert_int_equal(plan.trained, plan.gradients);
            assert_int_equal(plan.moments, 2 * plan.gradients);
            assert_true(plan.trained >= l.start.trainable * sizeof(float));
            assert_int_equal(plan.total, plan.program + plan.data + plan.weights + plan.tables +
                                             plan.trained + plan.gradients + plan.moments +
                                             plan.saving + plan.activations + plan.scratch);
            assert_true(plan.loss <= plan.activations + plan.scratch);
            assert_int_equal(plan.blocks, 3);
            assert_true(checkpoint ? plan.recomputed > 0 : plan.recomputed == 0);
            assert_int_equal(plan.total, checkpoint ? plan.total_recomputed : plan.total_kept);
        }
    remove_folder(&f);
}

/* A limit takes the least recomputation that fits, which learns the same; below what is possible, it names what is. */
static void a_memory_limit_is_kept(void **state) {
    (void)state;
    hone_error err;
    folder f;
    make_folder(&f);
    write_data(&f);
    hone_train_options o = options_for(&f);
    o.packing = HONE_PACKING_ISOLATE;
    o.batch_size = 32;
    o.max_seq_length = 256;
    o.iters = 1;
    hone_model *model = open_tiny(TINY, 2);
    hone_train_plan whole, limited;
    assert_ok(hone_train_plan_memory(model, &o, &whole, &err), err);
    assert_true(whole.total_recomputed + ((size_t)8 << 20) < whole.total_kept);
    o.mem_limit = 2 * whole.total;
    assert_ok(hone_train_plan_memory(model, &o, &limited, &err), err);
    assert_int_equal(limited.recomputed, 0);
    size_t between = whole.total_recomputed + (whole.total_kept - whole.total_recomputed) / 2;
    o.mem_limit = between + ((size_t)4 << 20);
    assert_ok(hone_train_plan_memory(model, &o, &limited, &err), err);
    assert_true(limited.recomputed > 0 && limited.recomputed < 3);
    assert_true(limited.total < o.mem_limit);
    journal plain = {.count = 0}, kept = {.count = 0};
    assert_ok(run(TINY, &o, &kept, NULL, &err), err);
    assert_true(kept.start.arena_bytes < whole.activations + whole.scratch);
    o.mem_limit = 0;
    assert_ok(run(TINY, &o, &plain, NULL, &err), err);
    assert_memory_equal(plain.losses, kept.losses, sizeof plain.losses);
    /* Plans differ by whole huge pages of 2 MiB: a limit between two, so that a few KiB more or less change nothing. */
    o.mem_limit = whole.total_recomputed - ((size_t)9 << 19);
    assert_int_equal(hone_train_plan_memory(model, &o, &limited, &err), HONE_ERR_LIMIT);
    int tokens = 0, rows = 0;
    const char *advice = strstr(err.message, "--max-seq-length "),
               *other = strstr(err.message, "--batch-size ");
    assert_true(advice && sscanf(advice, "--max-seq-length %d", &tokens) == 1);
    assert_true(other && sscanf(other, "--batch-size %d", &rows) == 1);
    /* What is named fits, and clearly more does not; how large the program itself is differs from plan to plan. */
    for (int more = 0; more < 2; more++) {
        hone_train_options changed = o;
        changed.max_seq_length = tokens + 64 * more;
        assert_int_equal(hone_train_plan_memory(model, &changed, &limited, &err),
                         more ? HONE_ERR_LIMIT : HONE_OK);
        changed = o;
        changed.batch_size = rows + 4 * more;
        assert_int_equal(hone_train_plan_memory(model, &changed, &limited, &err),
                         more ? HONE_ERR_LIMIT : HONE_OK);
    }
    o.mem_limit = 1 << 20;
    assert_int_equal(hone_train_plan_memory(model, &o, &limited, &err), HONE_ERR_LIMIT);
    assert_non_null(strstr(err.message, "give --mem-limit "));
    hone_model_free(&model);
    remove_folder(&f);
}

/* Working memory of terabytes is refused before the first step, and nothing is touched. */
static void batches_beyond_the_machine_are_refused(void **state) {
    (void)state;
    folder f;
    make_folder(&f);
    write_data(&f);
    for (int packing = 0; packing < 3; packing++) {
        hone_error err;
        journal l = {.count = 0};
        hone_train_options o = options_for(&f);
        o.packing = (hone_packing)packing;
        o.lora_rank = 4096;
        o.batch_size = packing ? 1 << 18 : 1 << 22;
        o.max_seq_length = packing ? 256 : 16;
        assert_int_equal(run(TINY, &o, &l, NULL, &err), HONE_ERR_MEMORY);
        assert_non_null(strstr(err.message, "is free: lower --batch-size or --max-seq-length, or"));
        assert_int_equal(l.count, 0);
    }
    remove_folder(&f);
}

static bool no_more(void *user) {
    int *left = user;
    return (*left)-- > 0;
}

/* Asked before each batch: the validation before the first step ends at once, a test after its first batch. */
static void validation_and_test_can_be_stopped(void **state) {
    (void)state;
    hone_error err;
    hone_train_result result;
    folder f;
    make_folder(&f);
    write_data(&f);
    put(&f, "test.jsonl", "{\"text\": \"a b\"}\n{\"text\": \"c d\"}\n{\"text\": \"e f\"}\n");
    for (int i = 0; i < 2; i++) {
        int left = i;
        hone_train_options o = options_for(&f);
        o.iters = i ? 0 : 12;
        o.batch_size = 1;
        o.test = true;
        hone_model *model = open_tiny(TINY, 2);
        const hone_train_callbacks callbacks = {.keep_going = no_more, .user = &left};
        assert_int_equal(hone_train(model, &o, &callbacks, &result, &err), HONE_ERR_INTERRUPTED);
        assert_non_null(strstr(err.message, i ? "end of the test" : "after step 0 of 12"));
        assert_int_equal(left, -1);
        assert_int_equal(result.iters, 0);
        hone_model_free(&model);
    }
    remove_folder(&f);
}

static void options_that_make_no_sense_are_refused(void **state) {
    (void)state;
    folder f;
    make_folder(&f);
    write_data(&f);
    const hone_train_options good = options_for(&f);
    hone_train_options bad[24];
    const char *sentences[24];
    size_t n = 0;
#define BAD(field, value, sentence)                                                                \
    bad[n] = good, bad[n].field = (value), sentences[n++] = (sentence)
    BAD(iters, -1, "--iters -1");
    BAD(batch_size, 0, "--batch-size 0");
    BAD(max_seq_length, 1, "--max-seq-length 1");
    BAD(grad_accumulation_steps, 0, "--grad-accumulation-steps 0");
    BAD(val_batches, -2, "--val-batches -2");
    BAD(save_every, -1, "-1");
    BAD(steps_per_eval, -5, "-5");
    BAD(learning_rate, NAN, "--learning-rate nan");
    BAD(learning_rate, -1, "--learning-rate -1");
    BAD(beta1, 1, "beta1 1");
    BAD(beta2, -0.1, "beta2 -0.1");
    BAD(eps, 0, "eps 0");
    BAD(weight_decay, 2, "--weight-decay 2");
    BAD(lora_rank, 0, "--rank 0");
    BAD(lora_scale, INFINITY, "--scale inf");
    BAD(num_layers, 0, "--num-layers 0");
    BAD(batch_size, 1 << 30, "at most");
    BAD(data, NULL, "no data");
    for (size_t i = 0; i < n; i++) {
        hone_error err;
        journal l = {.count = 0};
        assert_int_equal(run(TINY, &bad[i], &l, NULL, &err), HONE_ERR_USAGE);
        if (!strstr(err.message, sentences[i]))
            fail_msg("\"%s\" does not say \"%s\"", err.message, sentences[i]);
        assert_int_equal(l.count, 0);
    }
    remove_folder(&f);
}

static void faults_of_data_and_folders_are_errors(void **state) {
    (void)state;
    hone_error err;
    journal l = {.count = 0};
    folder f;
    make_folder(&f);
    hone_train_options o = options_for(&f);
    assert_int_equal(run(TINY, &o, &l, NULL, &err), HONE_ERR_IO);
    assert_non_null(strstr(err.message, "train.jsonl"));
    write_data(&f);
    o.test = true;
    unlink(in(&f, "test.jsonl"));
    assert_int_equal(run(TINY, &o, &l, NULL, &err), HONE_ERR_IO);
    assert_non_null(strstr(err.message, "test.jsonl"));
    o.test = false;
    put(&f, "valid.jsonl", "{\"text\": 1}\n");
    assert_int_equal(run(TINY, &o, &l, NULL, &err), HONE_ERR_FORMAT);
    assert_non_null(strstr(err.message, "valid.jsonl: line 1: "));
    unlink(in(&f, "valid.jsonl"));
    char path[192];
    strcpy(path, put(&f, "file", "x"));
    o.adapter_path = path;
    assert_int_not_equal(run(TINY, &o, &l, NULL, &err), HONE_OK);
    assert_non_null(strstr(err.message, "/file"));
    o.adapter_path = NULL;
    o.packing = HONE_PACKING_CONCAT; /* rows of 2048 tokens, and the model has 256 positions */
    assert_int_equal(run(TINY, &o, &l, NULL, &err), HONE_ERR_USAGE);
    assert_non_null(strstr(err.message, "256"));
    assert_int_equal(l.steps, 0);
    remove_folder(&f);
}

/* Full fine-tuning through the public function: the folder is a model that knows what was learnt. */
static void a_fully_tuned_folder_is_a_model(void **state) {
    (void)state;
    hone_error err;
    journal l = {.count = 0}, again = {.stop_after = 1};
    folder f;
    make_folder(&f);
    write_data(&f);
    hone_train_options o = options_for(&f);
    char tuned[128];
    snprintf(tuned, sizeof tuned, "%s/tuned", f.path);
    o.adapter_path = tuned;
    o.fine_tune_type = HONE_FINE_TUNE_FULL;
    o.learning_rate = 1e-3;
    assert_ok(run(TINY, &o, &l, NULL, &err), err);
    assert_int_equal(l.start.trainable, l.start.parameters);
    o.adapter_path = NULL;
    run(tuned, &o, &again, NULL, &err);
    assert_true(fabs(again.first_validation - l.last_validation) < 1e-6);
    remove_folder(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_learns_and_tells),
        cmocka_unit_test(the_same_seed_gives_the_same_losses),
        cmocka_unit_test(validation_counts_every_token_alike),
        cmocka_unit_test(stopping_saves_and_says_so),
        cmocka_unit_test(an_adapter_goes_on_where_it_was),
        cmocka_unit_test(testing_alone_trains_nothing),
        cmocka_unit_test(checkpointing_learns_the_same_in_less_memory),
        cmocka_unit_test(a_plan_foretells_the_training),
        cmocka_unit_test(a_memory_limit_is_kept),
        cmocka_unit_test(batches_beyond_the_machine_are_refused),
        cmocka_unit_test(validation_and_test_can_be_stopped),
        cmocka_unit_test(options_that_make_no_sense_are_refused),
        cmocka_unit_test(faults_of_data_and_folders_are_errors),
        cmocka_unit_test(a_fully_tuned_folder_is_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
