/* kernels/variants: prototypes of every row of kernels.def, for the table and for the files that
 * define them. Layer kernels; not for other layers. */
#ifndef HONE_KERNELS_VARIANTS_H
#define HONE_KERNELS_VARIANTS_H

#include "base/cpu.h"
#include "kernels/kernels.h"

#define HONE_TIER(name, needs)
#define HONE_KERNEL(op, type, variant, needs) type hone_##op##_##variant;
#include "kernels/kernels.def"
#undef HONE_KERNEL
#undef HONE_TIER

#endif
