/*
 * ELF files of the target: where their symbols, sections and segments are.
 *
 * Everything in such a file is foreign: it is read (never mapped, so that a file that shrinks meanwhile can't kill us),
 * and libelf checks what we don't. Addresses are link-time ones; add the bias (elf_bias()) to have those of the running
 * process.
 */
#pragma once
#include <elfutils/libdwelf.h>
#include <gelf.h>
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "symbols/maps.h"

typedef struct elf_file {
	int fd; /* owned */
	Elf *elf;
	bool position_fixed; /* ET_EXEC: the bias is 0 */
	GElf_Phdr *segments; /* the PT_LOADs, in the file's order (ascending addresses) */
	size_t n_segments;
} elf_file_t;

struct elf_symbol {
	const char *name; /* what to look for */
	uint64_t value, size;
	bool found;
	bool ambiguous; /* several local symbols of this name, with different addresses; value is the first one's */
};

struct elf_section {
	uint64_t address; /* link-time; 0 when it isn't loaded */
	uint64_t offset, size;
};

/*
 * Take the open descriptor `fd` (closed by elf_close(), and on error) as a 64-bit little-endian x86-64 ELF file. `name`
 * is for the error text, already escaped. Errors: FAILED (corrupt), UNKNOWN (not ELF, or of another machine).
 */
struct elf_file *elf_open(int fd, const char *name, GError **error);
void elf_close(struct elf_file *elf);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(elf_file_t, elf_close)

/*
 * Fill in `symbols` from .dynsym and .symtab: defined ones only, a global one before a local one. A local symbol that
 * the compiler renamed (`arenas.lto_priv.0`, `arenas.part.0`) counts as `arenas`. Returns how many were found.
 */
size_t elf_symbols_find(const struct elf_file *elf, struct elf_symbol *symbols, size_t n);

/*
 * The variable or function that link-time `address` lies in, as "name+0x8" (or "name"), escaped; NULL: no symbol covers it. Free with
 * g_free().
 */
char *elf_symbol_at(const struct elf_file *elf, uint64_t address);

bool elf_section_find(const struct elf_file *elf, const char *name, struct elf_section *section);

/* Copy bytes the file gives for a link-time address (what is beyond the file's part of a segment reads as 0). */
bool elf_read(const struct elf_file *elf, uint64_t address, void *out, uint64_t size);

/* The build-id in hexadecimal, or NULL; free with g_free(). */
char *elf_build_id(const struct elf_file *elf);

/* The file name in .gnu_debuglink (no directories in it) and the checksum of that file, or NULL; free with g_free(). */
char *elf_debuglink(const struct elf_file *elf, uint32_t *checksum);

/*
 * Where the file lies in memory: [*start, *end) over all its segments, the part of .bss that has no file behind it
 * included, and what to add to link-time addresses. `mapping` is one of the file's mappings. False: the mappings aren't
 * those of a loaded ELF.
 */
bool elf_bias(const struct elf_file *elf, const struct maps *maps, const struct mapping *mapping, uint64_t *bias,
	      uint64_t *start, uint64_t *end);
