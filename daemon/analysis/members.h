/*
 * The processes of a sum (sum.h), each with a history of its own: which of eight workers grows.
 *
 * Takes in sums and keeps a trend a process, whose rows have the names of the sum's. So that many processes cost no more than some, at most
 * MEMBERS_JUDGED of them are judged with a sum, in turn. A process that has left stays listed, up to MEMBERS_LEFT of them, but is in no number.
 *
 * Pure. Times are those of the sums. One thread at a time.
 */
#pragma once
#include "daemon/analysis/noted.h"
#include "daemon/analysis/trend.h"

#define MEMBERS_JUDGED 8
#define MEMBERS_LEFT   32

struct member {
	int64_t pid, start_time_us;
	char *command;
	char *why;         /* why the last round has no sample of it; NULL: it has, or nobody tried */
	int64_t joined_us; /* the sum it came with; that of the first one means: it was there */
	int64_t last_us;   /* of its newest sample; 0: it could never be read */
	int64_t left_us;   /* 0: it is there */
	trend_t *trend;    /* its own; types of one name are one row, with the address 0 */
	/* private */
	GHashTable *rows; /* name -> struct trend_row * of its trend */
	noted_t *noted;
	uint32_t seen;
};

/* one type in one process; values SAMPLE_UNKNOWN where not known */
struct member_type {
	int64_t last[TREND_METRICS], baseline[TREND_METRICS];
	double rate;                 /* objects a minute; NAN: not known */
	bool steady;                 /* it grows steadily */
	const struct trend_row *row; /* of the member's trend; NULL: it never had such objects */
};

typedef struct members members_t;

members_t *members_new(void);
void members_free(members_t *members); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(members_t, members_free)

/* Take in a sum. */
void members_add(members_t *members, const sample_t *sum);
/* Changes count from now on, for all of them. */
void members_set_baseline(members_t *members);

/*
 * Make the rows of the sum's trend say what adding up can't: changes count from the baseline or from when a process joined, because what
 * it brings along is no growth, and what one takes away with it no shrinking; the rate is the sum of the rates of those that are there.
 * Between trend_defer(trend, true) and (…, false) for the first, after it for the second.
 */
void members_move_baseline(const members_t *members, trend_t *trend);
void members_add_rates(const members_t *members, trend_t *trend);

/* struct member *: those that are there by pid, then those that left, the last one first. Owned by `members`, as long as nothing is added. */
const GPtrArray *members_all(const members_t *members);
/* How many are there; of these, how many could not be read in the last round. */
size_t members_there(const members_t *members);
size_t members_unread(const members_t *members);
/* The one that joined or left last, and when that was; NULL: all were there from the beginning. */
const struct member *members_news(const members_t *members, int64_t *when_us);

/* What a member holds of a type. False: it could never be read. */
bool member_type(const struct member *member, const char *name, struct member_type *type);
/* The member that is there in which the type grows most, and at least an object a minute; NULL: it grows in none. */
const struct member *members_worst(const members_t *members, const char *name, struct member_type *type);

/* What grew in all there ever were, as an array of struct grown, sorted; free with g_array_unref(). */
GArray *members_grown(members_t *members);
/* How many were read at least once. */
size_t members_read(const members_t *members);
