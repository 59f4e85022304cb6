/* tests of eval/workshop: what is cleared away, and what the trainings with foreign kernels may read. */
#include "eval/workshop.h"

#include "base/file.h"
#include "temp.h"

#include <fcntl.h>
#include <hone.h>
#include <sys/file.h>
#include <sys/stat.h>

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

/* A folder `seconds` old, with something in it. */
static void leave(const temp_folder *temp, const char *name, time_t seconds) {
    char inside[64];
    hone_error err;
    snprintf(inside, sizeof inside, "%s/kernels", name);
    char *folder = temp_path(temp, name), *deeper = temp_path(temp, inside);
    const struct timespec then[2] = {{.tv_sec = time(NULL) - seconds},
                                     {.tv_sec = time(NULL) - seconds}};
    assert_ok(hone_file_make_directories(deeper, &err), err);
    assert_int_equal(utimensat(AT_FDCWD, folder, then, 0), 0);
    free(folder), free(deeper);
}

static bool is_there(const temp_folder *temp, const char *name) {
    char *path = temp_path(temp, name);
    bool there = access(path, F_OK) == 0;
    free(path);
    return there;
}

static void what_killed_evaluations_left_goes(void **state) {
    static const char *const kept[] = {"hone-eval-Young1", "hone-eval-Locked", "hone-eval-another",
                                       "hone-eval-Link01", "elsewhere/kernels"};
    temp_folder temp = temp_make();
    hone_workshop first = {.folder = NULL}, second = {.folder = NULL};
    hone_error err;
    (void)state;
    leave(&temp, "hone-eval-Killed", 3600);
    leave(&temp, "hone-eval-Young1", 5);
    leave(&temp, "hone-eval-Locked", 3600);
    leave(&temp, "hone-eval-another", 3600);
    leave(&temp, "elsewhere", 3600);
    char *locked = temp_path(&temp, "hone-eval-Locked"),
         *link = temp_path(&temp, "hone-eval-Link01");
    int lock = open(locked, O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    assert_int_equal(symlink("elsewhere", link), 0);
    setenv("TMPDIR", temp.path, 1);
    assert_ok(hone_workshop_open(&first, &err), err);
    assert_ok(hone_workshop_open(&second, &err), err);
    assert_false(is_there(&temp, "hone-eval-Killed"));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (!is_there(&temp, kept[i])) fail_msg("%s is gone", kept[i]);
    /* A living one's is not taken away, however old it is. */
    const struct timespec then[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, first.folder, then, 0), 0);
    hone_workshop_close(&second);
    assert_ok(hone_workshop_open(&second, &err), err);
    assert_true(hone_file_is_directory(first.folder));
    hone_workshop_close(&first);
    hone_workshop_close(&second);
    unsetenv("TMPDIR");
    close(lock);
    free(locked), free(link);
    temp_remove(&temp);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_killed_evaluations_left_goes),
                                       cmocka_unit_test(of_the_data_only_what_is_trained_with)};
    return cmocka_run_group_tests_name("eval/workshop", tests, NULL, NULL);
}
