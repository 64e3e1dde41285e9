/*
 * Tables of rows and columns, driven by one const table of columns: it feeds the titles, the sort menu and its keys, widths, alignment,
 * the text of cells and the order.
 *
 * The first column is fixed. Of the others as many are shown as fit; columns with a low rank go first when room is short, and what
 * room is left makes columns as wide as they want to be. Scrolled sideways, the columns behind the first leave one by one.
 */
#pragma once
#include <glib.h>

#include "tui/frame.h"

#define TABLE_MAX_COLUMNS 24
#define TABLE_NEVER       100 /* a rank: the column is not there, and can't be scrolled to */
#define TABLE_CELL        320 /* bytes of a cell's text */

struct table_column {
	const char *id; /* sort key, as after --sort */
	const char *title;
	const char *help;
	int min, want;      /* columns of the screen; titles have at most `min` */
	int max;            /* the widest it makes use of; 0: want */
	int ease;           /* the width it has before columns of a higher rank come; 0: min */
	int rank;           /* 0: always there; higher ones come when all lower ones have room */
	gboolean left;      /* aligned left */
	gboolean ascending; /* sorted so unless inverted */
	/* the cell as text of at most `width` columns; "-" where it is not known */
	void (*text)(const void *row, const void *context, int width, char out[TABLE_CELL]);
	/* or drawn; one of both is set, unless the column only sorts */
	void (*draw)(struct frame *frame, int y, int x, int width, const void *row, const void *context);
	/* ascending; NULL: can't be sorted by */
	int (*compare)(const void *a, const void *b, const void *context);
	/* ROLE_TEXT when NULL */
	enum role (*role)(const void *row, const void *context);
};

struct table_place {
	const struct table_column *column;
	int x, width;
};

struct table_layout {
	int n;
	struct table_place places[TABLE_MAX_COLUMNS];
	int hidden; /* columns that didn't fit, to the right */
};

/*
 * Lay `n` columns out over x … x + width, the first `name_width` wide if there is room; `skip` columns are scrolled away. `ranks` (NULL:
 * none) stand in place of the columns' own.
 */
void table_arrange(struct table_layout *layout, const struct table_column *columns, size_t n, const int *ranks, int x,
		   int width, int name_width, int skip);

/* The line of titles; `sorted` (may be NULL) has an arrow. */
void table_draw_titles(struct frame *frame, int y, const struct table_layout *layout, const struct table_column *sorted,
		       gboolean descending);

void table_draw_row(struct frame *frame, int y, const struct table_layout *layout, const void *row,
		    const void *context);

/* The column at screen column x, or NULL. */
const struct table_column *table_column_at(const struct table_layout *layout, int x);

/* Cells of numbers: `value` in at most `width` columns, exact with separators if that fits, else like "4.81M"; "-" when unknown (-1). */
void table_count(char out[TABLE_CELL], int width, gint64 value);
/* With a sign. Here -1 is a number: the caller knows whether it is known. */
void table_change(char out[TABLE_CELL], int width, gint64 value);
void table_bytes(char out[TABLE_CELL], gint64 value);
void table_bytes_change(char out[TABLE_CELL], gint64 value);
