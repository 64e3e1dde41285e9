/* What the files of explain.h share. */
#pragma once
#include "daemon/analysis/explain.h"
#include "daemon/heap/frames.h"

/* a reference to the object, as it was met */
struct found {
	uint32_t holder; /* index of the object it was met in, TABLE_NONE: in none */
	struct reference reference;
	bool searched; /* a word found by searching, not by walking a structure */
};

/* a dict's owner: the module, instance or type whose attributes it holds */
struct dict_owner {
	uint64_t dict;
	uint32_t owner; /* index */
};

/* where a bound method among the holders is held in turn */
struct method_place {
	uint64_t method;
	uint32_t holder; /* index; TABLE_NONE: nobody known */
	struct reference reference;
};

/* memory of somebody known by name */
struct named_range {
	uint64_t start, end;
	uint64_t owner; /* module whose state it is; 0: the interpreter or a thread */
	const char *what;
};

struct explaining {
	audit_t *audit;
	uint64_t address;
	uint32_t index; /* of the object in the table */
	explanation_t *result;
	const struct explain_names *names;
	GArray *found; /* struct found */
	uint32_t current;
	GArray *owners;  /* struct dict_owner, by dict */
	GArray *methods; /* struct method_place, by method */
	GArray *ranges;  /* struct named_range */
	codes_t *codes;
};

/* explain_labels.c: names for holders */
void explain_open(struct explaining *explaining);
void explain_close(struct explaining *explaining);
/* Whether `address` lies in the state of an interpreter or thread. */
bool explain_interpreter_at(const struct explaining *explaining, uint64_t address);
/* Find who owns the dicts among the holders, and who holds the bound methods. */
void explain_find_owners(struct explaining *explaining);
struct holder explain_label(struct explaining *explaining, const struct found *found);
/* How the object with index `holder` holds the reference, kept by the result's origin. */
const char *explain_label_text(struct explaining *explaining, const struct reference *reference);

/* explain_referents.c */
void explain_find_referents(struct explaining *explaining);

/* explain_path.c */
void explain_find_path(struct explaining *explaining);
