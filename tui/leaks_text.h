/* A verdict on leaks in words for a person. */
#pragma once
#include <glib.h>

#include "daemon/analysis/leaks.h"

/* At most `rows` types and objects. */
GString *leaks_text(const leaks_t *leaks, size_t rows, gboolean verbose);
