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

/* a block of C code's memory among the holders, or on the way to one */
struct owned_block {
	uint64_t start, end;
	uint64_t parent; /* start of the block that has its address; 0: none known */
	uint32_t owner;  /* index of the object that has, or whose state it is; TABLE_NONE: none known */
};

/* one of the objects asked about */
struct asked {
	uint64_t address;
	uint32_t index; /* in the table */
	GArray *found;  /* struct found */
};

struct explaining {
	audit_t *audit;
	const struct explain_names *names;
	GArray *asked;       /* struct asked, each object once */
	uint32_t *asked_of;  /* of each object of the table: its place in `asked`, or TABLE_NONE */
	uint32_t current;    /* the object that is being walked */
	GArray *owners;      /* struct dict_owner, by dict */
	GArray *methods;     /* struct method_place, by method */
	GArray *ranges;      /* struct named_range */
	GArray *blocks;      /* struct owned_block, by start */
	struct graph *graph; /* who holds whom; NULL: not built yet */
	codes_t *codes;
	/* the one that is being told about */
	uint64_t address;
	uint32_t index;
	GArray *found;
	explanation_t *result;
};

/* explain_labels.c: names for holders */
void explain_open(struct explaining *explaining);
void explain_close(struct explaining *explaining);
/* Whether `address` lies in the state of an interpreter or thread. */
bool explain_interpreter_at(const struct explaining *explaining, uint64_t address);
/* The module whose state `address` lies in, or 0. */
uint64_t explain_module_at(const struct explaining *explaining, uint64_t address);
/* Find who owns the dicts among the holders, and who holds the bound methods. */
void explain_find_owners(struct explaining *explaining);
struct holder explain_label(struct explaining *explaining, const struct found *found);
/* How the object with index `holder` holds the reference, kept by the result's origin. */
const char *explain_label_text(struct explaining *explaining, const struct reference *reference);

/* explain_blocks.c: find whose the blocks of C code's memory among the holders are; then, the index of the owner, or TABLE_NONE */
void explain_find_blocks(struct explaining *explaining);
uint32_t explain_block_owner(const struct explaining *explaining, uint64_t address);

/* explain_referents.c */
void explain_find_referents(struct explaining *explaining);

/* explain_path.c: the graph is built when it is first needed, for all objects asked about */
void explain_find_path(struct explaining *explaining);
void explain_forget_graph(struct explaining *explaining);
