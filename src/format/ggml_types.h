/* format/ggml_types: the numbers that GGUF gives to tensor types. Private to the layer. */
#ifndef HONE_FORMAT_GGML_TYPES_H
#define HONE_FORMAT_GGML_TYPES_H

#include "base/dtype.h"

/* The type's name as the ggml project spells it, NULL for a number it never used. */
const char *hone_ggml_type_name(uint32_t type);

/* False when hone does not read the type. */
bool hone_ggml_type_dtype(uint32_t type, hone_dtype *dtype);

#endif
