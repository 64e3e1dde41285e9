/*
 * Where an interpreter's layout comes from: DWARF of its own (in the file or in a separate debug file),
 * _Py_DebugOffsets over a built-in table, the built-in table. Each gives candidates; which one is true the process
 * itself says (symbols/validate.h).
 */
#pragma once
#include <glib.h>

#include "symbols/elf.h"
#include "symbols/interpreter.h"

/* what is known of the interpreter when its layout is looked for */
struct layout_question {
	const struct elf_file *elf;
	const char *path; /* of the file, as the target sees it, not escaped */
	const struct interpreter_access *access;
	uint32_t version;
	bool debug, free_threaded, trace_refs;
	bool kind_known;  /* debug and trace_refs are sure, not only what the file's name says */
	uint64_t runtime; /* 0: unknown */
};

struct layout_candidate {
	enum layout_origin origin;
	bool debug, trace_refs; /* the build kind it is of; may be another one than asked for when that has no table */
	struct py_layout layout;
};

/* All candidates, the most trustworthy first (of struct layout_candidate); empty: nothing is known of this version and
 * kind. */
GArray *layout_candidates(const struct layout_question *question);
