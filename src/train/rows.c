/* train/rows: see rows.h. */
#define _POSIX_C_SOURCE 200809L
#include "train/rows.h"

#include "base/size.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t line_number(const hone_rows *rows, size_t offset) {
    size_t line = 1;
    const uint8_t *at = rows->map.data, *end = at + offset;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        line++;
        at++;
    }
    return line;
}

hone_status hone_rows_fail(const hone_rows *rows, size_t index, hone_error *err) {
    return hone_fail_prefix(err, "%s: line %zu", rows->map.path,
                            line_number(rows, rows->begin[index]));
}

/* End of the line that starts at `begin`, without its newline. */
static size_t line_end(const hone_rows *rows, size_t begin) {
    const uint8_t *end = memchr(rows->map.data + begin, '\n', rows->map.size - begin);
    return end ? (size_t)(end - rows->map.data) : rows->map.size;
}

static bool blank(const uint8_t *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') return false;
    return true;
}

static hone_status add_row(hone_rows *rows, size_t *capacity, size_t begin, hone_error *err) {
    if (rows->count == *capacity) {
        size_t grown = *capacity ? 2 * *capacity : 1024, bytes;
        size_t *memory =
            hone_size_mul(grown, sizeof *memory, &bytes) ? realloc(rows->begin, bytes) : NULL;
        if (!memory) return hone_fail_memory(err, "the list of rows", grown * sizeof *memory);
        rows->begin = memory;
        *capacity = grown;
    }
    rows->begin[rows->count++] = begin;
    return HONE_OK;
}

static hone_status find_rows(hone_rows *rows, hone_error *err) {
    static const uint8_t mark[3] = {0xef, 0xbb,
                                    0xbf}; /* of the byte order, which some editors write */
    size_t capacity = 0, size = rows->map.size, dropped = 0;
    size_t begin = size >= 3 && memcmp(rows->map.data, mark, 3) == 0 ? 3 : 0;
    while (begin < size) {
        size_t end = line_end(rows, begin);
        if (end - begin > HONE_ROW_LIMIT)
            return hone_fail(
                err, HONE_ERR_LIMIT,
                "%s: line %zu has %zu bytes; at most %d are read: is this a .jsonl file?",
                rows->map.path, line_number(rows, begin), end - begin, (int)HONE_ROW_LIMIT);
        if (!blank(rows->map.data + begin, end - begin))
            HONE_TRY(add_row(rows, &capacity, begin, err));
        begin = end + 1;
        if (begin - dropped >= HONE_ROWS_RESIDENT) {
            hone_file_map_drop(&rows->map, dropped, begin - dropped);
            dropped = begin;
        }
    }
    hone_file_map_drop(&rows->map, 0, size);
    if (rows->count == 0)
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: no rows; expected one JSON object a line, like {\"text\": \"...\"}",
                         rows->map.path);
    return HONE_OK;
}

hone_status hone_rows_open(hone_rows *rows, const char *path, hone_error *err) {
    *rows = (hone_rows){0};
    HONE_TRY(hone_file_map_open(&rows->map, path, err));
    hone_status status;
    rows->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (rows->fd < 0) HONE_TRY_GOTO(status, failed, hone_fail_errno(err, "open", path));
    HONE_TRY_GOTO(status, failed, find_rows(rows, err));
    return HONE_OK;
failed:
    hone_rows_close(rows);
    return status;
}

void hone_rows_close(hone_rows *rows) {
    /* All 0 is one that was not opened. */
    if (rows->map.path && rows->fd >= 0) close(rows->fd);
    hone_file_map_close(&rows->map);
    free(rows->begin);
    *rows = (hone_rows){0};
}

/* ---- one row ---- */

static hone_status check_text(const json_t *row, const char *key, hone_error *err) {
    if (json_is_string(json_object_get(row, key))) return HONE_OK;
    return hone_fail(err, HONE_ERR_FORMAT, "\"%s\" is to be a string", key);
}

static hone_status check_messages(const json_t *row, hone_error *err) {
    const json_t *messages = json_object_get(row, "messages"),
                 *tools = json_object_get(row, "tools");
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return hone_fail(err, HONE_ERR_FORMAT,
                         "\"messages\" is to be a list of {\"role\", \"content\"} objects");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i);
        const json_t *content = json_object_get(message, "content");
        if (!json_is_string(json_object_get(message, "role")))
            return hone_fail(err, HONE_ERR_FORMAT, "message %zu has no \"role\" string", i + 1);
        bool good = json_is_string(content) || json_is_array(content) || json_is_null(content) ||
                    (!content && json_object_get(message, "tool_calls"));
        if (!good)
            return hone_fail(err, HONE_ERR_FORMAT, "message %zu has no \"content\" string", i + 1);
    }
    if (tools && !json_is_array(tools) && !json_is_null(tools))
        return hone_fail(err, HONE_ERR_FORMAT, "\"tools\" is to be a list");
    return HONE_OK;
}

static hone_status check_row(const json_t *row, hone_row_kind *kind, hone_error *err) {
    if (!json_is_object(row))
        return hone_fail(err, HONE_ERR_FORMAT, "expected a JSON object, like {\"text\": \"...\"}");
    if (json_object_get(row, "prompt") && json_object_get(row, "completion")) {
        *kind = HONE_ROW_COMPLETION;
        HONE_TRY(check_text(row, "prompt", err));
        return check_text(row, "completion", err);
    }
    if (json_object_get(row, "messages")) {
        *kind = HONE_ROW_MESSAGES;
        return check_messages(row, err);
    }
    if (json_object_get(row, "text")) {
        *kind = HONE_ROW_TEXT;
        return check_text(row, "text", err);
    }
    return hone_fail(err, HONE_ERR_FORMAT,
                     "the row has neither \"messages\", nor \"prompt\" and \"completion\", nor "
                     "\"text\"");
}

/* The line of row `index`, without its newline; the caller frees. */
static hone_status read_line(const hone_rows *rows, size_t index, char **line, size_t *size,
                             hone_error *err) {
    size_t begin = rows->begin[index], used = 0;
    size_t end = index + 1 < rows->count ? rows->begin[index + 1] : rows->map.size;
    size_t most = HONE_MIN(end - begin, (size_t)HONE_ROW_LIMIT + 1);
    char *text = malloc(most);
    if (!text) return hone_fail_memory(err, "a row", most);
    while (used < most) {
        ssize_t got = pread(rows->fd, text + used, most - used, (off_t)(begin + used));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            free(text);
            if (got < 0) return hone_fail_errno(err, "read", rows->map.path);
            return hone_fail(err, HONE_ERR_IO, "%s: has become shorter since it was opened",
                             rows->map.path);
        }
        used += (size_t)got;
    }
    const char *newline = memchr(text, '\n', used);
    *line = text;
    *size = newline ? (size_t)(newline - text) : used;
    return HONE_OK;
}

hone_status hone_rows_read(const hone_rows *rows, size_t index, json_t **row, hone_row_kind *kind,
                           hone_error *err) {
    const char *path = rows->map.path;
    char *text = NULL;
    size_t size = 0;
    *row = NULL;
    HONE_TRY(read_line(rows, index, &text, &size, err));
    /* To count lines takes long: only for a message. */
    hone_status status = hone_json_parse(text, size, path, row, NULL);
    if (status != HONE_OK)
        status =
            hone_json_parse_from(text, size, path, line_number(rows, rows->begin[index]), row, err);
    free(text);
    HONE_TRY(status);
    if (check_row(*row, kind, err) == HONE_OK) return HONE_OK;
    json_decref(*row);
    *row = NULL;
    return hone_rows_fail(rows, index, err);
}
