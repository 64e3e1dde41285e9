/*
 * The live view without its terminal: samples, keys and clicks go in, a frame comes out. No system call but the saving of a file, no
 * clock but the one injected, so tests drive it like a person does.
 */
#pragma once
#include <glib.h>

#include "daemon/analysis/leaks.h"
#include "daemon/analysis/members.h"
#include "daemon/analysis/roster.h"
#include "daemon/analysis/trend.h"
#include "tui/frame.h"
#include "tui/keys.h"
#include "tui/request.h"
#include "tui/screens/screen.h"
#include "tui/screens/top.h"
#include "tui/table.h"

enum view_mode { VIEW_NORMAL, VIEW_SORTING, VIEW_SEARCHING, VIEW_FILTERING };

struct view {
	struct top_options options; /* interval_us changes with + and - */
	struct replay *
		replay; /* the history and the cursor in it (tui/screens/replay.h); NULL: samples come as they are taken */
	gboolean recording; /* the source is no living process */
	trend_t *trend;
	const struct table_column *sort; /* of view_columns */
	gboolean descending;
	GPtrArray *order;   /* all rows, struct trend_row *, as sorted */
	GPtrArray *rows;    /* those that pass the filter: what is shown */
	char *selected;     /* identity of the selected row; NULL: follow the first row */
	int selection;      /* its index in rows */
	int first_row;      /* the row at the top of the table */
	int page;           /* rows the table showed last */
	int skip;           /* columns scrolled away */
	GHashTable *tagged; /* identities */
	char *search, *filter;
	GString *prompt;      /* being typed */
	char *before_prompt;  /* selected before the search began */
	int selection_before; /* of a list */
	char *filter_before;  /* filter before its prompt began */
	GPtrArray *stack;     /* struct screen *, the last one is shown */
	enum view_mode mode;
	guint serial;                 /* of the last question */
	leaks_t *leaks;               /* what the last look at references found; NULL: there was none */
	gboolean assess;              /* look at references now and then */
	GHashTable *lost;             /* struct leak_type * of leaks by address */
	GPtrArray *watches;           /* struct watch *, in the order they began */
	members_t *members;           /* of a sum; NULL: it is one process */
	struct machine_view *machine; /* not owned; NULL: there is no list of processes */
	gboolean alone;               /* the list is all there is: nothing was chosen from it yet */
	gboolean nested;              /* there is another view to go back to */
	struct choice *choice;        /* somebody chose this; whoever runs the view takes it */
	gboolean leave;               /* somebody wants to go back */
	int menu;                     /* selected entry of the sort menu */
	int help_line;
	struct table_layout layout; /* as drawn last, for clicks */
	int title_y, table_y;
	int menu_x, menu_y, menu_width, menu_height, menu_first; /* as drawn last */
	gboolean paused, quit;
	gboolean redraw;   /* the terminal must be painted from scratch */
	char *message;     /* shown until the next key */
	char *trouble;     /* why the last sample failed; NULL: it didn't */
	gint64 ended_us;   /* when the target ended; 0: it runs */
	char *ended;       /* how, in words; NULL unknown */
	char *ended_cause; /* what the source says about it; NULL nothing */
	gint64 picture_us; /* when the picture was taken whose pause was counted last */
	/* what watching cost the target */
	gint64 stretched_us; /* the time between samples as the budget of pauses wants it; 0: it is the interval */
	gint64 pause_last_us, pause_max_us, pause_sum_us; /* SAMPLE_UNKNOWN where not measured */
};

struct watch; /* tui/screens/watches.h */

/* the list of processes: one for all views that a person goes back and forth between */
struct machine_view {
	roster_t *roster;
	GHashTable *tagged; /* pids */
	gboolean flat;      /* not as a tree */
	gboolean paused;
};

extern const struct table_column view_columns[];
extern const size_t view_columns_size;

struct view *view_new(const struct top_options *options, gboolean recording);
void view_free(struct view *view);

void view_add(struct view *view, sample_t *sample);
/* What a look at the references of the newest sample found. Taken over. */
void view_assessed(struct view *view, leaks_t *leaks);
/* The answer to a question that options.ask was given. Taken over. */
void view_answer(struct view *view, struct request *request);
/* When the screen changes by itself (as view_now()); 0: it doesn't. */
gint64 view_wake(const struct view *view);
/* Taking a sample failed, but the target lives. Takes the message over. */
void view_fail(struct view *view, char *message);
/* The target ended; `how` as top_options.ended gives it (taken over), `error` what the source said (may be NULL). */
void view_end(struct view *view, char *how, const GError *error);

void view_key(struct view *view, int key);
/* A press of the first mouse button; `twice`: a double click. */
void view_click(struct view *view, int y, int x, gboolean twice);
void view_wheel(struct view *view, int rows);

/* Fill the frame, whose size decides about the layout. */
void view_draw(struct view *view, struct frame *frame);

gint64 view_now(const struct view *view);

/* When view_wake() is due: what moves by itself moves on. */
void view_tick(struct view *view);

/* private to the view's files */

/* Show the list of processes, and nothing else. */
void view_alone(struct view *view, struct machine_view *machine);
/* Take over a look at the processes. */
void view_look(struct view *view, GPtrArray *processes, gint64 time_us);
/* Somebody wants to look at this; taken over. */
void view_choose(struct view *view, struct choice *choice);

/* Begin anew with no history: the trend, and what stood on it. */
void view_reset(struct view *view);

const struct trend_row *view_selected(const struct view *view);
char *view_identity(const struct trend_row *row);
void view_rebuild(struct view *view);
void view_sort_by(struct view *view, const struct table_column *column); /* NULL: the default order */
void view_invert(struct view *view);
void view_say(struct view *view, char *message); /* takes it over */
/* the sort menu: entry 0 is the default order (NULL), then every column that can be sorted by */
const struct table_column *menu_column(struct view *view, int entry);
int menu_entries(struct view *view);
gboolean view_matches(const struct trend_row *row, const char *text);
/* References of a type's objects that nobody holds; SAMPLE_UNKNOWN: nobody looked. */
gint64 view_unexplained(const struct view *view, const struct trend_row *row);
/* How they grew between the last two looks. */
gint64 view_unexplained_growth(const struct view *view, const struct trend_row *row);
/* The verdict, and what is to be said about lost references besides; at most `width` columns. Free with g_free(). */
char *lost_words(const struct view *view, int width, enum role *role);
/* What grows in a sum, and in which process; at most `width` columns. Free with g_free(). */
char *sum_words(const struct view *view, int width, enum role *role);
/* Who joined or left, and who could not be read; "" when there is nothing to say. Free with g_free(). */
char *sum_news(const struct view *view, int width, enum role *role);
/* Count what the picture behind an answer cost the process, once. */
void view_count_pause(struct view *view, const sample_t *origin);
/* Begin to follow an object, or end it. Says so. */
void view_watch(struct view *view, guint64 address, const char *name, gboolean on);
void view_select(struct view *view, int index);
gboolean view_search_from(struct view *view, int start, int step);
/* Sort struct trend_row * by the default order: growth, with as little movement as can be. */
void order_by_growth(GPtrArray *rows, gboolean fresh);
/* The metric a row's graph shows. */
enum trend_metric view_metric(const struct view *view, const struct trend_row *row);
/* The head of the screen from line 0 on; returns the lines it took. */
int draw_header(struct view *view, struct frame *frame, int lines);
/* The bottom line: prompt, message or keys. */
void draw_bottom(struct view *view, struct frame *frame);
