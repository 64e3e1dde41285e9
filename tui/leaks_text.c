#include "tui/leaks_text.h"

#include <string.h>

#include "base/text.h"

static char *type_name(const char *module, const char *qualname)
{
	struct sample_type type = {.module = module, .qualname = qualname};
	return sample_type_name(&type);
}

static const char *plural(int64_t n)
{
	return n == 1 ? "" : "s";
}

/* Whether two looks confirm each other; at a file the second would see the same. */
static bool confirmed(const leaks_t *leaks)
{
	return leaks->looks > 1 && leaks->interval_us > 0;
}

static void append_header(GString *text, const leaks_t *leaks)
{
	const struct sample_target *target = &leaks->origin->target;
	const struct sample_snapshot *snapshot = &leaks->origin->snapshot;
	const struct audit_totals *totals = &leaks->totals;
	char refs[32];
	g_autofree char *cmdline = g_strjoinv(" ", (char **)target->cmdline);
	g_string_append_printf(text, "process %" G_GINT64_FORMAT "  CPython %s%s%s  %s\n", target->pid, target->python,
			       target->debug ? " debug" : "", target->free_threaded ? " free-threaded" : "", cmdline);
	if (confirmed(leaks))
		g_string_append_printf(text, "two looks, %.1f s apart", (double)leaks->interval_us / 1e6);
	else
		g_string_append(text, "one look");
	if (!strcmp(snapshot->mode, "quiet"))
		g_string_append(text, "; not stopped");
	else if (snapshot->pause_us > 0)
		g_string_append_printf(text, "; stopped for %.1f ms", (double)snapshot->pause_us / 1e3);
	/* never rounded up to a whole that it isn't */
	double explained =
		totals->refs ? 100.0 * (double)(totals->refs - totals->unexplained) / (double)totals->refs : 100.0;
	if (totals->unexplained)
		explained = MIN(explained, 99.9999);
	g_string_append_printf(text, "; %.*f %% of %s references explained%s\n\n", totals->unexplained ? 4 : 0,
			       explained, text_count(refs, totals->refs), snapshot->consistent ? "" : "; INCONSISTENT");
}

/* ---- the verdict ---- */

/* what kind of mistake loses references like that */
static const char *mistake(const struct leak_type *type)
{
	if (type->deficit && !type->unexplained)
		return "More references are held than were counted: one Py_DECREF too many (on a borrowed reference, or after it was "
		       "stolen), or a missing Py_INCREF. It will be freed while it is in use.";
	if (type->of_types)
		return "A type is kept once for each of many instances: tp_dealloc of a heap type without Py_DECREF(Py_TYPE(self)), or a "
		       "type looked up again and again and never given back.";
	if (type->orphans * 2 > type->unexplained_objects)
		return "Nobody holds these objects: a new reference was never given back. PyIter_Next, PySequence_GetItem, PyObject_Call, "
		       "PyErr_Fetch and PyErr_GetRaisedException return such; PyDict_SetItem, PyList_Append and \"O\" in Py_BuildValue don't take yours.";
	if (type->largest >= LEAKS_MANY_ON_ONE && type->unexplained_objects <= 3)
		return "The same object each time: a reference taken on a hot path (PyObject_GetAttrString, PyList_GetItem with Py_INCREF, "
		       "Py_None returned twice counted) and never given back.";
	return "The objects are in use elsewhere, and each was counted once too often: PySequence_GetItem in a loop, an extra Py_INCREF "
	       "before PyList_SetItem or PyTuple_SetItem (which take yours), or PyDict_SetItem after which yours wasn't given back.";
}

static void append_wrapped(GString *text, const char *words, const char *indent)
{
	g_auto(GStrv) parts = g_strsplit(words, " ", -1);
	size_t column = 0;
	for (char **part = parts; *part; part++) {
		if (column && column + strlen(*part) > 90) {
			g_string_append_c(text, '\n');
			column = 0;
		}
		g_string_append_printf(text, "%s%s", column ? " " : indent, *part);
		column += strlen(*part) + 1;
	}
	g_string_append_c(text, '\n');
}

static void append_moment(GString *text, const char *words, int64_t time_us)
{
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(time_us / G_USEC_PER_SEC);
	g_autofree char *told = time ? g_date_time_format(time, "%F %T") : NULL;
	g_string_append_printf(text, "%s %s", words, told ? told : "?");
}

/* What only a daemon knows, which watched it before anybody asked. */
static void append_history(GString *text, const struct leak_type *type)
{
	char rate[32];
	if (type->grows_since_us != SAMPLE_UNKNOWN) {
		append_moment(text, "  Its objects grow steadily since", type->grows_since_us);
		g_string_append_printf(text, ", by %s a minute, says the daemon.\n",
				       text_count(rate, (gint64)(type->grows_rate * 60 + 0.5)));
	}
	if (type->lost_since_us != SAMPLE_UNKNOWN) {
		append_moment(text, "  The daemon found it losing references first at", type->lost_since_us);
		g_string_append(text, ".\n");
	}
}

static void append_accusation(GString *text, const leaks_t *leaks, const struct leak_type *type)
{
	g_autofree char *name = type_name(type->module, type->qualname);
	char lost[32], objects[32], growth[32];
	if (type->unexplained)
		g_string_append_printf(text, "%s: %s reference%s to %s object%s of type %s",
				       type->growth == 0 && confirmed(leaks) ? "STEADY" : "LOST",
				       text_count(lost, type->unexplained), plural(type->unexplained),
				       text_count(objects, type->unexplained_objects),
				       plural(type->unexplained_objects), name);
	else
		g_string_append_printf(text, "DEFICIT: %s reference%s too few counted on %s object%s of type %s",
				       text_count(lost, type->deficit), plural(type->deficit),
				       text_count(objects, type->deficit_objects), plural(type->deficit_objects), name);
	if (type->growth > 0)
		g_string_append_printf(text, ", and it goes on: %s more in %.1f s.\n", text_count(growth, type->growth),
				       (double)leaks->interval_us / 1e6);
	else
		g_string_append(text, confirmed(leaks) ? "; no more between the looks.\n" : ".\n");
	append_history(text, type);
	append_wrapped(text, mistake(type), "  ");
}

static void append_verdict(GString *text, const leaks_t *leaks)
{
	size_t accused = 0, one_offs = 0, suppressed = 0;
	for (size_t i = 0; i < leaks->n_types; i++) {
		const struct leak_type *type = &leaks->types[i];
		if (type->suppressed)
			suppressed++;
		else if (type->kind == LEAK_ONE_OFF)
			one_offs++;
		else if (accused++ < 5)
			append_accusation(text, leaks, type);
	}
	if (!accused)
		g_string_append(text, "No references are lost.\n");
	else if (accused > 5)
		g_string_append_printf(text, "And %zu more types.\n", accused - 5);
	if (accused && confirmed(leaks))
		g_string_append(
			text,
			"How sure: both looks found it, and nothing in the process's memory holds these references.\n");
	else if (accused)
		g_string_append(text, "How sure: one look only; what was on its way just then may be among it.\n");
	if (one_offs)
		g_string_append_printf(
			text,
			"%zu type%s with a constant reference or two: kept once, probably when a module was loaded.\n",
			one_offs, plural((int64_t)one_offs));
	if (suppressed)
		g_string_append_printf(text, "%zu type%s suppressed.\n", suppressed, plural((int64_t)suppressed));
}

/* ---- tables ---- */

static void append_count(GString *text, int64_t count, int width)
{
	char buffer[32];
	g_string_append_printf(text, "%*s", width, count == SAMPLE_UNKNOWN ? "-" : text_count(buffer, count));
}

static void append_types(GString *text, const leaks_t *leaks, size_t rows)
{
	if (!leaks->n_types)
		return;
	g_string_append(text, "\n        LOST     GROWTH    OBJECTS    ORPHANS    DEFICIT  TYPE\n");
	for (size_t i = 0; i < leaks->n_types && i < rows; i++) {
		const struct leak_type *type = &leaks->types[i];
		g_autofree char *name = type_name(type->module, type->qualname);
		append_count(text, type->unexplained, 12);
		append_count(text, type->growth, 11);
		append_count(text, MAX(type->unexplained_objects, type->deficit_objects), 11);
		append_count(text, type->orphans, 11);
		append_count(text, type->deficit, 11);
		g_string_append_printf(text, "  %s%s%s\n", name, type->kind == LEAK_ONE_OFF ? " (one-off)" : "",
				       type->suppressed ? " (suppressed)" : "");
	}
	if (leaks->n_types > rows)
		g_string_append_printf(text, "and %zu more types\n", leaks->n_types - rows);
}

static void append_objects(GString *text, const leaks_t *leaks, size_t rows)
{
	if (!leaks->n_objects)
		return;
	g_string_append(text, "\n     REFCOUNT      EXACT   PROBABLE       LOST  OBJECT\n");
	for (size_t i = 0; i < leaks->n_objects && i < rows; i++) {
		const struct leak_object *object = &leaks->objects[i];
		g_autofree char *name = type_name(object->module, object->qualname);
		append_count(text, object->refcount, 13);
		append_count(text, object->exact, 11);
		append_count(text, object->probable, 11);
		append_count(text, object->unexplained - object->deficit, 11);
		g_string_append_printf(text, "  0x%" G_GINT64_MODIFIER "x %s %s\n", object->address, name,
				       object->value);
	}
	if (leaks->all_objects > MIN(rows, leaks->n_objects))
		g_string_append_printf(text, "and %zu more objects\n",
				       leaks->all_objects - MIN(rows, leaks->n_objects));
}

GString *leaks_text(const leaks_t *leaks, size_t rows, gboolean verbose)
{
	GString *text = g_string_new(NULL);
	append_header(text, leaks);
	append_verdict(text, leaks);
	append_types(text, leaks, rows);
	append_objects(text, leaks, rows);
	if (verbose) {
		const struct audit_totals *totals = &leaks->totals;
		g_string_append_printf(
			text,
			"\n%" G_GINT64_FORMAT " objects; %" G_GINT64_FORMAT " references exact, %" G_GINT64_FORMAT
			" probable; %" G_GINT64_FORMAT " words searched, %" G_GINT64_FORMAT " of them left over\n",
			totals->objects, totals->exact, totals->probable, totals->words, totals->spare_words);
	}
	return text;
}
