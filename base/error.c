#include "base/error.h"

void error_set(GError **error, GQuark domain, enum reftop_error code, const char *cause, const char *fix,
	       const char *what, ...)
{
	if (!error)
		return;
	va_list args;
	va_start(args, what);
	g_autofree char *first = g_strdup_vprintf(what, args);
	va_end(args);
	g_autoptr(GString) text = g_string_new(first);
	if (cause)
		g_string_append_printf(text, "\n  cause: %s", cause);
	if (fix)
		g_string_append_printf(text, "\n  fix:   %s", fix);
	g_set_error_literal(error, domain, (int)code, text->str);
}
