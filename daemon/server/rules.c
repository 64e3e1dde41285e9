#include "daemon/server/server_private.h"
void rules_check(struct server *server, struct subject *subject)
{
}
