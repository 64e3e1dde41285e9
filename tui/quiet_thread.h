/* A thread beside the view's: signals are the main thread's. */
#pragma once
#include <glib.h>

/* All signals are blocked in it, but those of a crash, which must reach the handler that gives the terminal back (tui/term.h). */
GThread *quiet_thread(const char *name, GThreadFunc function, gpointer data);
