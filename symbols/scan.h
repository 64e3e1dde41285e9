/*
 * Finding an interpreter's roots without symbols (stripped, or linked without --export-dynamic): by what they point to.
 */
#pragma once
#include <glib.h>

#include "symbols/elf.h"
#include "symbols/interpreter.h"

/*
 * The address of _PyRuntime by the cookie of 3.13 and later in the writable segments; 0: none. `version` and
 * `free_threaded` get what stands behind it.
 */
uint64_t scan_cookie(const struct elf_file *elf, uint64_t bias, const struct interpreter_access *access,
		     uint32_t *version, bool *free_threaded);

/*
 * The word of the image that heads the list of interpreters, by the layout in found->layout: it points to an
 * interpreter whose thread points back. From 3.7 on a second such word follows it (head, main). 0: none, or several
 * that differ.
 */
uint64_t scan_interpreters(const struct elf_file *elf, const struct interpreter *found, const struct maps *maps,
			   const struct interpreter_access *access);

/* 3.6: the word that points to the first of three circular lists with sane thresholds; 0: none. */
uint64_t scan_generations(const struct elf_file *elf, const struct interpreter *found,
			  const struct interpreter_access *access);

/*
 * The static `arenas` of Objects/obmalloc.c (<= 3.11): a word that points to an array of arena_object whose first used
 * one describes an arena. `maxarenas` is the neighbour that fits. False: there is none (PYTHONMALLOC=malloc) or it
 * can't be told.
 */
bool scan_arenas(const struct elf_file *elf, const struct interpreter *found, const struct maps *maps,
		 const struct interpreter_access *access, uint64_t *arenas, uint64_t *maxarenas);
