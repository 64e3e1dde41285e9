/* What is known about references that nobody holds: numbers for the table, words for the verdict. */
#include "base/text.h"
#include "tui/screens/verdict.h"
#include "tui/screens/view.h"

void view_assessed(struct view *view, leaks_t *leaks)
{
	leaks_free(view->leaks);
	view->leaks = leaks;
	if (!view->lost)
		view->lost = g_hash_table_new(NULL, NULL);
	g_hash_table_remove_all(view->lost);
	for (size_t i = 0; i < leaks->n_types; i++)
		g_hash_table_insert(view->lost, GSIZE_TO_POINTER(leaks->types[i].address), &leaks->types[i]);
	view_rebuild(view);
}

gint64 view_unexplained(const struct view *view, const struct trend_row *row)
{
	if (!view->leaks)
		return SAMPLE_UNKNOWN;
	const struct leak_type *type = g_hash_table_lookup(view->lost, GSIZE_TO_POINTER(row->address));
	return type ? type->unexplained : 0;
}

gint64 view_unexplained_growth(const struct view *view, const struct trend_row *row)
{
	const struct leak_type *type =
		view->leaks ? g_hash_table_lookup(view->lost, GSIZE_TO_POINTER(row->address)) : NULL;
	return type && type->growth > 0 ? type->growth : 0;
}

/* The type that loses most: one that does so now if there is one. */
static const struct leak_type *worst(const leaks_t *leaks)
{
	for (size_t i = 0; i < leaks->n_types; i++)
		if (leaks->types[i].kind != LEAK_ONE_OFF && leaks->types[i].unexplained > 0)
			return &leaks->types[i];
	return NULL;
}

/* "; 38,402 references unexplained (+12 since the look before)", shorter with each `detail`; named unless the verdict names the type. */
static char *clause(const struct leak_type *type, const char *name, int detail)
{
	char count[32], growth[32];
	const char *colon = *name ? ": " : "";
	text_count(count, type->unexplained);
	if (detail > 1)
		return g_strdup_printf("%s%s%s unexplained", name, colon, count);
	if (detail || type->kind != LEAK_GROWING || type->growth <= 0)
		return g_strdup_printf("%s%s%s references unexplained", name, colon, count);
	return g_strdup_printf("%s%s%s references unexplained (+%s since the look before)", name, colon, count,
			       text_count(growth, type->growth));
}

char *lost_words(const struct view *view, int width, enum role *role)
{
	g_autofree char *words = verdict_words(view->trend, width, role);
	const struct leak_type *type = view->leaks ? worst(view->leaks) : NULL;
	if (!type)
		return g_steal_pointer(&words);
	g_autofree char *name =
		sample_type_name(&(struct sample_type){.module = type->module, .qualname = type->qualname});
	g_autofree char *named = g_strdup_printf("%s: ", name), *brief = text_elide(name, 20);
	gboolean alarm = *role == ROLE_ALARM, grows = type->kind == LEAK_GROWING;
	*role = grows || alarm ? ROLE_ALARM : ROLE_WARNING;
	for (int detail = 0; detail < 3; detail++) {
		enum role same;
		g_autofree char *lost = clause(type,
					       g_str_has_prefix(words, named) ? ""
					       : detail > 1                   ? brief
									      : name,
					       detail);
		int room = width - text_columns(lost) - 2;
		if (room < 24)
			continue;
		g_autofree char *first = verdict_words(view->trend, room, &same);
		if (text_columns(first) <= room)
			return g_strdup_printf("%s; %s", first, lost);
	}
	/* one of both: a cache may grow, but a reference that is lost stays lost */
	if (alarm && !grows)
		return g_steal_pointer(&words);
	g_autofree char *lost = clause(type, name, 1);
	return text_elide(lost, width);
}
