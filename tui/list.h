/*
 * A list a person moves in: rows under titles, with a selection, an order, a filter and a search. The rows are its owner's and stay where
 * they are until list_set() gives it others; the selection follows the row's identity from one set to the next.
 */
#pragma once
#include "tui/keys.h"
#include "tui/table.h"

struct list_ops {
	const struct table_column *columns;
	const size_t *n_columns;
	guint64 (*identity)(const void *row);
	char *(*words)(const void *row); /* what search and filter look in; freed with g_free() */
	const char *none;                /* said when there are no rows */
	/* draws a row that has no cells, in its whole width; false: it has. May be NULL. */
	gboolean (*draw)(struct frame *frame, int y, int x, int width, const void *row, const void *context);
	/* Whether it is marked wherever it moves. May be NULL. */
	gboolean (*tagged)(const void *row, const void *context);
};

struct list {
	const struct list_ops *ops;
	const void *context;             /* of the cells */
	const int *ranks;                /* in place of the columns' own; NULL: none */
	GPtrArray *all;                  /* as sorted */
	GPtrArray *rows;                 /* those that pass the filter */
	const struct table_column *sort; /* NULL: as they came */
	gboolean descending;
	gboolean chosen; /* somebody moved: the selection follows its row */
	guint64 selected;
	int selection, first_row, page, skip;
	char *search, *filter;
	struct table_layout layout; /* as drawn last, for clicks */
	int title_y, table_y, x, width;
};

void list_init(struct list *list, const struct list_ops *ops, const void *context);
void list_clear(struct list *list);
/* Show these rows: the pointers are copied, what they point to is not. */
void list_set(struct list *list, void *const *rows, size_t n);

void *list_selected(const struct list *list); /* NULL: none */
void list_select(struct list *list, int index);
/* Move, scroll or invert; false: the action is none of a list's. */
gboolean list_act(struct list *list, enum action action);
/* Sort by a column; by the one it is sorted by: the other way round. NULL: as they came. */
void list_sort_by(struct list *list, const struct table_column *column);
/* Only rows that contain the text; NULL or "": all. */
void list_set_filter(struct list *list, const char *text);
/* Mark the rows that contain the text; NULL or "": none. */
void list_set_search(struct list *list, const char *text);
/* Go to the next row that the search finds, from `start` on in `step`s; false: there is none. */
gboolean list_find(struct list *list, int start, int step);
gboolean list_matches(const struct list *list, const void *row, const char *text);

/* Titles and rows in `height` lines from y on, in columns x … x + width. Without `focus` no row is marked as selected. */
void list_draw(struct list *list, struct frame *frame, int y, int x, int height, int width, gboolean focus);
/* True: a row was hit, and is selected now. A click on a title sorts. */
gboolean list_click(struct list *list, int y, int x);
