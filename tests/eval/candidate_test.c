/* tests of eval/candidate: what the trainings with foreign kernels may read. */
#include "eval/candidate.h"

#include "base/file.h"
#include "temp.h"

#include <hone.h>

static bool may_read(const hone_workshop *workshop, const char *path) {
    bool found = false;
    for (size_t i = 0; workshop->readable[i]; i++)
        found |= strcmp(workshop->readable[i], path) == 0;
    return found;
}

/* Rows that the training is judged by are nobody's to read meanwhile; the folder would be a way to them. */
static void of_the_data_only_what_is_trained_with(void **state) {
    temp_folder temp = temp_make();
    char *model = temp_path(&temp, "model.gguf"), *data = temp_path(&temp, "data"),
         *train = temp_path(&temp, "data/train.jsonl"), *test = temp_path(&temp, "data/test.jsonl"),
         *other = temp_path(&temp, "other.jsonl");
    hone_workshop workshop = {.folder = NULL};
    hone_eval_options options = {.worker = "/bin/true"};
    hone_eval_report report = {.data = data};
    hone_error err;
    (void)state;
    assert_ok(hone_file_make_directories(data, &err), err);
    temp_write(model, "m", 1);
    temp_write(other, "{}", 2);
    temp_write(test, "{}", 2);
    assert_int_equal(hone_workshop_set_model(&workshop, &options, &report, model, &err),
                     HONE_ERR_IO); /* nothing to train with */
    assert_non_null(strstr(err.message, "train.jsonl"));
    /* A folder of links, as a hub's: what they lead to is what may be read. */
    assert_int_equal(symlink(other, train), 0);
    assert_ok(hone_workshop_set_model(&workshop, &options, &report, model, &err), err);
    assert_true(may_read(&workshop, other));
    assert_true(may_read(&workshop, model));
    assert_false(may_read(&workshop, data));
    assert_false(may_read(&workshop, test));
    assert_int_equal(unlink(train), 0);
    temp_write(train, "{}", 2);
    assert_ok(hone_workshop_set_model(&workshop, &options, &report, model, &err), err);
    assert_true(may_read(&workshop, train));
    assert_false(may_read(&workshop, data));
    assert_string_equal(workshop.data, data);
    report.data = train; /* one file instead of a folder */
    assert_ok(hone_workshop_set_model(&workshop, &options, &report, model, &err), err);
    assert_true(may_read(&workshop, train));
    hone_workshop_close(&workshop);
    free(model), free(data), free(train), free(test), free(other);
    temp_remove(&temp);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(of_the_data_only_what_is_trained_with)};
    return cmocka_run_group_tests_name("eval/candidate", tests, NULL, NULL);
}
