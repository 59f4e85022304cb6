/* eval/compile_object: see compile_object.h. It looks at program headers, the dynamic section and relocations, which
 * are what the loader goes by; sections serve to name what was found. */
#include "eval/compile_object.h"

#include <elf.h>
#include <string.h>

#if defined(__aarch64__)
enum { MACHINE = EM_AARCH64, RELATIVE = 1027, FIRST_PLAIN = 1025, LAST_PLAIN = 1026, WORD = 257 };
#else
enum { MACHINE = EM_X86_64, RELATIVE = 8, FIRST_PLAIN = 6, LAST_PLAIN = 7, WORD = 1 };
#endif

enum { MAX_SEGMENTS = 64, MAX_TAGS = 256, PAGE = 4096, NAME_LIMIT = 256 };

enum { TAGS = DT_JMPREL + 1 }; /* tags below are kept */

typedef struct object {
    const char *bytes;
    size_t size;
    Elf64_Ehdr header;
    Elf64_Phdr segments[MAX_SEGMENTS]; /* those that are loaded, ascending */
    int count;
    Elf64_Phdr relro, dynamic; /* of type PT_NULL where there is none */
    Elf64_Xword tag[TAGS];     /* by its number; 0 where there is none */
    uint32_t symbols;
    hone_buf *why;
    bool good;
} object;

static void refuse(object *o, const char *format, const char *what) {
    hone_buf text = hone_buf_make(1024);
    o->good = false;
    if (hone_buf_printf(&text, NULL, "kernels.c: error: ") == HONE_OK &&
        hone_buf_printf(&text, NULL, format, what) == HONE_OK &&
        hone_buf_append_char(&text, '\n', NULL) == HONE_OK)
        (void)hone_buf_append(o->why, text.data, text.size, NULL);
    hone_buf_free(&text);
}

static bool refuse_file(object *o, const char *what) {
    refuse(o, "the shared object cannot be understood: %s", what);
    return false;
}

/* ---- reading ------------------------------------------------------------------------------------- */

static bool read_at(const object *o, uint64_t offset, void *out, size_t size) {
    if (offset > o->size || size > o->size - offset) return false;
    memcpy(out, o->bytes + offset, size);
    return true;
}

/* The same by the address that the loader would give it. */
static bool read_loaded(const object *o, uint64_t address, void *out, size_t size) {
    for (int i = 0; i < o->count; i++) {
        const Elf64_Phdr *s = &o->segments[i];
        if (address < s->p_vaddr || address - s->p_vaddr > s->p_filesz) continue;
        uint64_t into = address - s->p_vaddr;
        return size <= s->p_filesz - into && s->p_offset <= o->size &&
               read_at(o, s->p_offset + into, out, size);
    }
    return false;
}

/* A name out of a table of `limit` bytes; what is no printable character becomes '?'. */
static bool take_name(const char *from, size_t limit, char name[NAME_LIMIT]) {
    for (size_t i = 0; i < limit && i < NAME_LIMIT; i++) {
        name[i] = from[i];
        if (from[i] == 0) return true;
        if (from[i] <= ' ' || from[i] >= 0x7f) name[i] = '?';
    }
    name[0] = 0;
    return false;
}

static bool dynamic_symbol(const object *o, uint64_t index, Elf64_Sym *symbol,
                           char name[NAME_LIMIT]) {
    char text[NAME_LIMIT] = "";
    name[0] = 0;
    if (index >= o->symbols ||
        !read_loaded(o, o->tag[DT_SYMTAB] + index * sizeof *symbol, symbol, sizeof *symbol) ||
        symbol->st_name >= o->tag[DT_STRSZ])
        return false;
    size_t left = o->tag[DT_STRSZ] - symbol->st_name;
    if (left > sizeof text) left = sizeof text;
    return read_loaded(o, o->tag[DT_STRTAB] + symbol->st_name, text, left) &&
           take_name(text, left, name);
}

/* Where a variable of the source may lie. */
typedef struct wanted {
    bool thread;         /* one of each thread's own */
    bool code;           /* among the instructions */
    uint64_t begin, end; /* else: an address in [begin, end) */
} wanted;

static bool is_executable(const object *o, unsigned index) {
    Elf64_Shdr section;
    return index != SHN_UNDEF && index < o->header.e_shnum &&
           read_at(o, o->header.e_shoff + index * sizeof section, &section, sizeof section) &&
           section.sh_flags & SHF_EXECINSTR;
}

static bool is_wanted(const object *o, const Elf64_Sym *symbol, const wanted *w) {
    unsigned type = ELF64_ST_TYPE(symbol->st_info);
    if (symbol->st_size == 0 || type != (w->thread ? STT_TLS : STT_OBJECT)) return false;
    if (w->thread) return true;
    if (w->code) return is_executable(o, symbol->st_shndx);
    return symbol->st_value >= w->begin && symbol->st_value < w->end;
}

/* The first such variable. False, and "", where no table names one. */
static bool find_variable(const object *o, const wanted *w, char name[NAME_LIMIT]) {
    Elf64_Shdr table, strings;
    Elf64_Sym symbol;
    name[0] = 0;
    for (unsigned i = 0; i < o->header.e_shnum; i++) {
        if (!read_at(o, o->header.e_shoff + i * sizeof table, &table, sizeof table)) return false;
        if (table.sh_type != SHT_SYMTAB || table.sh_link >= o->header.e_shnum ||
            !read_at(o, o->header.e_shoff + table.sh_link * sizeof strings, &strings,
                     sizeof strings))
            continue;
        for (uint64_t k = 0; k < table.sh_size / sizeof symbol; k++) {
            if (!read_at(o, table.sh_offset + k * sizeof symbol, &symbol, sizeof symbol))
                return false;
            if (!is_wanted(o, &symbol, w)) continue;
            uint64_t at = strings.sh_offset + symbol.st_name;
            if (at < o->size && take_name(o->bytes + at, o->size - at, name)) return true;
        }
    }
    return false;
}

/* ---- segments ------------------------------------------------------------------------------------ */

static bool take_segment(object *o, const Elf64_Phdr *s) {
    if (s->p_type == PT_GNU_RELRO) o->relro = *s;
    if (s->p_type == PT_DYNAMIC) o->dynamic = *s;
    if (s->p_type == PT_TLS && s->p_memsz > 0) {
        char name[NAME_LIMIT];
        find_variable(o, &(wanted){.thread = true}, name);
        refuse(o, "threads have data of their own here (%s): kernels keep nothing between calls",
               name[0] ? name : "section .tdata or .tbss");
    }
    if (s->p_type == PT_GNU_STACK && s->p_flags & PF_X)
        refuse(o, "it wants a stack that can be executed%s", "");
    if (s->p_type == PT_INTERP) return refuse_file(o, "it is a program");
    if (s->p_type != PT_LOAD) return true;
    if (s->p_flags & PF_W && s->p_flags & PF_X)
        refuse(o, "it has memory that can be written and executed%s", "");
    if (s->p_vaddr > UINT64_MAX / 2 || s->p_memsz > UINT64_MAX / 4 || s->p_filesz > s->p_memsz)
        return refuse_file(o, "a segment's sizes");
    const Elf64_Phdr *last = o->count > 0 ? &o->segments[o->count - 1] : NULL;
    if (last && s->p_vaddr / PAGE < (last->p_vaddr + last->p_memsz + PAGE - 1) / PAGE)
        return refuse_file(o, "segments that overlap");
    o->segments[o->count++] = *s;
    return true;
}

static bool take_segments(object *o) {
    Elf64_Ehdr *h = &o->header;
    if (!read_at(o, 0, h, sizeof *h) || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 ||
        h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB ||
        h->e_type != ET_DYN || h->e_machine != MACHINE || h->e_phentsize != sizeof(Elf64_Phdr) ||
        h->e_phnum > MAX_SEGMENTS)
        return refuse_file(o, "its header");
    for (int i = 0; i < h->e_phnum; i++) {
        Elf64_Phdr segment;
        if (!read_at(o, h->e_phoff + (uint64_t)i * sizeof segment, &segment, sizeof segment))
            return refuse_file(o, "its program headers");
        if (!take_segment(o, &segment)) return false;
    }
    return true;
}

/* The loader takes the right to write away from whole pages, so a page that is not wholly its own stays writable. */
static void check_writable(object *o) {
    uint64_t begin = o->relro.p_vaddr / PAGE * PAGE, end = 0;
    if (o->relro.p_type == PT_GNU_RELRO && o->relro.p_vaddr < UINT64_MAX / 2 &&
        o->relro.p_memsz < UINT64_MAX / 4)
        end = (o->relro.p_vaddr + o->relro.p_memsz) / PAGE * PAGE;
    for (int i = 0; i < o->count; i++) {
        const Elf64_Phdr *s = &o->segments[i];
        if (!(s->p_flags & PF_W) || s->p_memsz == 0) continue;
        if (s->p_vaddr >= begin && s->p_vaddr + s->p_memsz <= end) continue;
        char name[NAME_LIMIT];
        uint64_t from = s->p_vaddr < end ? end : s->p_vaddr;
        find_variable(o, &(wanted){.begin = from, .end = s->p_vaddr + s->p_memsz}, name);
        refuse(o,
               "it has data that can be written (%s): kernels keep nothing between calls; make it "
               "const, or take memory from the host",
               name[0] ? name : "section .data or .bss");
        return;
    }
}

/* Instructions that no compiler wrote, as a table of numbers among those that it did. */
static void check_code(object *o) {
    char name[NAME_LIMIT];
    if (find_variable(o, &(wanted){.code = true}, name))
        refuse(o, "it has data that can be executed (%s): leave sections to the compiler", name);
}

/* ---- the dynamic section --------------------------------------------------------------------------- */

/* What links with -z now and -Bsymbolic leave there, and the processor's few. */
static bool known_tag(Elf64_Sxword tag) {
    switch (tag) {
    case DT_NEEDED:
    case DT_PLTRELSZ:
    case DT_PLTGOT:
    case DT_HASH:
    case DT_STRTAB:
    case DT_SYMTAB:
    case DT_RELA:
    case DT_RELASZ:
    case DT_RELAENT:
    case DT_STRSZ:
    case DT_SYMENT:
    case DT_SYMBOLIC:
    case DT_PLTREL:
    case DT_JMPREL:
    case DT_BIND_NOW:
    case DT_FLAGS:
    case DT_RELACOUNT:
    case DT_VERSYM:
    case DT_VERNEED:
    case DT_VERNEEDNUM:
    case DT_FLAGS_1:
        return true;
    default:
        return (tag >= 35 && tag <= 37) /* DT_RELR: relative ones, packed */ ||
               (tag >= DT_LOPROC && tag < DT_LOPROC + 16);
    }
}

static bool runs_code(Elf64_Sxword tag) {
    return tag == DT_INIT || tag == DT_FINI || tag == DT_INIT_ARRAY || tag == DT_FINI_ARRAY ||
           tag == DT_INIT_ARRAYSZ || tag == DT_FINI_ARRAYSZ || tag == DT_PREINIT_ARRAY ||
           tag == DT_PREINIT_ARRAYSZ;
}

static void check_tag(object *o, const Elf64_Dyn *entry) {
    const uint64_t flags = entry->d_un.d_val;
    if (runs_code(entry->d_tag)) {
        /* An array and its size are one thing, told once. */
        bool size = entry->d_tag == DT_INIT_ARRAYSZ || entry->d_tag == DT_FINI_ARRAYSZ ||
                    entry->d_tag == DT_PREINIT_ARRAYSZ;
        if (!size)
            refuse(o, "%s runs code when it is loaded or unloaded: constructors are not allowed",
                   entry->d_tag == DT_INIT || entry->d_tag == DT_FINI ? "a function _init or _fini"
                                                                      : "section .init_array");
        o->good = false;
    } else if (entry->d_tag == DT_TEXTREL ||
               (entry->d_tag == DT_FLAGS && flags & (DF_TEXTREL | DF_STATIC_TLS))) {
        refuse(o, "its code or constants would be changed when it is loaded (%s)", "DT_TEXTREL");
    } else if (!known_tag(entry->d_tag)) {
        char text[32];
        hone_buf number = hone_buf_make(sizeof text);
        (void)hone_buf_printf(&number, NULL, "0x%llx", (unsigned long long)entry->d_tag);
        refuse(o, "the dynamic section asks the loader for more than kernels need (tag %s)",
               number.data ? number.data : "");
        hone_buf_free(&number);
    }
}

static bool take_dynamic(object *o) {
    Elf64_Dyn entry = {.d_tag = DT_NULL};
    uint32_t hash[2];
    if (o->dynamic.p_type != PT_DYNAMIC) return refuse_file(o, "no dynamic section");
    for (uint64_t i = 0; i < MAX_TAGS; i++) {
        if (!read_loaded(o, o->dynamic.p_vaddr + i * sizeof entry, &entry, sizeof entry))
            return refuse_file(o, "its dynamic section");
        if (entry.d_tag == DT_NULL) break;
        check_tag(o, &entry);
        if (entry.d_tag > 0 && entry.d_tag < TAGS) o->tag[entry.d_tag] = entry.d_un.d_val;
    }
    if (entry.d_tag != DT_NULL) return refuse_file(o, "its dynamic section has no end");
    /* Links with --hash-style=sysv, whose table tells how many symbols there are. */
    if (!o->tag[DT_HASH] || !read_loaded(o, o->tag[DT_HASH], hash, sizeof hash))
        return refuse_file(o, "no table of symbols");
    o->symbols = hash[1];
    return true;
}

/* ---- imports --------------------------------------------------------------------------------------- */

/* Of the C library: what compilers make calls to by themselves where memory is copied, set, compared or searched, and
 * its like. None keeps anything from one call to the next. The last ones end the process, which is a verdict: assert,
 * and what compilers that come with these checks switched on put in. */
static const char *const plain[] = {"memcpy",  "memmove",      "memset",        "memcmp",
                                    "bcmp",    "memchr",       "strlen",        "strcmp",
                                    "strncmp", "strchr",       "strrchr",       "strcpy",
                                    "strncpy", "__memcpy_chk", "__memmove_chk", "__memset_chk",
                                    "bsearch", "abort",        "__assert_fail", "__stack_chk_fail"};

/* Of math.h, each also with an f behind it. Without those that set a variable (lgamma: signgam). */
static const char *const math[] = {
    "acos",      "acosh",     "asin",  "asinh",     "atan",   "atan2",  "atanh",   "cbrt",
    "ceil",      "copysign",  "cos",   "cosh",      "erf",    "erfc",   "exp",     "exp10",
    "exp2",      "expm1",     "fabs",  "fdim",      "floor",  "fma",    "fmax",    "fmin",
    "fmod",      "frexp",     "hypot", "ilogb",     "ldexp",  "llrint", "llround", "log",
    "log10",     "log1p",     "log2",  "logb",      "lrint",  "lround", "modf",    "nan",
    "nearbyint", "nextafter", "pow",   "remainder", "remquo", "rint",   "round",   "roundeven",
    "scalbln",   "scalbn",    "sin",   "sincos",    "sinh",   "sqrt",   "tan",     "tanh",
    "tgamma",    "trunc"};

static bool is_math(const char *name) {
    for (size_t i = 0; i < sizeof math / sizeof math[0]; i++) {
        size_t size = strlen(math[i]);
        if (strncmp(name, math[i], size) != 0) continue;
        if (name[size] == 0 || (name[size] == 'f' && name[size + 1] == 0)) return true;
    }
    return false;
}

/* What a kernel may call. _ZGV..._expf is expf on vectors, which -lm brings along. */
static bool is_allowed(const char *name) {
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (strcmp(name, plain[i]) == 0) return true;
    if (strncmp(name, "_ZGV", 4) != 0) return is_math(name);
    const char *of = strchr(name + 4, '_');
    return of && is_math(of + 1);
}

/* By name, whether the object has the symbol itself or not: the loader would prefer another's. */
static void check_relocation(object *o, const Elf64_Rela *r) {
    const uint64_t type = ELF64_R_TYPE(r->r_info), index = ELF64_R_SYM(r->r_info);
    Elf64_Sym symbol;
    char name[NAME_LIMIT];
    if (type == RELATIVE && index == 0) return;
    if (type < FIRST_PLAIN ? type != WORD : type > LAST_PLAIN) {
        refuse(o, "a function would be chosen, or a thread's data found, when it is loaded (%s)",
               "an indirect function, ifunc, or _Thread_local");
    } else if (!dynamic_symbol(o, index, &symbol, name)) {
        refuse_file(o, "a symbol that it needs");
    } else if (!is_allowed(name)) {
        refuse(o,
               "it needs %s: kernels call nothing but the functions of math.h for float and "
               "double, and those that move or compare memory; memory comes from the host",
               name);
    }
}

static void check_relocations(object *o, uint64_t table, uint64_t bytes) {
    Elf64_Rela relocation;
    for (uint64_t i = 0; i < bytes / sizeof relocation && o->why->size < o->why->limit / 2; i++) {
        if (!read_loaded(o, table + i * sizeof relocation, &relocation, sizeof relocation)) {
            refuse_file(o, "its relocations");
            return;
        }
        check_relocation(o, &relocation);
    }
}

static void check_symbols(object *o) {
    Elf64_Sym symbol;
    char name[NAME_LIMIT];
    for (uint32_t i = 1; i < o->symbols; i++) {
        if (!dynamic_symbol(o, i, &symbol, name)) {
            refuse_file(o, "its symbols");
            return;
        }
        if (ELF64_ST_TYPE(symbol.st_info) == STT_GNU_IFUNC) {
            refuse(o,
                   "%s is an indirect function (ifunc), which is chosen by code when it is loaded",
                   name);
            return;
        }
    }
}

bool hone_check_object(const char *bytes, size_t size, hone_buf *why) {
    object o = {.bytes = bytes, .size = size, .why = why, .good = true};
    if (!take_segments(&o)) return false;
    check_writable(&o);
    check_code(&o);
    if (!take_dynamic(&o)) return false;
    check_symbols(&o);
    check_relocations(&o, o.tag[DT_RELA], o.tag[DT_RELASZ]);
    check_relocations(&o, o.tag[DT_JMPREL], o.tag[DT_PLTRELSZ]);
    return o.good;
}
