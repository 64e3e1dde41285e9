/*
 * What went wrong, in words for a person and a number for a script.
 *
 * Every fallible function takes a GError ** as its last parameter. A floor has its own domain; the code is the same in
 * all of them, because it is the exit status the program ends with (the table "Exit status" of the manual).
 *
 * A message is up to three lines: what failed, the observed cause, one remedy. error_set() composes it, the faces print
 * it behind "reftop: " as it is. Text that came from the target must be escaped (base/text.h) before it gets in here.
 */
#pragma once
#include <glib.h>

enum reftop_error {
	REFTOP_ERROR_FAILED = 1,     /* anything without a number of its own */
	REFTOP_ERROR_USAGE = 2,      /* wrong options or arguments */
	REFTOP_ERROR_GONE = 3,       /* no such process, or it ended meanwhile */
	REFTOP_ERROR_DENIED = 4,     /* not permitted */
	REFTOP_ERROR_UNKNOWN = 5,    /* not a CPython, or not one this program knows */
	REFTOP_ERROR_INCOMPLETE = 6, /* the snapshot is incomplete, with --strict */
	REFTOP_ERROR_SKIPPED = 6,    /* it was not taken: --max-pause */
	REFTOP_ERROR_GATE = 7,       /* a gate tripped: diff --fail-on-growth, leaks --fail */
};

#define SYMBOLS_ERROR g_quark_from_static_string("reftop-symbols")
#define TARGET_ERROR  g_quark_from_static_string("reftop-target")
#define HEAP_ERROR    g_quark_from_static_string("reftop-heap")
#define STORE_ERROR   g_quark_from_static_string("reftop-store")
#define SOURCE_ERROR  g_quark_from_static_string("reftop-source")
#define FACE_ERROR    g_quark_from_static_string("reftop-face")

/*
 * Set *error to "<what>\n  cause: <cause>\n  fix:   <fix>". `cause` and `fix` may be NULL: the line is left out.
 * `what` is a printf format for the arguments after it. Does nothing when error is NULL.
 */
void error_set(GError **error, GQuark domain, enum reftop_error code, const char *cause, const char *fix,
	       const char *what, ...) G_GNUC_PRINTF(6, 7);
