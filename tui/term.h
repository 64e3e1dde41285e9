/*
 * The terminal. The only file that knows curses: shows a frame, reads keys, mouse and resizes, and gives the terminal back on every
 * exit, crashes included.
 *
 * Between term_open() and term_close() the terminal is ours: alternate screen, no echo, no cursor, mouse reports. Fatal signals
 * (SEGV, BUS, FPE, ILL, ABRT) restore it first, then say so on stderr, then do what they do. INT, TERM, HUP, TSTP and WINCH only
 * become events, so that nobody is interrupted in the middle of something.
 */
#pragma once
#include <glib.h>

#include "tui/frame.h"

enum term_event_type {
	TERM_NOTHING,
	TERM_KEY,
	TERM_CLICK,
	TERM_DOUBLE_CLICK,
	TERM_WHEEL, /* key: rows */
	TERM_RESIZE,
	TERM_STOP, /* ^Z: term_suspend() when ready */
	TERM_END,  /* INT, TERM or HUP, or the terminal went away */
};

struct term_event {
	enum term_event_type type;
	int key; /* a character, or enum key (tui/keys.h) */
	int y, x;
};

/* Needs a terminal on stdin and stdout; errors of FACE_ERROR. */
gboolean term_open(gboolean no_color, GError **error);
/* Give the terminal back. Doing it twice is fine. */
void term_close(void);

/* Two descriptors to wait for, readable when term_read() has something: the terminal, and signals. */
int term_input_fd(void);
int term_signal_fd(void);
/* The next event, TERM_NOTHING if there is none. Never blocks. */
struct term_event term_read(void);

void term_size(int *width, int *height);
/* Show the frame; what hasn't changed is not sent. With `all`, everything is. */
void term_show(const struct frame *frame, gboolean all);
/* Give the terminal back, stop this process as ^Z does, and take the terminal again when it is continued. */
void term_suspend(void);

/* Whether the locale can show more than ASCII. */
gboolean term_is_utf8(void);
