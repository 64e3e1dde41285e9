/*
 * Screens: what the view shows one of at a time, and how a person goes from one to another.
 *
 * A screen is a file with one const struct screen_ops. Those in screen_tabs are next to each other: Tab goes from one to the next. Enter
 * puts another screen on top (screen_push), Esc takes it away (screen_pop). To add one: write its file, and list it in screen_tabs or
 * push it from where it belongs.
 *
 * A screen asks the source by view_ask() and goes on; the answer comes to its `answered`. While it waits, and after it was taken away, nothing
 * else of it is touched by the answer.
 */
#pragma once
#include "tui/list.h"
#include "tui/request.h"

struct view;

struct screen {
	const struct screen_ops *ops;
	struct view *view;
	guint waiting;   /* the serial of what it asked; 0: nothing */
	gint64 asked_us; /* when */
};

struct screen_ops {
	const char *name; /* of its kind */
	gsize size;       /* of its struct, which begins with a struct screen */
	/* `what` it is about, as its screen_push() says; NULL for tabs. May be NULL like all below but draw. */
	void (*init)(struct screen *screen, gconstpointer what);
	void (*clear)(struct screen *screen);
	/* A few words: "Types", "dict", "0x7f…". Free with g_free(). */
	char *(*title)(const struct screen *screen);
	void (*draw)(struct screen *screen, struct frame *frame);
	/* False: the view does what it does with this key everywhere. */
	gboolean (*act)(struct screen *screen, enum action action);
	void (*click)(struct screen *screen, int y, int x, gboolean twice);
	void (*wheel)(struct screen *screen, int rows);
	void (*sampled)(struct screen *screen); /* there is a new sample */
	/* The answer; it takes request->answer by g_steal_pointer() if it keeps it. */
	void (*answered)(struct screen *screen, struct request *request);
	/* The list that search, filter and the sort menu work on; NULL: none. */
	struct list *(*list)(struct screen *screen);
	/* It was sorted, through the menu or a title. */
	void (*sorted)(struct screen *screen);
	/* Whether the bottom line offers a key here. */
	gboolean (*offers)(const struct screen *screen, enum action action);
};

/* in the order of Tab; ends with NULL */
extern const struct screen_ops *const screen_tabs[];
extern const struct screen_ops screen_types, screen_detail, screen_help, screen_instances, screen_object,
	screen_watched, screen_threads, screen_processes, screen_members;

/* The one that is shown. */
struct screen *screen_top(const struct view *view);
struct screen *screen_push(struct view *view, const struct screen_ops *ops, gconstpointer what);
/* Back to the one below; false: there is none. */
gboolean screen_pop(struct view *view);
/* Free the topmost one, whatever is below. */
void screen_drop(struct view *view);
/* Back to the lowest one. */
void screen_unwind(struct view *view);
/* What screens show has changed. */
void screens_renew(struct view *view);
gboolean screen_is_tab(const char *name);
/* Whether the view has this tab: a sum has no threads, and not every view a list of processes. */
gboolean screen_tab_offered(const struct view *view, const struct screen_ops *tab);
/* The tab of that name, in the place of all that is shown. */
void screen_go(struct view *view, const char *name);
/* The next tab, in the place of all that is shown. */
void screen_next_tab(struct view *view);

/* Ask for the screen; takes the request over. Without a source that can be asked, the screen gets an error at once. */
void view_ask(struct screen *screen, struct request *request);

/* what screens have in common */

/* The head, and the line that says where we are: "Types › dict › 0x…", `right` at its end (may be NULL). Returns the next free line. */
int draw_head(struct screen *screen, struct frame *frame, const char *right);
/* "reading…" once it takes long, or NULL. Free with g_free(). */
char *screen_waits(const struct screen *screen);

/* what screen_instances is about */
struct instances_of {
	guint64 type; /* its address */
	const char *name;
	gboolean suspect; /* it has lost references */
};
/* screen_members: a type's name. screen_object: a guint64, the address. screen_detail: nothing, it is about the row selected among the types. */
