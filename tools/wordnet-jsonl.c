/* wordnet-jsonl: turns WordNet's data files into training, validation and test rows.
 *
 * usage: wordnet-jsonl WORDNET OUTPUT
 * Reads WORDNET/data.{noun,verb,adj,adv}; writes OUTPUT/{train,valid,test}.jsonl, each whole or not
 * at all, in one fixed order. A synset gives one row: its first word asked for, its gloss answered.
 * A line of a data file: offset, file number, type, word count, word, ... " | " gloss.
 */
#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_LIMIT ((size_t)1 << 20)
#define BYTES_LIMIT ((size_t)1 << 30)
#define SEED 20260101

/* Row i is text.data[starts[i]] up to starts[i + 1]. */
typedef struct rows {
    hone_buf text;
    size_t *starts;
    size_t count;
} rows;

static const struct part_of_speech {
    const char *file, *word;
} parts[] = {{"data.noun", "noun"},
             {"data.verb", "verb"},
             {"data.adj", "adjective"},
             {"data.adv", "adverb"}};

/* "big_cheese" and "galore(ip)" become "big cheese" and "galore". */
static void plain_word(const char *word, size_t size, char *out, size_t capacity) {
    size_t n = 0;
    for (size_t i = 0; i < size && n + 1 < capacity && word[i] != '('; i++)
        out[n++] = word[i] == '_' ? ' ' : word[i];
    out[n] = '\0';
}

static hone_status add_row(rows *r, const char *part, const char *word, const char *gloss,
                           size_t gloss_size, hone_error *err) {
    char question[512];
    snprintf(question, sizeof question, "Define the %s %s.", part, word);
    json_t *row = json_pack("{s:[{s:s, s:s}, {s:s, s:s%}]}", "messages", "role", "user", "content",
                            question, "role", "assistant", "content", gloss, gloss_size);
    char *line = row == NULL ? NULL : json_dumps(row, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(row);
    if (line == NULL)
        return hone_fail(err, HONE_ERR_FORMAT, "the gloss of \"%s\" is not valid UTF-8", word);
    hone_status status = hone_buf_append_str(&r->text, line, err);
    free(line);
    if (status == HONE_OK) status = hone_buf_append_char(&r->text, '\n', err);
    if (status == HONE_OK && r->count == ROWS_LIMIT)
        status = hone_fail(err, HONE_ERR_LIMIT, "more than %zu rows", ROWS_LIMIT);
    if (status == HONE_OK) r->starts[++r->count] = r->text.size;
    return status;
}

/* One line without its newline. The licence at the top is indented by two spaces. */
static hone_status read_line(rows *r, const char *part, const char *line, size_t size,
                             hone_error *err) {
    if (size == 0 || line[0] == ' ') return HONE_OK;
    const char *end = line + size, *word = line;
    for (int field = 0; field < 4 && word != NULL; field++) {
        word = memchr(word, ' ', (size_t)(end - word));
        if (word != NULL) word++;
    }
    const char *word_end = word == NULL ? NULL : memchr(word, ' ', (size_t)(end - word));
    const char *bar = memchr(line, '|', size);
    if (word_end == NULL || bar == NULL)
        return hone_fail(err, HONE_ERR_FORMAT, "a line without a word or a gloss: \"%.*s\"",
                         (int)(size < 60 ? size : 60), line);
    const char *gloss = bar + 1;
    while (gloss < end && *gloss == ' ') gloss++;
    while (end > gloss && end[-1] == ' ') end--;
    char plain[256];
    plain_word(word, (size_t)(word_end - word), plain, sizeof plain);
    return add_row(r, part, plain, gloss, (size_t)(end - gloss), err);
}

static hone_status read_part(rows *r, const char *folder, const struct part_of_speech *part,
                             hone_error *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, part->file);
    hone_file_map map;
    HONE_TRY(hone_file_map_open(&map, path, err));
    const char *text = (const char *)map.data, *end = text + map.size;
    hone_status status = HONE_OK;
    while (text < end && status == HONE_OK) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t size = (size_t)((newline == NULL ? end : newline) - text);
        status = read_line(r, part->word, text, size, err);
        text += size + 1;
    }
    hone_file_map_close(&map);
    return status;
}

/* Writes the rows of order[begin .. end). */
static hone_status write_rows(const rows *r, const size_t *order, size_t begin, size_t end,
                              const char *folder, const char *name, hone_error *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.jsonl", folder, name);
    hone_buf text = hone_buf_make(BYTES_LIMIT);
    hone_status status = HONE_OK;
    for (size_t i = begin; i < end && status == HONE_OK; i++) {
        size_t from = r->starts[order[i]], to = r->starts[order[i] + 1];
        status = hone_buf_append(&text, r->text.data + from, to - from, err);
    }
    if (status == HONE_OK) status = hone_file_write_atomic(path, text.data, text.size, err);
    if (status == HONE_OK) printf("wordnet-jsonl: %s: %zu rows\n", path, end - begin);
    hone_buf_free(&text);
    return status;
}

/* 90% for training, 5% each for validation and test, after a shuffle that is always the same. The
 * training rows are written last: once they are there, all are. */
static hone_status write_splits(const rows *r, const char *folder, hone_error *err) {
    size_t *order = malloc((r->count + 1) * sizeof *order);
    if (order == NULL) return hone_fail(err, HONE_ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < r->count; i++) order[i] = i;
    hone_rng rng = hone_rng_make(SEED);
    hone_rng_shuffle(&rng, order, r->count);
    size_t held = r->count / 20, train = r->count - 2 * held;
    hone_status status = write_rows(r, order, train, train + held, folder, "valid", err);
    if (status == HONE_OK)
        status = write_rows(r, order, train + held, r->count, folder, "test", err);
    if (status == HONE_OK) status = write_rows(r, order, 0, train, folder, "train", err);
    free(order);
    return status;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fputs("usage: wordnet-jsonl WORDNET OUTPUT\n", stderr);
        return 2;
    }
    hone_error err = {0};
    rows r = {.text = hone_buf_make(BYTES_LIMIT), .starts = calloc(ROWS_LIMIT + 1, sizeof(size_t))};
    hone_status status = HONE_OK;
    if (r.starts == NULL) status = hone_fail(&err, HONE_ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && status == HONE_OK; i++)
        status = read_part(&r, argv[1], &parts[i], &err);
    if (status == HONE_OK) status = write_splits(&r, argv[2], &err);
    if (status != HONE_OK) fprintf(stderr, "wordnet-jsonl: %s\n", err.message);
    hone_buf_free(&r.text);
    free(r.starts);
    return status == HONE_OK ? 0 : 1;
}
