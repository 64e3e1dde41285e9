#include "daemon/analysis/members.h"

#include <math.h>
#include <string.h>

#include "daemon/analysis/sum.h"

struct members {
	GPtrArray *there, *left; /* struct member *, owned; by pid, and the last one first */
	GPtrArray *all;          /* both */
	uint32_t rounds;
	guint turn; /* who is judged next */
	const struct member *news;
	int64_t news_us;
	int64_t baseline_us; /* the sum that changes count from */
	int64_t last_us;
	GArray *grown; /* of those that left */
	size_t read;
};

static void member_free(gpointer data)
{
	struct member *member = data;
	g_hash_table_destroy(member->rows);
	g_hash_table_destroy(member->noted);
	trend_free(member->trend);
	g_free(member->command);
	g_free(member->why);
	g_free(member);
}

members_t *members_new(void)
{
	members_t *members = g_new0(members_t, 1);
	members->there = g_ptr_array_new_with_free_func(member_free);
	members->left = g_ptr_array_new_with_free_func(member_free);
	members->all = g_ptr_array_new();
	members->grown = grown_new();
	return members;
}

void members_free(members_t *members)
{
	if (!members)
		return;
	g_ptr_array_unref(members->all);
	g_ptr_array_unref(members->there);
	g_ptr_array_unref(members->left);
	g_array_unref(members->grown);
	g_free(members);
}

/* ---- taking in a sum ---- */

static struct member *find(const members_t *members, const struct sample_part *part)
{
	for (guint i = 0; i < members->there->len; i++) {
		struct member *member = members->there->pdata[i];
		if (member->pid == part->pid && member->start_time_us == part->start_time_us)
			return member;
	}
	return NULL;
}

static void tell(members_t *members, const struct member *member, int64_t when_us)
{
	members->news = member;
	members->news_us = when_us;
}

static struct member *join(members_t *members, const struct sample_part *part, int64_t time_us)
{
	struct member *member = g_new0(struct member, 1);
	member->pid = part->pid;
	member->start_time_us = part->start_time_us;
	member->command = g_strdup(part->command);
	member->joined_us = time_us;
	member->trend = trend_new();
	trend_defer(member->trend, true);
	member->rows = g_hash_table_new(g_str_hash, g_str_equal);
	member->noted = noted_new();
	g_ptr_array_add(members->there, member);
	if (members->rounds > 1)
		tell(members, member, time_us);
	return member;
}

/* Its own sample with types known by their names, as in the sum. */
static void take_sample(members_t *members, struct member *member, const struct sample_part *part)
{
	const struct sample_part alone = {
		.pid = part->pid, .command = "", .sample = part->sample, .fresh = part->fresh};
	g_autoptr(sample_t) named = sum_make(&alone, 1, part->sample->time_us);
	members->read += member->last_us == 0;
	member->last_us = part->sample->time_us;
	trend_add(member->trend, named);
	g_hash_table_remove_all(member->rows);
	const GPtrArray *rows = trend_rows(member->trend);
	for (guint i = 0; i < rows->len; i++)
		g_hash_table_insert(member->rows, ((struct trend_row *)rows->pdata[i])->name, rows->pdata[i]);
}

static void judge(struct member *member)
{
	if (!member->last_us)
		return;
	trend_defer(member->trend, false);
	trend_defer(member->trend, true);
	noted_take(member->noted, member->trend);
}

static void judge_some(members_t *members)
{
	guint n = members->there->len;
	for (guint i = 0; i < MIN(n, MEMBERS_JUDGED); i++)
		judge(members->there->pdata[members->turn++ % n]);
}

static void leave(members_t *members, guint index, int64_t time_us)
{
	struct member *member = g_ptr_array_steal_index(members->there, index);
	judge(member);
	noted_report(member->noted, member->trend, (pid_t)member->pid, member->command, members->grown);
	member->left_us = time_us;
	g_ptr_array_insert(members->left, 0, member);
	tell(members, member, time_us);
	if (members->left->len > MEMBERS_LEFT)
		g_ptr_array_remove_index(members->left, members->left->len - 1);
}

static int by_pid(gconstpointer a, gconstpointer b)
{
	const struct member *x = *(struct member *const *)a, *y = *(struct member *const *)b;
	return (x->pid > y->pid) - (x->pid < y->pid);
}

void members_add(members_t *members, const sample_t *sum)
{
	members->rounds++;
	members->last_us = sum->time_us;
	for (size_t i = 0; i < sum->n_parts; i++) {
		const struct sample_part *part = &sum->parts[i];
		struct member *member = find(members, part);
		if (!member)
			member = join(members, part, sum->time_us);
		member->seen = members->rounds;
		g_free(member->why);
		member->why = g_strdup(part->why);
		if (part->sample && part->sample->time_us > member->last_us)
			take_sample(members, member, part);
	}
	for (guint i = members->there->len; i-- > 0;)
		if (((struct member *)members->there->pdata[i])->seen != members->rounds)
			leave(members, i, sum->time_us);
	g_ptr_array_sort(members->there, by_pid);
	judge_some(members);
	g_ptr_array_set_size(members->all, 0);
	for (guint i = 0; i < members->there->len; i++)
		g_ptr_array_add(members->all, members->there->pdata[i]);
	for (guint i = 0; i < members->left->len; i++)
		g_ptr_array_add(members->all, members->left->pdata[i]);
}

void members_set_baseline(members_t *members)
{
	members->baseline_us = members->last_us;
	for (guint i = 0; i < members->there->len; i++) {
		struct member *member = members->there->pdata[i];
		if (member->last_us)
			trend_set_baseline(member->trend);
	}
}

/* ---- what adding up can't say ---- */

static void add(int64_t *sum, int64_t value)
{
	*sum = *sum == SAMPLE_UNKNOWN || value == SAMPLE_UNKNOWN ? SAMPLE_UNKNOWN : *sum + value;
}

static void move_totals(const members_t *members, trend_t *trend)
{
	struct sample_totals totals = {0};
	for (guint i = 0; i < members->there->len; i++) {
		const struct member *member = members->there->pdata[i];
		if (!member->last_us)
			continue;
		const struct sample_totals *own = trend_baseline_totals(member->trend);
		add(&totals.objects, own->objects);
		add(&totals.bytes, own->bytes);
		add(&totals.refs, own->refs);
	}
	trend_move_baseline(trend, NULL, (int64_t[]){totals.objects, totals.bytes, totals.refs});
}

void members_move_baseline(const members_t *members, trend_t *trend)
{
	const GPtrArray *rows = trend_rows(trend);
	move_totals(members, trend);
	for (guint i = 0; i < rows->len; i++) {
		struct trend_row *row = rows->pdata[i];
		int64_t baseline[TREND_METRICS] = {0};
		for (guint j = 0; j < members->there->len; j++) {
			struct member_type type;
			if (!member_type(members->there->pdata[j], row->name, &type))
				continue;
			for (int m = 0; m < TREND_METRICS; m++)
				add(&baseline[m], type.baseline[m]);
		}
		trend_move_baseline(trend, row, baseline);
	}
}

void members_add_rates(const members_t *members, trend_t *trend)
{
	const GPtrArray *rows = trend_rows(trend);
	for (guint i = 0; i < rows->len; i++) {
		struct trend_row *row = rows->pdata[i];
		double rate = NAN;
		for (guint j = 0; j < members->there->len; j++) {
			struct member_type type;
			if (member_type(members->there->pdata[j], row->name, &type) && isfinite(type.rate))
				rate = (isfinite(rate) ? rate : 0) + type.rate;
		}
		row->rate = rate;
	}
}

/* ---- questions ---- */

const GPtrArray *members_all(const members_t *members)
{
	return members->all;
}

size_t members_there(const members_t *members)
{
	return members->there->len;
}

size_t members_unread(const members_t *members)
{
	size_t n = 0;
	for (guint i = 0; i < members->there->len; i++)
		n += ((struct member *)members->there->pdata[i])->why != NULL;
	return n;
}

const struct member *members_news(const members_t *members, int64_t *when_us)
{
	*when_us = members->news_us;
	/* who left long ago may be forgotten */
	return members->news && g_ptr_array_find(members->all, members->news, NULL) ? members->news : NULL;
}

bool member_type(const struct member *member, const char *name, struct member_type *type)
{
	*type = (struct member_type){.rate = NAN};
	if (!member->last_us)
		return false;
	type->row = g_hash_table_lookup(member->rows, name);
	if (!type->row) {
		type->rate = 0;
		return true;
	}
	memcpy(type->last, type->row->last, sizeof(type->last));
	memcpy(type->baseline, type->row->baseline, sizeof(type->baseline));
	type->rate = trend_samples(member->trend) > 1 ? type->row->rate : NAN;
	type->steady = type->row->growth[TREND_COUNT].verdict == GROWTH_STEADY;
	return true;
}

const struct member *members_worst(const members_t *members, const char *name, struct member_type *type)
{
	const struct member *worst = NULL;
	for (guint i = 0; i < members->there->len; i++) {
		struct member_type own;
		if (!member_type(members->there->pdata[i], name, &own) || !isfinite(own.rate) || own.rate < 1)
			continue;
		if (worst && own.rate <= type->rate)
			continue;
		worst = members->there->pdata[i];
		*type = own;
	}
	return worst;
}

GArray *members_grown(members_t *members)
{
	GArray *grown = grown_new();
	for (guint i = 0; i < members->grown->len; i++)
		grown_add(grown, &g_array_index(members->grown, struct grown, i));
	for (guint i = 0; i < members->there->len; i++) {
		struct member *member = members->there->pdata[i];
		judge(member);
		noted_report(member->noted, member->trend, (pid_t)member->pid, member->command, grown);
	}
	grown_sort(grown);
	return grown;
}

size_t members_read(const members_t *members)
{
	return members->read;
}
