/* base/json: jansson behind one door: limits, positions in messages, and typed look-ups.
 *
 * Values are jansson's json_t, so callers use its accessors; loading and writing go through here.
 * Duplicate keys, bad UTF-8 and nesting over jansson's limit (2048) are errors.
 */
#ifndef HONE_BASE_JSON_H
#define HONE_BASE_JSON_H

#include "base/buf.h"
#include <jansson.h>

/* Parses `size` bytes; `name` stands in messages ("config.json: line 3, column 8: ...", the end of
 * the token that is wrong). *out is a new reference. Anything after the value is an error. Integers
 * beyond 64 bits (tokenizers state lengths of 10^30) become reals. */
hone_status hone_json_parse(const char *text, size_t size, const char *name, json_t **out,
                            hone_error *err);

/* The same for text that begins in line `first_line` of the file `name`. */
hone_status hone_json_parse_from(const char *text, size_t size, const char *name, size_t first_line,
                                 json_t **out, hone_error *err);

/* Reads and parses a file of at most `limit` bytes. */
hone_status hone_json_read(const char *path, size_t limit, json_t **out, hone_error *err);

/* Appends the value as text: indented by `indent` spaces a level, on one line when 0. Members keep
 * their order; reals get the fewest digits that read back as the same. */
hone_status hone_json_format(const json_t *value, int indent, hone_buf *buf, hone_error *err);

/* Writes atomically, indented by two spaces, with a final newline. */
hone_status hone_json_write(const char *path, const json_t *value, hone_error *err);

/* Members of `object` with a default when absent or null; another type than asked is an error that
 * names `name` and the key. Integers must lie in [low, high]. Strings are borrowed. */
hone_status hone_json_get_int(const json_t *object, const char *key, const char *name, int64_t low,
                              int64_t high, int64_t fallback, int64_t *out, hone_error *err);
hone_status hone_json_get_number(const json_t *object, const char *key, const char *name,
                                 double fallback, double *out, hone_error *err);
hone_status hone_json_get_bool(const json_t *object, const char *key, const char *name,
                               bool fallback, bool *out, hone_error *err);
hone_status hone_json_get_string(const json_t *object, const char *key, const char *name,
                                 const char *fallback, const char **out, hone_error *err);

/* Building values of which some allocation may fail: `item` is taken over, and what it could not be added to is freed
 * and becomes NULL, which jansson's functions then hand on to the whole. */
void hone_json_add(json_t **array, json_t *item);
void hone_json_set(json_t **object, const char *key, json_t *item);

/* A string that may not be UTF-8 (a path, a line of another program): then its foreign bytes become '?'. */
json_t *hone_json_string(const char *text);

#endif
