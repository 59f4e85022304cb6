/* tests of eval/accept: a record holds for the very bytes, on this CPU, and only when it says so. */
#include "eval/accept.h"

#include "base/cpu.h"
#include "base/file.h"
#include "base/hash.h"
#include "temp.h"

#include <hone.h>
#include <sys/stat.h>
#include <unistd.h>

static temp_folder temp;
static char *object, *record, sha256[HONE_SHA256_TEXT];

static void expect(bool expected, const char *what) {
    hone_error err;
    bool accepted = !expected;
    int copy = -1;
    assert_ok(hone_kernels_accepted(object, &accepted, &copy, &err), err);
    close(copy);
    if (accepted != expected) fail_msg("%s: %s", what, accepted ? "accepted" : "not accepted");
}

static void write_record(const char *verdict, const char *cpu, const char *sha) {
    char text[1024];
    snprintf(text, sizeof text,
             "{\"verdict\": \"%s\", \"cpu\": \"%s\", \"object_sha256\": \"%s\"}\n", verdict, cpu,
             sha);
    temp_write(record, text, strlen(text));
}

static void what_was_accepted_is(void **state) {
    hone_error err;
    hone_eval_report report = {.machine = {.version = "1", .cpu = hone_cpu_model()},
                               .candidate = {.verdict = "accepted"}};
    (void)state;
    expect(false, "nothing there");
    assert_ok(hone_accept_kernels(sha256, &report, &err), err);
    expect(true, "as it was written");
    temp_write(object, "other bytes", 11);
    expect(false, "an object of other bytes");
    temp_write(object, "bytes", 5);
    expect(true, "the bytes again");
}

/* Whoever loads the copy loads what was looked at. */
static void the_copy_stays_as_it_was(void **state) {
    char name[32];
    bool accepted;
    int copy = -1;
    hone_error err;
    hone_buf bytes;
    (void)state;
    assert_ok(hone_kernels_accepted(object, &accepted, &copy, &err), err);
    temp_write(object, "others", 6);
    snprintf(name, sizeof name, "/proc/self/fd/%d", copy);
    assert_ok(hone_file_read(name, 100, &bytes, &err), err);
    assert_int_equal(bytes.size, 5);
    assert_memory_equal(bytes.data, "bytes", 5);
    assert_int_equal(pwrite(copy, "x", 1, 0), -1);
    assert_int_equal(ftruncate(copy, 3), -1);
    hone_buf_free(&bytes);
    close(copy);
    temp_write(object, "bytes", 5);
    assert_int_equal(hone_kernels_accepted(temp.path, &accepted, &copy, &err), HONE_ERR_IO);
    assert_int_equal(copy, -1);
}

static void other_records_accept_nothing(void **state) {
    (void)state;
    write_record("accepted", hone_cpu_model(), sha256);
    expect(true, "written by hand");
    write_record("not accepted", hone_cpu_model(), sha256);
    expect(false, "another verdict");
    write_record("accepted", "another CPU", sha256);
    expect(false, "another CPU");
    write_record("accepted", hone_cpu_model(), "0");
    expect(false, "another object's");
    temp_write(record, "", 0);
    expect(false, "an empty record");
    temp_write(record, "{}\n", 3);
    expect(false, "a record that says nothing");
    temp_write(record, "[\"accepted\"]\n", 13);
    expect(false, "no object");
    assert_int_equal(unlink(record), 0);
    assert_int_equal(mkfifo(record, 0600), 0);
    expect(false, "a FIFO");
    assert_int_equal(unlink(record), 0);
    assert_int_equal(mkdir(record, 0700), 0);
    expect(false, "a folder");
    assert_int_equal(rmdir(record), 0);
}

static int set_up(void **state) {
    char name[128];
    hone_error err;
    (void)state;
    temp = temp_make();
    setenv("HONE_HOME", temp.path, 1);
    object = temp_path(&temp, "kernels.so");
    temp_write(object, "bytes", 5);
    if (hone_sha256("bytes", 5, sha256, &err) != HONE_OK) return -1;
    snprintf(name, sizeof name, "kernels/%s.json", sha256);
    record = temp_path(&temp, name);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    free(object);
    free(record);
    temp_remove(&temp);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_accepted_is),
                                       cmocka_unit_test(the_copy_stays_as_it_was),
                                       cmocka_unit_test(other_records_accept_nothing)};
    return cmocka_run_group_tests_name("eval/accept", tests, set_up, tear_down);
}
