#include "daemon/server/server_private.h"
gboolean metrics_open(struct server *server, GError **error)
{
	return TRUE;
}
void metrics_close(struct server *server)
{
}
